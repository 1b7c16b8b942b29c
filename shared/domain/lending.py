"""The vaults' lending markets and their lenders, as reported: what stands after retractions.

A market's changes are numbered without gaps, and each report has its whole books, so the report with the
highest number that stands is how the market is. A lender's reports carry the account's number of events;
they too have all of its shares. Reports are kept by number (:class:`shared.domain.steps.StepRecord`), so any
order of arrival, repetition and retraction ends in the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.domain.interest import Market, debt_of
from shared.domain.positions import position_key
from shared.domain.steps import StepRecord

MAX_SUPPLY_RECORDS = 200
"""The reports of one lender in one asset that are kept; a reorganisation deeper than that is refused."""


@dataclass(frozen=True, slots=True)
class LendingMarket:
    """The books of one asset's lenders and borrowers on one chain, as of their last change."""

    chain_id: int
    asset: str
    decimals: int
    books: Market

    @property
    def key(self) -> str:
        """Unique among markets; an account's position in the market has the same."""
        return position_key(self.chain_id, self.asset)

    def books_at(self, at: int) -> Market:
        """The books with interest up to a Unix time, or as of their last change where that is later: a node's
        clock may be ahead of ours, and what has been reported is not taken back by a clock."""
        return self.books.accrue(max(at, self.books.accrued_at))

    def index_at(self, at: int) -> int:
        """The borrow index of :meth:`books_at`."""
        return self.books.index_at(max(at, self.books.accrued_at))

    def debt_at(self, shares: int, at: int) -> int:
        """What debt shares amount to in base units, rounded up: what the vault asks for to be repaid."""
        return debt_of(shares, self.index_at(at))


class LostHistoryError(ValueError):
    """More reports were taken back than are kept, so what stood before them is not known."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What an account has lent to one market, in shares, with the reports that say so by their numbers.

    ``is_complete`` is False once the oldest reports have been left out.
    """

    chain_id: int
    asset: str
    decimals: int
    records: Mapping[int, StepRecord[int]] = field(default_factory=dict)
    is_complete: bool = True

    @property
    def key(self) -> str:
        """Unique within an account, and the market's."""
        return position_key(self.chain_id, self.asset)

    @property
    def shares(self) -> int:
        """The shares of the latest report that stands; 0 where all were taken back.

        Raises:
            LostHistoryError: more were taken back than are kept.
        """
        for number in sorted(self.records, reverse=True):
            standing = self.records[number].live
            if standing is not None:
                return standing
        if not self.is_complete:
            raise LostHistoryError(
                f"more than {MAX_SUPPLY_RECORDS} reports of the supply {self.key} were taken back: "
                "replay the account's events"
            )
        return 0

    def with_record(self, number: int, record: StepRecord[int]) -> Supply:
        """The supply with what is now known of one number; the oldest are left out beyond the limit."""
        records = {**self.records, number: record}
        kept = sorted(records)[-MAX_SUPPLY_RECORDS:]
        return replace(
            self,
            records={each: records[each] for each in kept},
            is_complete=self.is_complete and len(kept) == len(records),
        )
