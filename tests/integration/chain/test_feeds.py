"""Price feeds on a real node: one request for all of them, and nodes that must agree."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from local import pyth as pyth_contract
from local.chain import LocalChain, Transaction, calldata
from local.deployment import CHAIN_ID, Deployment
from local.emulators import EmulatorHosts
from local.price_data import PYTH_IDS
from shared.chain import blocks
from shared.chain.feeds import ChainFeeds
from shared.domain.price_sources import PriceSource, SequencerFeed, SourceKind
from shared.domain.quotes import SourceAnswer
from shared.errors import RetryableError
from tests.conftest import DeployedChain
from tests.servers import Answer, closed_port, endpoint, rpc_proxy

NOBODY = "0x" + "c0" * 20


@pytest.fixture
def chain(deployed_chain: DeployedChain) -> LocalChain:
    """The session's chain, as it was deployed."""
    deployed_chain.restore()
    return deployed_chain.chain


@pytest.fixture
def deployment(chain: LocalChain, deployed_chain: DeployedChain) -> Deployment:
    """Our contracts, as they were deployed."""
    return deployed_chain.deployment


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Threads that end with the test."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


def _source(**changes: Any) -> PriceSource:
    described: dict[str, Any] = {
        "source_id": "chainlink",
        "kind": SourceKind.CHAINLINK,
        "provider": "chainlink",
        "is_enabled": True,
        "is_tie_breaker": False,
        "timeout_s": 2.0,
        "chain_id": CHAIN_ID,
    }
    return PriceSource(**(described | changes))


def _feeds(
    deployment: Deployment, executor: ThreadPoolExecutor, urls: Sequence[str], *sources: PriceSource
) -> ChainFeeds:
    return ChainFeeds(
        CHAIN_ID, urls, deployment.multicall, sources, executor=executor, monotonic=time.monotonic
    )


def test_all_feeds_of_a_chain_are_read_in_one_request_and_their_decimals_once(
    chain: LocalChain, deployment: Deployment, emulators: EmulatorHosts, executor: ThreadPoolExecutor
) -> None:
    requests: list[list[str]] = []
    pyth = _source(
        source_id="pyth-contract",
        kind=SourceKind.PYTH_CONTRACT,
        provider="pyth",
        contract=deployment.pyth,
    )
    pyth_contract.publish_prices(chain, deployment, {"ETH": Decimal(3001)}, published_s=1_700_000_000)
    wanted = {
        "chainlink": {**deployment.feeds, "NONE": NOBODY, "TOKEN": deployment.tokens["LINK"]},
        "pyth-contract": {"ETH": PYTH_IDS["ETH"], "LINK": "0x" + PYTH_IDS["LINK"]},
    }
    with rpc_proxy(emulators.rpc, lambda calls: requests.append([call["method"] for call in calls])) as proxy:
        feeds = _feeds(deployment, executor, [proxy.url], _source(), pyth)
        first = feeds.read(wanted, 0)
        chain.set_prices(deployment, {"ETH": Decimal("2999.5")})
        again = feeds.read(wanted, 0)

    eth = first.answers["chainlink"]["ETH"]
    assert isinstance(eth, SourceAnswer)
    assert (eth.value, eth.exponent, eth.confidence, eth.reference) == (3_000 * 10**8, -8, 0, "1")
    assert first.answers["chainlink"]["NONE"] == f"feed {NOBODY} did not answer with a round"
    assert "did not answer with a round" in str(first.answers["chainlink"]["TOKEN"])
    assert first.answers["pyth-contract"]["ETH"] == SourceAnswer(
        3_001 * 10**8, -8, 3_001 * 10**4, 1_700_000_000, "1700000000"
    )
    assert str(first.answers["pyth-contract"]["LINK"]).startswith(f"contract {deployment.pyth} does not know")
    moved = again.answers["chainlink"]["ETH"]
    assert isinstance(moved, SourceAnswer)
    assert (moved.value, moved.reference) == (2_999_50000000, "2")
    assert again.block_number == blocks.head_number(chain.client)
    # Which chain it is, once; then one request a read.
    assert requests == [["eth_chainId"], *[["eth_blockNumber", "eth_call"]] * 2]


@pytest.mark.parametrize(
    "word",
    ["", "12" * 2, "ff" * 32, "ff" * 160],
    ids=["no data", "half a word", "decimals beyond belief", "a round beyond belief"],
)
def test_a_feed_that_talks_nonsense_spoils_no_other(
    chain: LocalChain,
    deployment: Deployment,
    emulators: EmulatorHosts,
    executor: ThreadPoolExecutor,
    word: str,
) -> None:
    """A contract that returns the same bytes to every call."""
    code = f"0x61{len(word) // 2:04x}80600c6000396000f3{word}"
    chain.client.call("anvil_setCode", NOBODY, code)
    feeds = _feeds(deployment, executor, [emulators.rpc], _source())
    answers = feeds.read({"chainlink": {**deployment.feeds, "ODD": NOBODY}}, 0).answers["chainlink"]
    chain.client.call("anvil_setCode", NOBODY, "0x")
    odd = answers["ODD"]
    # Words of the right shape are passed on as they are: whether they may be believed is judged later.
    assert isinstance(odd, str) or abs(odd.exponent) > 77
    assert isinstance(answers["USDC"], SourceAnswer)


