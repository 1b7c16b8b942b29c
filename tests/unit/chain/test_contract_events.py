"""Logs of our contracts become settlement events; a log that is none of ours is refused.

The topics are those that contracts/README.md documents; the words are put together by hand.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.chain.contract_events import announced_topics, decode_log
from shared.domain.dvp import DvpRole
from shared.domain.escrows import EscrowRole, ReleasePolicy
from shared.domain.interest import RAY
from shared.domain.network import NATIVE_ASSET, Chain, Token
from shared.domain.positions import PositionAction
from shared.errors import TerminalError
from shared.events.settlement import (
    DvpCreated,
    DvpDeposited,
    DvpRefunded,
    DvpSettled,
    DvpWithdrawn,
    EscrowApproved,
    EscrowArbiterChanged,
    EscrowArbiterProposed,
    EscrowCreated,
    EscrowDisputed,
    EscrowRefunded,
    EscrowReleased,
    EscrowResolved,
    EscrowWithdrawn,
    MarketChanged,
    PositionChanged,
)

README = (Path(__file__).parents[3] / "contracts" / "README.md").read_text(encoding="utf-8")
TOPICS: dict[str, str] = dict(
    re.findall(r"^\| \w+ \| `(\w+)\(.*?` \| `(0x[0-9a-f]{64})` \|$", README, re.MULTILINE)
)

USDC = "0x" + "11" * 20
VAULT, FACTORY = "0x" + "aa" * 20, "0x" + "bb" * 20
CHAIN = Chain(
    chain_id=10,
    name="optimism",
    confirmations=0,
    finality=64,
    start_block=0,
    block_range=10,
    vault=VAULT,
    escrow_factory=FACTORY,
    multicall="0x" + "ca" * 20,
    tokens={NATIVE_ASSET: Token("ETH", NATIVE_ASSET, 18), USDC: Token("USDC", USDC, 6)},
)
ALICE, BOB, CAROL, ESCROW = ("0x" + digit * 40 for digit in "abce")
BLOCK_HASH, TRANSACTION = "0x" + "0f" * 32, "0x" + "77" * 32
BLOCK_TIME = 1_740_830_400
PLACE = {
    "event_id": f"10:{BLOCK_HASH}:5",
    "schema_version": 1,
    "revision": 0,
    "chain_id": 10,
    "block_number": 16,
    "block_hash": BLOCK_HASH,
    "block_time": datetime(2025, 3, 1, 12, tzinfo=UTC),
    "transaction_hash": TRANSACTION,
    "log_index": 5,
}


def _word(value: int | str) -> str:
    return f"{value:064x}" if isinstance(value, int) else value.removeprefix("0x").rjust(64, "0")


def _log(
    event: str, indexed: list[int | str], plain: list[int | str], address: str = FACTORY
) -> dict[str, Any]:
    return {
        "address": address.upper().replace("0X", "0x"),
        "topics": [TOPICS[event], *("0x" + _word(value) for value in indexed)],
        "data": "0x" + "".join(map(_word, plain)),
        "blockNumber": "0x10",
        "blockHash": BLOCK_HASH,
        "transactionHash": TRANSACTION,
        "logIndex": "0x5",
    }


def _position(asset: str = USDC, kind: int = 2) -> dict[str, Any]:
    return _log("PositionChanged", [ALICE, asset], [3, kind, 7, 2**256 - 1, 9, 9, 4, 5, RAY], VAULT)


def _market(rate_per_second: int = 0) -> dict[str, Any]:
    return _log("MarketChanged", [USDC], [8, 1, 2, 3, RAY, 5, 6, rate_per_second, 1_000], VAULT)


def test_the_announced_topics_are_the_documented_ones() -> None:
    documented = {topic for name, topic in TOPICS.items() if name != "AnswerUpdated"}
    assert len(documented) == 16
    assert announced_topics() == sorted(documented)


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (1, PositionAction.DEPOSIT),
        (2, PositionAction.WITHDRAW),
        (3, PositionAction.BORROW),
        (4, PositionAction.REPAY),
        (5, PositionAction.SUPPLY),
        (6, PositionAction.REDEEM),
        (7, PositionAction.LIQUIDATE_DEBT),
        (8, PositionAction.LIQUIDATE_COLLATERAL),
        (9, PositionAction.WRITE_OFF),
    ],
)
def test_a_position_changed(kind: int, action: PositionAction) -> None:
    event = decode_log(CHAIN, _position(kind=kind), BLOCK_TIME)
    assert isinstance(event, PositionChanged)
    assert event.model_dump() == {
        **PLACE,
        "contract": VAULT,
        "kind": "position_changed",
        "account_id": ALICE,
        "asset": "USDC",
        "asset_address": USDC,
        "decimals": 6,
        "sequence": 3,
        "action": action,
        "amount_base": "7",
        "collateral_base": str(2**256 - 1),
        "debt_shares": "9",
        "debt_base": "9",
        "supply_shares": "4",
        "supplied_base": "5",
        "borrow_index": str(RAY),
    }


def test_a_market_changed() -> None:
    event = decode_log(CHAIN, _market(), BLOCK_TIME)
    assert isinstance(event, MarketChanged)
    assert event.subject == "market:USDC"
    assert event.model_dump() == {
        **PLACE,
        "contract": VAULT,
        "kind": "market_changed",
        "asset": "USDC",
        "asset_address": USDC,
        "decimals": 6,
        "sequence": 8,
        "cash_base": "1",
        "supply_shares": "2",
        "debt_shares": "3",
        "borrow_index": str(RAY),
        "pending_reserves_base": "5",
        "reserves_base": "6",
        "rate_per_second": "0",
        "reserve_factor_bps": 1_000,
    }


def test_a_market_that_bears_interest_is_reported_with_index_and_rate() -> None:
    market = decode_log(CHAIN, _market(rate_per_second=7), BLOCK_TIME)
    assert isinstance(market, MarketChanged)
    assert market.rate_per_second == 7
    grown = _log("PositionChanged", [ALICE, USDC], [3, 4, 7, 0, 9, 10, 0, 0, RAY + 1], VAULT)
    position = decode_log(CHAIN, grown, BLOCK_TIME)
    assert isinstance(position, PositionChanged)
    assert (position.debt_shares, position.debt_base, position.borrow_index) == (9, 10, RAY + 1)


def test_the_native_asset_has_the_zero_address() -> None:
    event = decode_log(CHAIN, _position(asset=NATIVE_ASSET), BLOCK_TIME)
    assert isinstance(event, PositionChanged)
    assert (event.asset, event.decimals) == ("ETH", 18)


@pytest.mark.parametrize(
    ("number", "policy"),
    [(0, ReleasePolicy.PAYER), (1, ReleasePolicy.PAYER_AND_ARBITER), (2, ReleasePolicy.TWO_OF_THREE)],
)
def test_an_escrow_created(number: int, policy: ReleasePolicy) -> None:
    log = _log(
        "EscrowCreated",
        [ESCROW, ALICE, BOB],
        [1, CAROL, NATIVE_ASSET, 2**256 - 1, BLOCK_TIME, BLOCK_TIME, 60, number],
    )
    event = decode_log(CHAIN, log, BLOCK_TIME)
    assert isinstance(event, EscrowCreated)
    assert event.model_dump() == {
        **PLACE,
        "contract": FACTORY,
        "kind": "escrow_created",
        "escrow": ESCROW,
        "step": 1,
        "payer": ALICE,
        "payee": BOB,
        "arbiter": CAROL,
        "asset": "ETH",
        "asset_address": NATIVE_ASSET,
        "decimals": 18,
        "amount_base": str(2**256 - 1),
        "release_time": PLACE["block_time"],
        "refund_time": PLACE["block_time"],
        "dispute_window_s": 60,
        "policy": policy,
    }


@pytest.mark.parametrize(
    ("number", "role"), [(1, EscrowRole.PAYER), (2, EscrowRole.PAYEE), (4, EscrowRole.ARBITER)]
)
def test_an_escrow_approved(number: int, role: EscrowRole) -> None:
    event = decode_log(CHAIN, _log("EscrowApproved", [ESCROW], [2, number, ALICE, 5]), BLOCK_TIME)
    assert isinstance(event, EscrowApproved)
    assert (event.escrow, event.step, event.role, event.approver) == (ESCROW, 2, role, ALICE)


def test_an_escrow_decided_and_withdrawn() -> None:
    released = decode_log(CHAIN, _log("EscrowReleased", [ESCROW], [3, BOB, 5]), BLOCK_TIME)
    refunded = decode_log(CHAIN, _log("EscrowRefunded", [ESCROW], [3, ALICE, 5]), BLOCK_TIME)
    withdrawn = decode_log(CHAIN, _log("EscrowWithdrawn", [ESCROW], [4, 2, BOB, CAROL, 5]), BLOCK_TIME)
    assert isinstance(released, EscrowReleased)
    assert isinstance(refunded, EscrowRefunded)
    assert isinstance(withdrawn, EscrowWithdrawn)
    assert (released.payee, released.amount_base) == (BOB, 5)
    assert (refunded.payer, refunded.amount_base) == (ALICE, 5)
    assert (withdrawn.role, withdrawn.beneficiary, withdrawn.recipient) == (EscrowRole.PAYEE, BOB, CAROL)
    assert (withdrawn.amount_base, withdrawn.step) == (5, 4)


def test_an_escrow_in_a_token_that_is_not_listed_does_not_stop_the_relay() -> None:
    stranger = "0x" + "99" * 20
    log = _log("EscrowCreated", [ESCROW, ALICE, BOB], [1, CAROL, stranger, 5, BLOCK_TIME, BLOCK_TIME, 60, 0])
    event = decode_log(CHAIN, log, BLOCK_TIME)
    assert isinstance(event, EscrowCreated)
    assert (event.asset, event.asset_address, event.decimals) == (None, stranger, None)


def test_an_arbiter_proposed_and_changed() -> None:
    proposed = decode_log(CHAIN, _log("EscrowArbiterProposed", [ESCROW], [2, 1, CAROL]), BLOCK_TIME)
    taken_back = decode_log(CHAIN, _log("EscrowArbiterProposed", [ESCROW], [3, 2, NATIVE_ASSET]), BLOCK_TIME)
    changed = decode_log(CHAIN, _log("EscrowArbiterChanged", [ESCROW], [4, ALICE, CAROL]), BLOCK_TIME)
    assert isinstance(proposed, EscrowArbiterProposed)
    assert isinstance(taken_back, EscrowArbiterProposed)
    assert isinstance(changed, EscrowArbiterChanged)
    assert (proposed.role, proposed.candidate) == (EscrowRole.PAYER, CAROL)
    assert (taken_back.role, taken_back.candidate) == (EscrowRole.PAYEE, None)
    assert (changed.previous_arbiter, changed.arbiter) == (ALICE, CAROL)


def test_an_escrow_disputed_and_resolved() -> None:
    disputed = decode_log(CHAIN, _log("EscrowDisputed", [ESCROW], [2, 2, BLOCK_TIME]), BLOCK_TIME)
    resolved = decode_log(CHAIN, _log("EscrowResolved", [ESCROW], [3, 2_500, 1, 3]), BLOCK_TIME)
    assert isinstance(disputed, EscrowDisputed)
    assert isinstance(resolved, EscrowResolved)
    assert (disputed.role, disputed.deadline) == (EscrowRole.PAYEE, PLACE["block_time"])
    assert (resolved.payee_share_bps, resolved.payee_amount_base, resolved.payer_amount_base) == (2_500, 1, 3)


def test_a_delivery_versus_payment() -> None:
    created = decode_log(
        CHAIN,
        _log("DvpCreated", [ESCROW, ALICE, BOB], [1, USDC, 2**256 - 1, NATIVE_ASSET, 7, BLOCK_TIME]),
        BLOCK_TIME,
    )
    deposited = decode_log(CHAIN, _log("DvpDeposited", [ESCROW], [2, 2, BOB, NATIVE_ASSET, 7]), BLOCK_TIME)
    settled = decode_log(CHAIN, _log("DvpSettled", [ESCROW], [4]), BLOCK_TIME)
    refunded = decode_log(CHAIN, _log("DvpRefunded", [ESCROW], [3, 2]), BLOCK_TIME)
    withdrawn = decode_log(CHAIN, _log("DvpWithdrawn", [ESCROW], [5, 1, ALICE, CAROL, USDC, 9]), BLOCK_TIME)
    assert isinstance(created, DvpCreated)
    assert isinstance(deposited, DvpDeposited)
    assert isinstance(settled, DvpSettled)
    assert isinstance(refunded, DvpRefunded)
    assert isinstance(withdrawn, DvpWithdrawn)
    assert (created.delivery_asset, created.delivery_decimals) == ("USDC", 6)
    assert (created.delivery_amount_base, created.payment_amount_base) == (2**256 - 1, 7)
    assert (created.payment_asset, created.deadline) == ("ETH", PLACE["block_time"])
    assert (deposited.role, deposited.depositor, deposited.amount_base) == (DvpRole.BUYER, BOB, 7)
    assert (refunded.role, withdrawn.role) == (DvpRole.BUYER, DvpRole.SELLER)
    assert (withdrawn.recipient, withdrawn.asset_address, withdrawn.amount_base) == (CAROL, USDC, 9)
    assert [e.escrow for e in (created, deposited, settled, refunded, withdrawn)] == [ESCROW] * 5


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (_position(asset="0x" + "99" * 20), "is not in the network description"),
        (_position(kind=10), "kind: 10 is none of"),
        (_position(kind=0), "kind: 0 is none of"),
        ({**_position(), "data": "0x"}, "9 words were due"),
        ({**_position(), "topics": ["0x" + "00" * 32]}, "not one of our events"),
        ({**_position(), "topics": [TOPICS["PositionChanged"]]}, "topics are not those"),
        (
            _log("PositionChanged", ["0x01" + "00" * 11 + "aa" * 20, USDC], [1, 1, 1, 1, 1, 1, 0, 0, RAY]),
            "not an address",
        ),
        (_log("PositionChanged", [ALICE, USDC], [0, 1, 1, 1, 1, 1, 0, 0, RAY]), "sequence"),
        (_log("EscrowApproved", [ESCROW], [2, 3, ALICE, 5]), "role: 3 is none of"),
        (_log("DvpRefunded", [ESCROW], [3, 3]), "depositedRoles: 3 is none of"),
        (_log("EscrowResolved", [ESCROW], [3, 10_001, 1, 3]), "payee_share_bps"),
    ],
)
def test_a_log_that_is_none_of_ours_is_refused(log: dict[str, Any], said: str) -> None:
    with pytest.raises(TerminalError, match=said):
        decode_log(CHAIN, log, BLOCK_TIME)
