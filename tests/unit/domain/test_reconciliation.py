"""What makes a difference between a vault and our projection of it, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.network import NATIVE_ASSET, Chain, Token
from shared.domain.positions import Account, Position, position_key
from shared.domain.reconciliation import (
    PATIENCE,
    Comparison,
    PositionDifference,
    Reconciliation,
    VaultAccount,
    VaultBalance,
    Verdict,
    compare,
    judge,
)

USDC = "0x" + "11" * 20
CHAIN = Chain(
    chain_id=10,
    name="optimism",
    confirmations=0,
    finality=64,
    start_block=0,
    block_range=10,
    vault="0x" + "aa" * 20,
    escrow_factory="0x" + "bb" * 20,
    multicall="0x" + "ca" * 20,
    tokens={NATIVE_ASSET: Token("ETH", NATIVE_ASSET, 18), USDC: Token("USDC", USDC, 6)},
)
ALICE = "0x" + "a" * 40
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _position(sequence: int, collateral: int, debt: int = 0, *, retracted: bool = False) -> Position:
    return Position(10, "ETH", 18, collateral, debt, sequence, revision=1, retracted=retracted)


def _compared(position: Position | None, vault_sequence: int, collateral: int, debt: int = 0) -> Comparison:
    positions = {} if position is None else {position_key(10, "ETH"): position}
    held = {"ETH": VaultBalance(collateral, debt), "USDC": VaultBalance()}
    vault = VaultAccount(vault_sequence, held)
    account = Account(ALICE, 1, NOON, positions)
    return compare(CHAIN, ALICE, account, vault, block_number=7, as_of=NOON)


@pytest.mark.parametrize(
    ("position", "vault_sequence", "collateral", "ahead"),
    [
        (_position(3, 9), 3, 9, 0),
        # Events of other assets, and of lenders, count as well and change nothing here.
        (_position(3, 9), 8, 9, 0),
        (_position(4, 9), 3, 5, 1),
        (None, 0, 0, 0),
        (None, 5, 0, 0),
        # A retracted fifth event leaves what was there after the fourth.
        (_position(5, 9, retracted=True), 4, 9, 0),
        (_position(6, 9, retracted=True), 4, 5, 1),
    ],
)
def test_no_difference(position: Position | None, vault_sequence: int, collateral: int, ahead: int) -> None:
    assert _compared(position, vault_sequence, collateral) == Comparison((), ahead)


@pytest.mark.parametrize(
    ("position", "vault_sequence", "collateral", "debt", "sequence"),
    [
        (_position(3, 9), 3, 8, 0, 3),
        (_position(3, 9), 4, 8, 0, 3),
        (_position(3, 9, 1), 3, 9, 2, 3),
        (None, 1, 1, 0, 0),
        (_position(5, 9, retracted=True), 5, 10, 0, 4),
        (_position(3, 2**255), 3, 2**255 + 1, 0, 3),
    ],
)
def test_a_difference(
    position: Position | None, vault_sequence: int, collateral: int, debt: int, sequence: int
) -> None:
    (found,) = _compared(position, vault_sequence, collateral, debt).differences
    assert (found.asset, found.vault) == ("ETH", VaultBalance(collateral, debt))
    assert (found.vault_sequence, found.stored_sequence) == (vault_sequence, sequence)
    assert found.difference_id == f"10:{ALICE}:ETH"


def test_an_account_that_is_not_stored_is_compared_with_nothing() -> None:
    held = {"ETH": VaultBalance(), "USDC": VaultBalance(0, 4)}
    compared = compare(CHAIN, ALICE, None, VaultAccount(2, held), block_number=7, as_of=NOON)
    assert [each.asset for each in compared.differences] == ["USDC"]


def _difference(account_id: str | None = ALICE, stored: int = 1, sequence: int = 1) -> PositionDifference:
    return PositionDifference(
        chain_id=10,
        account_id=account_id,
        asset="ETH",
        block_number=7,
        vault=VaultBalance(9, 0),
        vault_sequence=2,
        stored=VaultBalance(stored, 0),
        stored_sequence=sequence,
        found_at=NOON,
    )


def test_what_is_done_about_a_difference() -> None:
    found = _difference()
    announced = replace(found, is_announced=True)
    later, too_early = NOON + PATIENCE, NOON + PATIENCE - timedelta(microseconds=1)
    assert judge(None, found, NOON) is Verdict.NEW
    assert judge(found, found, too_early) is Verdict.WAITS
    assert judge(found, found, later) is Verdict.CONFIRMED
    assert judge(found, _difference(stored=2), later) is Verdict.MOVED
    assert judge(found, _difference(sequence=2), later) is Verdict.MOVED
    assert judge(announced, _difference(stored=2), later) is Verdict.WAITS
    assert judge(found, None, NOON) is judge(announced, None, later) is Verdict.GONE
    with pytest.raises(ValueError, match="neither a difference"):
        judge(None, None, NOON)


def test_the_total_of_all_accounts_may_move_and_still_differ() -> None:
    known = _difference(None)
    assert judge(known, _difference(None, stored=2), NOON + PATIENCE) is Verdict.CONFIRMED


def test_a_pass_adds_up_what_the_vault_has_of_each_account_and_names_the_rest() -> None:
    pass_ = Reconciliation(10, 7, "0x" + "01" * 32, NOON)
    pass_ = pass_.advanced({"0xa": VaultAccount(1, {"ETH": VaultBalance(2, 3), "USDC": VaultBalance()})}, 1)
    pass_ = pass_.advanced({"0xb": VaultAccount(1, {"ETH": VaultBalance(5, 7), "USDC": VaultBalance()})}, 0)
    assert (pass_.after, pass_.accounts, pass_.ahead) == ("0xb", 2, 1)
    assert pass_.advanced({}, 0) == pass_
    assert pass_.unknown({"ETH": VaultBalance(7, 10), "USDC": VaultBalance()}, NOON) == []
    (missing,) = pass_.unknown({"ETH": VaultBalance(8, 10), "USDC": VaultBalance()}, NOON)
    assert (missing.vault, missing.stored) == (VaultBalance(8, 10), VaultBalance(7, 10))
    assert missing.difference_id == "10:unknown:ETH"
    done = pass_.completed(NOON)
    assert (done.completed_block, done.completed_at, done.is_complete) == (7, NOON, True)
    again = done.begun_again(9, "0x" + "02" * 32, NOON + timedelta(hours=1))
    assert (again.after, again.accounts, again.totals, again.is_complete) == (None, 0, {}, False)
    assert again.completed_block == 7