def test_a_rollups_answers_wait_for_its_sequencer(
    chain: LocalChain, deployment: Deployment, emulators: EmulatorHosts, executor: ThreadPoolExecutor
) -> None:
    """LINK's feed plays the sequencer's: 0 is up, 1 is down, and startedAt is since when."""

    def set_sequencer(answer: int, started_s: int) -> None:
        data = calldata(
            "updateRound(address,int256,uint64,uint64)",
            deployment.feeds["LINK"],
            answer,
            started_s,
            started_s,
        )
        chain.mine([Transaction(deployment.owner, deployment.market_setter, data)])

    source = _source(sequencer=SequencerFeed(deployment.feeds["LINK"], 3_600))
    feeds = _feeds(deployment, executor, [emulators.rpc], source)
    wanted = {"chainlink": {"ETH": deployment.feeds["ETH"]}}

    set_sequencer(0, 1_000)
    assert isinstance(feeds.read(wanted, 4_601).answers["chainlink"]["ETH"], SourceAnswer)
    grace = "the sequencer came back at second 1000: 3600 s of grace"
    assert feeds.read(wanted, 4_600).answers["chainlink"]["ETH"] == grace
    set_sequencer(1, 2_000)
    down = "the sequencer has been down since second 2000"
    assert feeds.read(wanted, 10_000).answers["chainlink"]["ETH"] == down
    # Arbitrum's feed before its first round.
    set_sequencer(0, 0)
    assert "grace" in str(feeds.read(wanted, 10_000).answers["chainlink"]["ETH"])


def _lying(url: str, chain: LocalChain, deployment: Deployment) -> Any:
    """A proxy to a node that tells the truth about everything but prices, which it doubles."""

    def decide(calls: Sequence[Mapping[str, Any]]) -> Answer | None:
        if calls[0]["method"] != "eth_blockNumber":
            return None
        found = chain.client.batch([(call["method"], call["params"]) for call in calls])
        truth, lie = f"{3_000 * 10**8:064x}", f"{6_000 * 10**8:064x}"
        body = [
            {"jsonrpc": "2.0", "id": call["id"], "result": str(result).replace(truth, lie)}
            for call, result in zip(calls, found, strict=True)
        ]
        return Answer(200, json.dumps(body).encode())

    return rpc_proxy(url, decide)


def test_a_lying_node_is_outvoted(
    chain: LocalChain, deployment: Deployment, emulators: EmulatorHosts, executor: ThreadPoolExecutor
) -> None:
    wanted = {"chainlink": {"ETH": deployment.feeds["ETH"], "LINK": deployment.feeds["LINK"]}}
    dead = f"http://127.0.0.1:{closed_port()}"
    with _lying(emulators.rpc, chain, deployment) as liar:
        urls = [liar.url, emulators.rpc, dead, emulators.rpc]
        answers = _feeds(deployment, executor, urls, _source(agreeing_nodes=2)).read(wanted, 0).answers
        alone = _feeds(deployment, executor, [liar.url, emulators.rpc], _source(agreeing_nodes=2))
        disputed = alone.read(wanted, 0).answers["chainlink"]

    eth = answers["chainlink"]["ETH"]
    assert isinstance(eth, SourceAnswer)
    assert eth.value == 3_000 * 10**8
    # Asked twice each, the liar agrees with itself and so does the honest one: neither is believed alone.
    assert isinstance(disputed["LINK"], SourceAnswer)


def test_a_dead_and_a_slow_node_cost_no_more_than_patience(
    deployment: Deployment, emulators: EmulatorHosts, executor: ThreadPoolExecutor
) -> None:
    wanted = {"chainlink": {"ETH": deployment.feeds["ETH"]}}
    release = threading.Event()
    with endpoint(lambda _: Answer(200, b"[]", wait=release)) as slow:
        urls = [f"http://127.0.0.1:{closed_port()}", slow.url, emulators.rpc]
        feeds = _feeds(deployment, executor, urls, _source(timeout_s=1.0))
        started = time.monotonic()
        answer = feeds.read(wanted, 0).answers["chainlink"]["ETH"]
        took_s = time.monotonic() - started
        release.set()

    assert isinstance(answer, SourceAnswer)
    # While nothing is known, a second is asked after half of the limit.
    assert 0.4 < took_s < 0.95


def test_without_a_node_it_says_what_each_one_did(
    deployment: Deployment, executor: ThreadPoolExecutor
) -> None:
    feeds = _feeds(deployment, executor, [f"http://127.0.0.1:{closed_port()}"], _source())
    with pytest.raises(RetryableError, match="node 0: "):
        feeds.read({"chainlink": {"ETH": NOBODY}}, 0)
