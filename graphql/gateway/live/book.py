"""The accounts that someone looks at, valued at the latest tick. No clock, no I/O.

``positions.changed.v1`` carries all positions of an account and a version, and ``market.prices.v1`` every
mark, so neither a tick nor a change costs a read: an account is read from Firestore once, when its first
subscriber comes. (A Firestore listener per account would say the same later, and costs a read per change.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.margin.types import Margin
from shared.domain.columns import Columns, held_columns
from shared.domain.margin import MarginRecord, State, state_of
from shared.domain.market import UsableMarks
from shared.domain.money import usd
from shared.domain.network import Network
from shared.domain.positions import Position
from shared.events.margin import MarginTransition
from shared.events.positions import Position as EventPosition
from shared.events.prices import PriceTick
from shared.risk.evaluator import BookEvaluator, Marks
from shared.risk.margin import health_pct
from shared.risk.states import MarginState

# By the risk core's code; an account that has never been evaluated has none.
_STATES = {int(code): state_of(code) for code in MarginState if code is not MarginState.UNVALUED}


@dataclass(frozen=True, slots=True)
class Holding:
    """One position: what :class:`shared.domain.positions.Position` and the event's have in common."""

    chain_id: int
    asset: str
    decimals: int
    collateral_base: int
    debt_shares: int

    @classmethod
    def of(cls, position: Position | EventPosition) -> Holding:
        """The holding of a stored position, or of an announced one."""
        return cls(
            position.chain_id,
            position.asset,
            position.decimals,
            position.collateral_base,
            position.debt_shares,
        )


@dataclass(slots=True)
class _Account:
    account_id: str
    number: int
    version: int
    as_of: datetime
    held: tuple[tuple[str, int], ...]
    """Asset and column of each side of something."""
    transitions: int = 0
    changed_at_tick: int = 0
    margin: Margin | None = None


