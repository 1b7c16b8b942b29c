"""Numbered steps that arrive in any order, several times, and may be taken back: what stands, folded.

A contract numbers what happens to one of its subjects without gaps: 1, 2, 3 …. A document keeps one record
per number; the state is a fold over the records that stand, from 1 up to the first one missing. Every
permutation and repetition of the same messages therefore ends in the same records and the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Step = TypeVar("Step")
State = TypeVar("State")

Advance = Callable[[State | None, int, Step], State]
"""The state after a step of this number. Raises StepError where the step cannot follow."""


class StepError(ValueError):
    """A step contradicts what stands; it must not be applied."""


@dataclass(frozen=True, slots=True)
class StepRecord(Generic[Step]):
    """What is known of one number.

    ``step`` was announced at the chain's ``revision``; ``retracted`` is the latest revision that took back
    whatever was announced before it. Each is None where it has not been heard of.
    """

    step: Step | None = None
    revision: int | None = None
    retracted: int | None = None

    @property
    def live(self) -> Step | None:
        """The step, unless it was taken back."""
        if self.revision is None or (self.retracted is not None and self.revision < self.retracted):
            return None
        return self.step

    def announced(self, step: Step, revision: int) -> StepRecord[Step]:
        """After an announcement; the same record where it is old news.

        Raises:
            StepError: another step has this number at the same revision.
        """
        if self.revision is not None and self.revision >= revision:
            if self.revision == revision and self.step != step:
                raise StepError(f"there are two: {self.step}, now {step}")
            return self
        return replace(self, step=step, revision=revision)

    def taken_back(self, revision: int) -> StepRecord[Step]:
        """After a retraction; the same record where it is old news."""
        if self.retracted is not None and self.retracted >= revision:
            return self
        return replace(self, retracted=revision)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The step ``number`` cannot follow the ones before it.

    ``certain``: they are of the same history. Otherwise the step was announced after a reorganisation that
    may have taken back one before it, whose retraction has not been heard of.
    """

    number: int
    reason: str
    certain: bool


def fold(
    records: Mapping[int, StepRecord[Step]], advance: Advance[State, Step]
) -> tuple[State | None, Contradiction | None]:
    """The state after the steps that stand, from 1 up to the first one missing, and what contradicts it.

    On one chain a later step was announced at the same revision or a later one. A step with a lower revision
    than the one before it is therefore of a history that is gone. Where the steps are of several
    revisions, a retraction that comes late may still explain a contradiction: it is not certain.
    """
    state: State | None = None
    number, revision = 1, 0
    while (record := records.get(number)) is not None and record.live is not None:
        if record.revision is None or record.revision < revision:
            break
        try:
            state = advance(state, number, record.live)
        except StepError as error:
            certain = record.revision == records[1].revision
            return state, Contradiction(number, str(error), certain)
        number, revision = number + 1, record.revision
    return state, None


def without(records: Mapping[int, StepRecord[Step]], number: int) -> dict[int, StepRecord[Step]]:
    """The records without the step of a number; that it was taken back is kept."""
    left = dict(records)
    retracted = left.pop(number).retracted
    if retracted is not None:
        left[number] = StepRecord(retracted=retracted)
    return left
