"""Whatever a chain takes back, in whatever order one hears of it, the projection ends as the chain does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.escrows import EscrowStep, Refunded, Released
from shared.domain.interest import RAY, debt_of, shares_of_loan, shares_of_payment
from shared.domain.positions import Account, Position, PositionAction, apply_position, before
from shared.domain.steps import StepError, StepRecord
from tests.unit.domain.escrow_lives import FOLDS, NEXT_STEPS, numbered

ACCOUNT = "0x" + "a1" * 20
TAKES_COLLATERAL = {PositionAction.WITHDRAW, PositionAction.LIQUIDATE_COLLATERAL}
TAKES_DEBT = {PositionAction.REPAY, PositionAction.LIQUIDATE_DEBT, PositionAction.WRITE_OFF}
MOMENT = datetime(2025, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Report:
    """What the relay announced of an account's balances in one asset."""

    position: Position
    action: PositionAction
    amount_base: int
    borrow_index: int


@dataclass(frozen=True)
class Message:
    """An announcement of number ``number``, or (``retracted_at``) its retraction."""

    number: int
    body: Any
    revision: int
    retracted_at: int | None = None


@st.composite
def position_messages(draw: st.DrawFn) -> tuple[list[Message], dict[str, tuple[int, int]]]:
    """All that is announced of one account over a few reorganisations, and the balances at the end."""
    chain: list[Message] = []
    announced: list[Message] = []
    for revision in range(draw(st.integers(1, 4))):
        kept = draw(st.integers(0, len(chain)))
        announced += [replace(message, retracted_at=revision) for message in reversed(chain[kept:])]
        chain = chain[:kept]
        for _ in range(draw(st.integers(0, 3))):
            message = _next_report(draw, chain, revision)
            chain.append(message)
            announced.append(message)
    balances: dict[str, tuple[int, int]] = {}
    for message in chain:
        assert isinstance(message.body, Report)
        position = message.body.position
        balances[position.asset] = (position.collateral_base, position.debt_shares)
    return announced, balances


def _next_report(draw: st.DrawFn, chain: list[Message], revision: int) -> Message:
    asset = draw(st.sampled_from(["ETH", "USDC"]))
    standing = [
        m.body.position for m in chain if isinstance(m.body, Report) and m.body.position.asset == asset
    ]
    known = standing[-1] if standing else Position(1, asset, 18, 0, 0, sequence=0)
    action = draw(st.sampled_from(PositionAction))
    collateral, debt = known.collateral_base, known.debt_shares
    index = draw(st.integers(RAY, 3 * RAY))
    held = collateral if action in TAKES_COLLATERAL else debt_of(debt, index)
    amount = draw(st.integers(0, held if action in TAKES_COLLATERAL | TAKES_DEBT else 10))
    if action in TAKES_COLLATERAL:
        collateral -= amount
    elif action in TAKES_DEBT:
        # As the vault does: all of it, or what the payment extinguishes.
        debt = 0 if amount >= held else debt - shares_of_payment(amount, index)
    elif action is PositionAction.DEPOSIT:
        collateral += amount
    elif action is PositionAction.BORROW:
        debt += shares_of_loan(amount, index)
    number = len(chain) + 1
    position = Position(1, asset, 18, collateral, debt, sequence=number, revision=revision)
    return Message(number, Report(position, action, amount, index), revision)


def _project(messages: list[Message]) -> Account | None:
    account: Account | None = None
    for message in messages:
        assert isinstance(message.body, Report)
        position = message.body.position
        if message.retracted_at is not None:
            undone = before(
                position, message.body.action, message.body.amount_base, message.body.borrow_index
            )
            position = replace(undone, revision=message.retracted_at, retracted=True)
        account = apply_position(account, ACCOUNT, position, MOMENT) or account
    return account


@given(position_messages().flatmap(lambda drawn: st.tuples(st.permutations(drawn[0]), st.just(drawn))))
def test_positions_end_as_the_chain_does(
    drawn: tuple[list[Message], tuple[list[Message], dict[str, tuple[int, int]]]],
) -> None:
    shuffled, (announced, balances) = drawn
    for messages in (announced, shuffled, [*shuffled, *announced], [*announced, *shuffled]):
        account = _project(messages)
        positions = {} if account is None else account.positions
        held = {
            position.asset: (position.collateral_base, position.debt_shares)
            for position in positions.values()
        }
        assert {asset: held[asset] for asset in balances} == balances
        assert all(held[asset] == (0, 0) for asset in held if asset not in balances)


@st.composite
def step_messages(draw: st.DrawFn, kind: str) -> tuple[list[Message], list[Any]]:
    """All that is announced of one escrow over a few reorganisations, and its steps at the end."""
    chain: list[Message] = []
    announced: list[Message] = []
    for revision in range(draw(st.integers(1, 4))):
        kept = draw(st.integers(0, len(chain)))
        announced += [replace(message, retracted_at=revision) for message in reversed(chain[kept:])]
        chain = chain[:kept]
        for _ in range(draw(st.integers(0, 5))):
            following = NEXT_STEPS[kind]([message.body for message in chain])
            if not following:
                break
            message = Message(len(chain) + 1, draw(st.sampled_from(following)), revision)
            chain.append(message)
            announced.append(message)
    return announced, [message.body for message in chain]


@pytest.mark.parametrize("kind", ["escrow", "dvp"])
@settings(deadline=None)  # what is tested is no time, and the machine may be busy
@given(data=st.data())
def test_escrows_end_as_the_chain_does(kind: str, data: st.DataObject) -> None:
    announced, steps = data.draw(step_messages(kind))
    shuffled = data.draw(st.permutations(announced))
    expected = FOLDS[kind](numbered(steps))
    for messages in (announced, shuffled, [*shuffled, *announced], [*announced, *shuffled]):
        in_order = messages is announced
        records: dict[int, StepRecord[Any]] = {}
        for message in messages:
            known = records.get(message.number, StepRecord())
            if message.retracted_at is None:
                records[message.number] = known.announced(message.body, message.revision)
            else:
                records[message.number] = known.taken_back(message.retracted_at)
            # A step of a history that is gone is not read with the others; in order, none is even suspected.
            _, contradiction = FOLDS[kind](records)
            assert contradiction is None or not (in_order or contradiction.certain), "contradicted on the way"
        assert FOLDS[kind](records) == expected


def test_two_steps_of_one_number_and_revision_contradict_each_other() -> None:
    refunded, released = Refunded("0xaa", 5), Released("0xbb", 5)
    record: StepRecord[EscrowStep] = StepRecord()
    record = record.announced(refunded, 3)
    with pytest.raises(StepError, match="there are two"):
        record.announced(released, 3)
    assert record.announced(released, 2) == record
    assert record.announced(released, 4).live == released


def test_balances_that_an_action_cannot_have_left_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot have left"):
        before(Position(1, "ETH", 18, 4, 0, sequence=1), PositionAction.DEPOSIT, 5, RAY)
