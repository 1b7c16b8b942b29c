"""The second reading: final blocks once more, from another provider, against what was announced.

What it confirms is announced on ``settlement.finalized.v1`` as well: nothing there is ever taken back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from shared.chain.blocks import Block
from shared.chain.completeness import Difference
from shared.chain.contract_events import ContractLogEvent
from shared.domain.chain_progress import RETAINED_BLOCKS, ChainProgress
from shared.events import topics
from shared.runtime.relay import alerts, announcing
from shared.runtime.relay.chain_relay import ChainRelay
from shared.runtime.relay.sighting import View
from shared.stores import announced_blocks, database
from shared.stores.announced_blocks import AnnouncedPart, Announcement

# Of full blocks one look takes a single record, which is large: more of them would be read in vain.
_RECORDS = 20
_MOST_RECORDS = 100_000
_MOST_REPAIRED = 200
# What is announced as final must not hold up for long what is new at the head.
_MOST_EVENTS = 100
ANNOUNCED = "announced"
"""Stands for the provider where it is the announcements that differ from the chain."""

_log = logging.getLogger(__name__)


def verify_next(relay: ChainRelay, view: View, progress: ChainProgress) -> bool:
    """Read the next final blocks a second time, and repair what differs; True if there are more.

    Blocks wait until they are a little deeper than final: until then an operator can still accept their
    reorganisation, which takes back what was announced of them.

    Raises:
        RetryableError: no provider gave them.
    """
    deepest = min(view.sight.final_number, progress.block_number)
    last = min(deepest - RETAINED_BLOCKS, progress.verified_number + relay.chain.block_range)
    first = progress.verified_number + 1
    if last < first:
        return False
    records, last = _records(relay, first, last)
    found = relay.read(view, first, last, again=True)
    strange = _of_another_chain(records, found.headers)
    if strange is not None:
        relay.make_sure(view, strange.block_number, strange.block_hash)
        relay.halt(progress, view.sight.head, strange.block_number - 1)
        return False
    by_block = relay.decode(found, progress)
    there = {event.event_id: event for events in by_block.values() for event in events}
    announced = {each.event_id: each for record in records for each in record.announcements}
    missing = [event for event_id, event in there.items() if event_id not in announced]
    invented = [each for event_id, each in announced.items() if event_id not in there]
    differences = [*found.differences, *_differences(missing, invented, found.headers)]
    # In commits that do not move on, each repeated under the same ids should what follows not be reached.
    for start in range(0, len(missing), _MOST_REPAIRED):
        relay.settle(progress, partial(_announce, missing[start : start + _MOST_REPAIRED]))
    for start in range(0, len(invented), _MOST_REPAIRED):
        relay.settle(
            progress, partial(_retract, invented[start : start + _MOST_REPAIRED], progress.revision + 1)
        )
    settled = replace(progress.advanced([], view.sight.final_number), partial=progress.partial)
    for group, done in announcing.parts(found.headers, by_block):
        verified = first + done - 1
        ended = [record for record in records if settled.verified_number < record.block_number <= verified]
        settled = replace(
            settled,
            verified_number=verified,
            differences=progress.differences + len(differences) * (verified == last),
        )
        relay.settle(settled, partial(_finalize, group, ended))
    if missing or invented:
        _log.error(
            "what was announced differs from the chain",
            extra={"missing": len(missing), "invented": len(invented)},
        )
    if differences:
        alerts.logs_incomplete(relay.context, relay.chain, differences)
    return last < deepest - RETAINED_BLOCKS


def _records(relay: ChainRelay, first: int, last: int) -> tuple[list[AnnouncedPart], int]:
    """What was announced of the next blocks, as many as one look reads again, and the last of them."""
    list_between = partial(announced_blocks.list_between, relay.database, relay.chain.chain_id)
    records = list_between(first, last, limit=_RECORDS)
    page_is_full = len(records) == _RECORDS
    last = _few_enough(records, first, last)
    if page_is_full and last == first:
        return list_between(first, first, limit=_MOST_RECORDS), first
    return [record for record in records if record.block_number <= last], last


def _few_enough(records: Sequence[AnnouncedPart], first: int, last: int) -> int:
    """The last block up to which the records hold no more events than one look reads again; at least
    ``first``, whose events are never divided."""
    events = 0
    for record in records:
        events += len(record.announcements)
        if events > _MOST_EVENTS:
            return max(first, record.block_number - 1)
    if len(records) == _RECORDS:
        # The rest of its last block may be on the next page.
        return max(first, records[-1].block_number - 1)
    return last


def _announce(events: Sequence[ContractLogEvent], commit: database.Commit) -> None:
    for event in events:
        commit.announce(topics.SETTLEMENT_EVENTS, event, ordering_key=announcing.ordering_key(event))


def _retract(invented: Sequence[Announcement], revision: int, commit: database.Commit) -> None:
    for announcement in invented:
        announcing.retract_one(commit, announcement, revision)


def _finalize(
    group: Sequence[announcing.Part], ended: Sequence[AnnouncedPart], commit: database.Commit
) -> None:
    """Announce a group's events as final, and forget what was announced of its blocks."""
    for part in group:
        for event in part.events:
            commit.announce(topics.FINALIZED_EVENTS, event, ordering_key=announcing.ordering_key(event))
    for record in ended:
        commit.delete(record.path)


def _differences(
    missing: Sequence[ContractLogEvent], invented: Sequence[Announcement], headers: Sequence[Block]
) -> list[Difference]:
    """The blocks of which something else was announced than they have."""
    if not missing and not invented:
        return []
    number = missing[0].block_number if missing else headers[0].number
    return [
        Difference(
            ANNOUNCED,
            number,
            headers[number - headers[0].number].hash,
            missing=tuple(event.log_index for event in missing),
            invented=tuple(int(each.event_id.rpartition(":")[2]) for each in invented),
        )
    ]


def _of_another_chain(records: Sequence[AnnouncedPart], headers: Sequence[Block]) -> AnnouncedPart | None:
    """The first that was announced of another block than the chain has."""
    hashes = {header.number: header.hash for header in headers}
    return next((record for record in records if hashes[record.block_number] != record.block_hash), None)
