"""Driving the relay, and a chain for it to read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from google.cloud import firestore

from local.chain import calldata, deposit
from shared.domain.chain_progress import ChainProgress, begun
from shared.domain.network import NATIVE_ASSET
from shared.stores import chain_cursors
from tests.conftest import Project
from tests.functions.conftest import Caller, Market
from tests.messages import CHAIN_ID

FUNCTION = "relay_chain_events"


def relay(call: Caller) -> int:
    """Call the relay as Cloud Scheduler does; the status of its answer."""
    return call.request(FUNCTION, schedule_time=datetime.now(UTC)).status


def cursor_of(store: firestore.Client) -> ChainProgress:
    """How far the chain has been announced."""
    known = chain_cursors.find(store, CHAIN_ID)
    return known[0] if known else begun(CHAIN_ID, 0, "0x" + "00" * 32)


def make_deposits(market: Market, count: int) -> str:
    """One account deposits 1, 2, 3 … base units, each in a block of its own."""
    account = market.account()
    for amount in range(1, count + 1):
        market.chain.mine(deposit(market.deployment, account, "ETH", amount))
    return account


def deposit_in_one_block(market: Market, account: str, count: int, *, first_nonce: int = 0) -> None:
    """One account deposits a base unit so many times, all in the next block."""
    deposit_one = {
        "from": account,
        "to": market.deployment.vault,
        "data": calldata("deposit(address,uint256)", NATIVE_ASSET, 1),
        "value": "0x1",
        "gas": "0x30d40",
    }
    chain = market.chain.client
    chain.call("evm_setAutomine", False)
    try:
        nonces = range(first_nonce, first_nonce + count)
        chain.batch([("eth_sendTransaction", [deposit_one | {"nonce": hex(nonce)}]) for nonce in nonces])
        chain.call("evm_mine")
    finally:
        chain.call("evm_setAutomine", True)


def sequences_of(events: Sequence[Any], account: str) -> list[int]:
    """The sequences of an account's events, as they came."""
    return [event.sequence for event in events if event.account_id == account]


def describe_chain(market: Market, project: Project, block_range: int, **changes: Any) -> None:
    """Describe the chain with another range and whatever else is to be different."""
    network = market.deployment.network(start_block=market.start_block)
    network["chains"][0] |= {"block_range": block_range, **changes}
    project.write_network(network)


def reorganise(market: Market, depth: int) -> None:
    """Replace the last blocks. Another transaction in their place: empty ones would have the same hashes."""
    stranger = market.account()
    other = {"from": stranger, "to": stranger, "value": "0x1", "gas": "0x5208"}
    market.chain.client.call("anvil_reorg", depth, [[other, 0]])