class LiveBook:
    """Accounts by id, their margin at the latest tick, and what makes it change.

    Changes are collected and take effect with :meth:`settle`, which names the accounts whose margin
    is a new one. Older ticks, versions and transitions than those known are ignored.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._columns = Columns(network)
        self._evaluator = BookEvaluator(
            self._columns.factors, network.margin_policy, tuning=self._columns.tuning
        )
        self._accounts: dict[str, _Account] = {}
        self._by_number: dict[int, _Account] = {}
        self._free_numbers: list[int] = []
        self._dirty: set[str] = set()
        self._usable: UsableMarks = {}
        self._revalue_all = False
        self._evaluation_due = False
        self.tick: PriceTick | None = None

    def __contains__(self, account_id: str) -> bool:
        return account_id in self._accounts

    def __len__(self) -> int:
        return len(self._accounts)

    def put_positions(
        self, account_id: str, version: int, as_of: datetime, holdings: Iterable[Holding]
    ) -> bool:
        """Give an account its positions; False where the version is not newer than the known one."""
        known = self._accounts.get(account_id)
        if known is not None and known.version >= version:
            return False
        listed = list(holdings)
        held = held_columns(
            self._columns, ((h.chain_id, h.asset, h.collateral_base, h.debt_shares) for h in listed)
        )
        if known is None:
            number = self._free_numbers.pop() if self._free_numbers else len(self._accounts)
            known = _Account(account_id, number, version, as_of, held)
            self._accounts[account_id] = self._by_number[number] = known
        known.version, known.as_of, known.held = version, as_of, held
        self._evaluator.replace_account(
            known.number,
            [
                position
                for h in listed
                for position in self._columns.positions(
                    h.chain_id, h.asset, h.decimals, h.collateral_base, h.debt_shares
                )
            ],
        )
        self._touch(account_id)
        return True

    def put_record(self, account_id: str, record: MarginRecord | None) -> None:
        """Start an account from its recorded state, unless announcements have gone further."""
        account = self._accounts[account_id]
        if record is None or record.transitions < account.transitions:
            return
        account.transitions = record.transitions
        if record.valued_state is not None and record.tick_sequence >= account.changed_at_tick:
            self._evaluator.set_state(account.number, record.valued_state.code)
        self._touch(account_id)

    def apply_transition(self, transition: MarginTransition) -> bool:
        """Follow an announced transition; False where it is not news.

        The recorded state counts where it and ours differ, for hysteresis follows the ticks that
        ``evaluate_margin`` saw. Ours stays where a later tick has changed it: its announcement is on
        the way.
        """
        account = self._accounts.get(transition.account_id)
        if account is None or account.transitions >= transition.sequence:
            return False
        account.transitions = transition.sequence
        if account.changed_at_tick <= transition.tick_sequence:
            self._evaluator.set_state(account.number, transition.state.code)
        self._touch(account.account_id)
        return True

    def remove(self, account_id: str) -> None:
        """Forget an account."""
        account = self._accounts.pop(account_id)
        del self._by_number[account.number]
        self._evaluator.remove_account(account.number)
        self._free_numbers.append(account.number)
        self._dirty.discard(account_id)

    def apply_tick(self, tick: PriceTick, now: datetime) -> bool:
        """Value the book at a tick; False where it is not newer than the known one."""
        if self.tick is not None and tick.sequence <= self.tick.sequence:
            return False
        self.tick = tick
        self._usable = self._usable_at(now)
        self._revalue_all = True
        self._evaluate()
        return True

    def age(self, now: datetime) -> bool:
        """Take out of use what has become too old; True where that changed a mark."""
        usable = self._usable_at(now)
        if usable == self._usable:
            return False
        self._usable = usable
        self._revalue_all = True
        self._evaluate()
        return True

    def next_expiry(self, now: datetime) -> datetime | None:
        """The last moment at which the next mark to age, or the tick, may still be used."""
        if self.tick is None:
            return None
        moments = [self.tick.as_of + timedelta(seconds=self._network.tick_max_age_s)]
        moments += [
            mark.observed_at + timedelta(seconds=mark.max_age_s)
            for mark in self.tick.marks
            if mark.is_usable and mark.observed_at is not None
        ]
        return min((moment for moment in moments if moment >= now), default=None)

    def settle(self) -> list[str]:
        """Bring margins up to date; the accounts that have a new one."""
        if not self._revalue_all and not self._dirty:
            return []
        if self._evaluation_due:
            self._evaluate()
        changed = list(self._accounts) if self._revalue_all else list(self._dirty)
        self._revalue_all = False
        self._dirty.clear()
        accounts = [self._accounts[account_id] for account_id in changed]
        book = self._evaluator.book
        rows = book.rows_of([account.number for account in accounts])
        values = book.revalue_rows(rows, self._core_marks().values)
        health = health_pct(values.collateral_usd, values.debt_usd).tolist()
        columns = zip(
            accounts,
            values.unvalued.tolist(),
            values.collateral_usd.tolist(),
            values.debt_usd.tolist(),
            health,
            strict=True,
        )
        for account, unvalued, collateral, debt, pct in columns:
            account.margin = self._margin(account, unvalued, collateral, debt, pct)
        return changed

    def margin(self, account_id: str) -> Margin:
        """An account's margin as of the last :meth:`settle`. Raises KeyError for an unknown account."""
        margin = self._accounts[account_id].margin
        if margin is None:
            raise KeyError(f"{account_id} has not been settled")
        return margin

    def _margin(
        self, account: _Account, unvalued: bool, collateral: float, debt: float, pct: float
    ) -> Margin:
        recorded = self._evaluator.state(account.number)
        valued_state = _STATES.get(recorded)
        missing: list[str] = []
        if unvalued or self.tick is None:
            missing = list(
                dict.fromkeys(
                    asset
                    for asset, column in account.held
                    if not self._columns.is_usable(column, self._usable)
                )
            )
        # An account that holds nothing has no mark to miss; without a tick it is still not valued.
        is_valued = not missing and self.tick is not None and valued_state is not None
        return Margin(
            account_id=account.account_id,  # type: ignore[arg-type]
            state=valued_state if is_valued else State.UNVALUED,
            unvalued_assets=missing,
            valued_state=valued_state,
            collateral_usd=usd(collateral) if is_valued else None,
            debt_usd=usd(debt) if is_valued else None,
            health_pct=pct if is_valued and math.isfinite(pct) else None,
            tick_sequence=self.tick.sequence if self.tick else None,
            position_version=account.version,
            transitions=account.transitions,
            as_of=self.tick.as_of if self.tick else account.as_of,
        )

    def _core_marks(self) -> Marks:
        return self._columns.marks(self._usable)

    def _touch(self, account_id: str) -> None:
        self._dirty.add(account_id)
        self._evaluation_due = True

    def _usable_at(self, now: datetime) -> UsableMarks:
        return {} if self.tick is None else self.tick.usable_marks_at(now, self._network.tick_max_age_s)

    def _evaluate(self) -> None:
        self._evaluation_due = False
        if self.tick is None or not self._accounts:
            return
        transitions = self._evaluator.tick(self._core_marks())
        for number in transitions.accounts.tolist():
            self._by_number[number].changed_at_tick = self.tick.sequence
