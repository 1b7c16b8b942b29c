"""All accounts of a book by name, their recorded margin states, and the decisions of a tick.

The arithmetic is the risk core's; this module gives it names, numbers its transitions, and says what must
be recorded. It is ``evaluate_margin``'s; the gateway values what its subscribers follow with the same core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from shared.domain.columns import Columns, held_columns
from shared.domain.margin import MarginRecord, RecordedValuation, Standing, State, state_of
from shared.domain.margin_pack import EMPTY, PackedAccounts
from shared.domain.market import UsableMarks
from shared.domain.money import usd
from shared.domain.network import Network
from shared.domain.packed_book import packed_book
from shared.domain.positions import Account
from shared.risk.evaluator import BookEvaluator, Marks
from shared.risk.margin import health_pct
from shared.risk.positions import Position
from shared.risk.states import NEVER_EVALUATED, MarginState


@dataclass(frozen=True, slots=True)
class Decision:
    """What must be recorded for one account, and the transition to announce, if it is one."""

    record: MarginRecord
    previous_state: State | None
    is_transition: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """One account's margin at some marks; recorded nowhere."""

    account_id: str
    state: State
    unvalued_assets: tuple[str, ...]
    valuation: RecordedValuation | None


class MarginBook:
    """The accounts of a book. Not safe for concurrent use; deterministic.

    Collateral and debts stand in the columns of :class:`shared.domain.columns.Columns`: who holds what the
    network description does not list is unvalued, and a debt is valued at its market's index at the tick.

    ``packed``: the accounts to begin with. They stay packed until they change or are asked for.
    """

    def __init__(self, network: Network, packed: PackedAccounts = EMPTY) -> None:
        self.columns = columns = Columns(network)
        self._packed = packed
        # An account's number is its row among the packed ones; those that come later go on from there.
        self._names = list(packed.ids)
        self._numbers: dict[str, int] = {account_id: number for number, account_id in enumerate(packed.ids)}
        held = np.flatnonzero(packed.versions > 0)
        self._versions: dict[str, int] = {
            packed.ids[row]: version
            for row, version in zip(held.tolist(), packed.versions[held].tolist(), strict=True)
        }
        self._positions: dict[int, tuple[Position, ...]] = {}
        self._held: dict[str, tuple[tuple[str, int], ...]] = {}
        self._standings: dict[str, Standing | None] = {}
        self._evaluator = BookEvaluator.from_book(
            packed_book(packed, held, columns),
            columns.factors,
            network.margin_policy,
            exact_positions=self._core_positions,
            tuning=columns.tuning,
        )
        states = packed.valued_states[held]
        self._evaluator.set_states(held, states, packed.states[held] != State.UNVALUED.code)

    def __len__(self) -> int:
        return len(self._versions)

    def __contains__(self, account_id: str) -> bool:
        return account_id in self._versions

    def version(self, account_id: str) -> int:
        """The version of an account's positions in the book; 0 where it is not in it."""
        return self._versions.get(account_id, 0)

    def standing(self, account_id: str) -> Standing | None:
        """What the next decision on an account goes on from; None where nothing is recorded."""
        if account_id in self._standings:
            return self._standings[account_id]
        row = self._packed_row(account_id)
        return None if row is None else self._packed.standing(row)

    def _packed_row(self, account_id: str) -> int | None:
        number = self._numbers.get(account_id)
        return None if number is None or number >= len(self._packed) else number

    def _core_positions(self, number: int) -> Sequence[Position]:
        """The exact positions of an account in the book, by its number."""
        if number in self._positions:
            return self._positions[number]
        return [
            position for each in self._packed.positions(number) for position in self.columns.positions(*each)
        ]

    def replace_positions(self, account: Account) -> bool:
        """Give an account its positions, unless those in the book are as new; whether it did."""
        if account.version <= self.version(account.account_id):
            return False
        number = self._numbers.get(account.account_id)
        if number is None:
            number = len(self._names)
            self._numbers[account.account_id] = number
            self._names.append(account.account_id)
        self._positions[number] = tuple(
            position
            for each in account.positions.values()
            for position in self.columns.positions(
                each.chain_id, each.asset, each.decimals, each.collateral_base, each.debt_shares
            )
        )
        self._evaluator.replace_account(number, self._positions[number])
        if account.account_id not in self._versions:
            self._restore(account.account_id)
        self._versions[account.account_id] = account.version
        self._held[account.account_id] = held_columns(
            self.columns,
            (
                (each.chain_id, each.asset, each.collateral_base, each.debt_shares)
                for each in account.positions.values()
            ),
        )
        return True

    def held_assets(self, account_id: str) -> tuple[str, ...]:
        """Assets in which an account holds or owes anything, in order."""
        return tuple(dict.fromkeys(asset for asset, _ in self._held_columns(account_id)))

    def _held_columns(self, account_id: str) -> tuple[tuple[str, int], ...]:
        if account_id in self._held:
            return self._held[account_id]
        positions = self._packed.positions(self._numbers[account_id])
        return held_columns(
            self.columns,
            ((each.chain_id, each.asset, each.collateral_base, each.debt_shares) for each in positions),
        )

    def remove(self, account_id: str) -> None:
        """Take an account out of the book."""
        if account_id in self._versions:
            self._evaluator.remove_account(self._numbers[account_id])
            del self._versions[account_id]
            self._standings[account_id] = None

    def set_record(self, record: MarginRecord) -> None:
        """Take over what is recorded of an account; decisions go on from there."""
        self._standings[record.account_id] = record.standing
        if record.account_id in self._versions:
            self._restore(record.account_id)

    def forget_record(self, account_id: str) -> None:
        """Nothing is recorded of an account after all."""
        self._standings[account_id] = None
        if account_id in self._versions:
            self._restore(account_id)

    def _restore(self, account_id: str) -> None:
        known = self.standing(account_id)
        state = NEVER_EVALUATED if known is None or known.valued_state is None else known.valued_state.code
        is_valued = known is None or known.state is not State.UNVALUED
        self._evaluator.set_state(self._numbers[account_id], state, is_valued=is_valued)

    def _core_marks(self, marks: UsableMarks) -> Marks:
        return self.columns.marks(marks)

    def _asset_names(self, account_id: str, indexes: Iterable[int]) -> tuple[str, ...]:
        unmarked = set(indexes)
        held = self._held_columns(account_id)
        return tuple(dict.fromkeys(asset for asset, column in held if column in unmarked))

    def decide(self, marks: UsableMarks, *, tick_sequence: int, as_of: datetime) -> list[Decision]:
        """Evaluate the book at a tick's marks: what changed, in order of account.

        The book takes the decisions as recorded; a caller that fails to record one must give the book
        what is recorded instead (:meth:`set_record`). An account whose record is of this tick or a later
        one with the same positions is left as recorded.
        """
        valued_at = self._core_marks(marks)
        changes = self._evaluator.tick(valued_at)
        decisions: list[Decision] = []
        changed = {int(number) for number in changes.accounts}
        for position, number in enumerate(changes.accounts):
            account_id = self._names[int(number)]
            known = self._next(account_id, tick_sequence, as_of)
            if known is None:
                self._restore(account_id)
                continue
            state = state_of(int(changes.current[position]))
            standing = replace(known, state=state, valued_state=state, transitions=known.transitions + 1)
            valuation = _valuation(float(changes.collateral_usd[position]), float(changes.debt_usd[position]))
            decisions.append(
                Decision(_record(account_id, standing, valuation), known.valued_state, is_transition=True)
            )
        for number, assets in changes.became_unvalued.items():
            account_id = self._names[number]
            known = self._next(account_id, tick_sequence, as_of)
            if known is None:
                self._restore(account_id)
                continue
            standing = replace(known, state=State.UNVALUED)
            missing = self._asset_names(account_id, assets)
            decisions.append(
                Decision(
                    _record(account_id, standing, None, missing), known.valued_state, is_transition=False
                )
            )
        for number in changes.became_valued:
            account_id = self._names[number]
            if number in changed:
                continue
            known = self._next(account_id, tick_sequence, as_of)
            if known is None or known.valued_state is None:
                self._restore(account_id)
                continue
            margin = self._evaluator.evaluate(number, valued_at)
            standing = replace(known, state=known.valued_state)
            valuation = _valuation(margin.collateral_usd, margin.debt_usd)
            decisions.append(
                Decision(_record(account_id, standing, valuation), known.valued_state, is_transition=False)
            )
        for decision in decisions:
            self._standings[decision.record.account_id] = decision.record.standing
        return sorted(decisions, key=lambda decision: decision.record.account_id)

    def _next(self, account_id: str, tick_sequence: int, as_of: datetime) -> Standing | None:
        """The standing with this tick's place; None where what is recorded is ahead of it."""
        known = self.standing(account_id)
        version = self._versions[account_id]
        if known is None:
            return Standing(State.UNVALUED, None, 0, tick_sequence, version, as_of)
        if known.tick_sequence > tick_sequence:
            return None
        if known.tick_sequence == tick_sequence and known.position_version > version:
            return None
        return replace(
            known, tick_sequence=tick_sequence, position_version=version, as_of=max(as_of, known.as_of)
        )

    def acknowledge(
        self, account_id: str, marks: UsableMarks, *, tick_sequence: int, as_of: datetime
    ) -> Decision | None:
        """What to record of an account whose new positions changed no state; None if nothing."""
        known = self.standing(account_id)
        if known is None or known.position_version >= self._versions[account_id]:
            return None
        reading = self.read(account_id, marks)
        standing = replace(
            known,
            tick_sequence=max(tick_sequence, known.tick_sequence),
            position_version=self._versions[account_id],
            as_of=max(as_of, known.as_of),
        )
        self._standings[account_id] = standing
        record = _record(account_id, standing, reading.valuation, reading.unvalued_assets)
        return Decision(record, known.valued_state, is_transition=False)

    def read(self, account_id: str, marks: UsableMarks) -> Reading:
        """One account's margin at some marks, against its recorded state.

        Raises:
            KeyError: the account is not in the book.
        """
        if account_id not in self._versions:
            raise KeyError(account_id)
        margin = self._evaluator.evaluate(self._numbers[account_id], self._core_marks(marks))
        if margin.unvalued_assets:
            names = self._asset_names(account_id, margin.unvalued_assets)
            return Reading(account_id, State.UNVALUED, names, None)
        return Reading(
            account_id,
            state_of(margin.state),
            (),
            _valuation(margin.collateral_usd, margin.debt_usd),
        )

    def read_all(self, marks: UsableMarks) -> Iterator[Reading]:
        """Every account at some marks, with its recorded state, valued in one pass."""
        valued_at = self._core_marks(marks).values
        book = self._evaluator.book
        valuation = book.revalue(valued_at)
        for row, number in enumerate(book.accounts):
            if number < 0:
                continue
            account_id = self._names[int(number)]
            if valuation.unvalued[row]:
                missing = self._asset_names(account_id, book.unvalued_assets(row, valued_at))
                yield Reading(account_id, State.UNVALUED, missing, None)
                continue
            code = self._evaluator.state(int(number))
            if code == NEVER_EVALUATED:
                continue
            yield Reading(
                account_id,
                state_of(MarginState(code)),
                (),
                _valuation(float(valuation.collateral_usd[row]), float(valuation.debt_usd[row])),
            )


def _valuation(collateral_usd: float, debt_usd: float) -> RecordedValuation:
    health = float(health_pct(np.array([collateral_usd]), np.array([debt_usd]))[0])
    return RecordedValuation(usd(collateral_usd), usd(debt_usd), health if np.isfinite(health) else None)


def _record(
    account_id: str,
    standing: Standing,
    valuation: RecordedValuation | None,
    unvalued_assets: tuple[str, ...] = (),
) -> MarginRecord:
    return MarginRecord(
        account_id=account_id,
        state=standing.state,
        valued_state=standing.valued_state,
        transitions=standing.transitions,
        unvalued_assets=unvalued_assets,
        valuation=valuation,
        tick_sequence=standing.tick_sequence,
        position_version=standing.position_version,
        as_of=standing.as_of,
    )
