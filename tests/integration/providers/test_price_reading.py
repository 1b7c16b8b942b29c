"""Asking every source: a breaker per source and asset, and what does not count as a failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from local.hermes_server import Hermes, HermesServer
from local.price_data import HERMES, PYTH_IDS, hermes_source, price_policy, pyth_quote
from shared.config import load
from shared.domain.breakers import BreakerState
from shared.domain.network import parse_network
from shared.domain.quotes import SourceAnswer
from shared.runtime import clock
from shared.runtime.price_reading import PriceReader
from shared.stores.price_sources import SourceState
from tests.conftest import network_document
from tests.eventually import eventually
from tests.messages import CHAIN_ID

KEY = "key-of-the-test"
ASSETS = {"ETH": PYTH_IDS["ETH"], "ODD": "ab" * 32}
"""Hermes does not know the second."""


@pytest.fixture
def hermes() -> Iterator[tuple[Hermes, str]]:
    """A Hermes that knows one price, with its rate limit."""
    known = Hermes(KEY)
    known.set_prices({ASSETS["ETH"]: Decimal(3_000)})
    server = HermesServer(known, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield known, server.url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connect(hermes: tuple[Hermes, str]) -> Iterator[Callable[..., PriceReader]]:
    """Readers that end with the test."""
    made: list[PriceReader] = []

    def make(*, transport: str, key: str = KEY) -> PriceReader:
        document: dict[str, Any] = network_document()
        document["chains"][0]["tokens"] = {}
        document["price_sources"] = {HERMES: hermes_source(is_enabled=True, transport=transport)}
        document["assets"] = {
            asset: {
                "collateral_factor": "1",
                "borrow_factor": "1",
                "prices": price_policy({HERMES: pyth_quote(asset, identifier)}),
            }
            for asset, identifier in ASSETS.items()
        }
        environ = {
            "FUSION_ENVIRONMENT": "local",
            "GOOGLE_CLOUD_PROJECT": "fusion-local",
            "LOG_LEVEL": "ERROR",
            "RPC_URLS": f"{CHAIN_ID}=http://127.0.0.1:1",
            "HERMES_URLS": hermes[1],
            "HERMES_API_KEY": key,
        }
        settings = load(settings=("RPC_URLS", "HERMES_URLS", "HERMES_API_KEY"), environ=environ)
        made.append(PriceReader(parse_network(json.dumps(document)), settings))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


def _state(reader: PriceReader) -> SourceState:
    (state,) = reader.states(clock.now())
    return state


def _heard(reader: PriceReader, asset: str) -> bool:
    return isinstance(reader.read().answers[asset][HERMES], SourceAnswer)


def test_an_unknown_symbol_asked_a_hundred_times_does_not_hurt_another(
    connect: Callable[..., PriceReader],
) -> None:
    reader = connect(transport="stream")
    eventually(lambda: _heard(reader, "ETH"), within_s=10)
    for _ in range(100):
        assert _heard(reader, "ETH")
    state = _state(reader)
    assert state.breakers["ETH"] is BreakerState.CLOSED
    assert state.breakers["ODD"] is not BreakerState.CLOSED
    assert not state.is_failing
    assert state.last_error == f"Hermes has no price of {ASSETS['ODD']}"
    answer = str(reader.read().answers["ODD"][HERMES])
    assert "left alone until" in answer or "has no price" in answer


def test_a_key_that_is_refused_opens_every_breaker_at_once(
    connect: Callable[..., PriceReader], hermes: tuple[Hermes, str]
) -> None:
    reader = connect(transport="latest", key="another")
    failure = reader.read().failure
    assert failure is not None
    assert "the API key is not accepted" in failure
    state = _state(reader)
    assert set(state.breakers.values()) == {BreakerState.OPEN}
    assert state.is_failing
    asked = hermes[0].state()["counts"]["requests"]
    for _ in range(5):
        assert "left alone until" in str(reader.read().failure)
    assert hermes[0].state()["counts"]["requests"] == asked


def test_what_is_held_back_by_the_rate_limit_is_no_failure(
    connect: Callable[..., PriceReader], hermes: tuple[Hermes, str]
) -> None:
    reader = connect(transport="latest")
    heard = [_heard(reader, "ETH") for _ in range(12)]
    assert heard[0]
    assert not heard[-1]
    assert _state(reader).breakers["ETH"] is BreakerState.CLOSED
    counts = hermes[0].state()["counts"]
    assert counts["requests"] <= 10
    assert "throttled" not in counts
