"""What goes into one commit: cursor, window, records of what is announced, and the announcements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.chain.blocks import Block
from shared.chain.contract_events import ContractLogEvent
from shared.domain.chain_progress import ChainProgress
from shared.events import topics
from shared.events.registry import ADAPTERS
from shared.events.settlement import EventRetracted, retraction_id
from shared.stores import announced_blocks, database
from shared.stores.announced_blocks import AnnouncedPart, Announcement

MAX_PART_EVENTS = 200
# The cursor's document, and the record of a part beside its announcements.
_MAX_WRITES = database.MAX_WRITES - 1


def ordering_key(event: ContractLogEvent) -> str:
    """What the order of an event matters for: its account, market or escrow."""
    return f"{event.chain_id}:{event.subject}"


@dataclass(frozen=True, slots=True)
class Part:
    """Events of one block that one commit announces; ``whole`` with the last of them."""

    block: Block
    number: int
    events: Sequence[ContractLogEvent]
    whole: bool


def parts(
    headers: Sequence[Block], events: Mapping[int, Sequence[ContractLogEvent]]
) -> Iterator[tuple[list[Part], int]]:
    """The events of consecutive blocks, by block number, in groups that one commit takes.

    Each comes with how many of the blocks are complete after it; the last one with all.
    """
    group: list[Part] = []
    writes = 0
    done = 0
    for index, block in enumerate(headers):
        of_block = events.get(block.number, ())
        for start in range(0, len(of_block), MAX_PART_EVENTS):
            chunk = of_block[start : start + MAX_PART_EVENTS]
            if writes + len(chunk) + 1 > _MAX_WRITES:
                yield group, done
                group, writes = [], 0
            whole = start + MAX_PART_EVENTS >= len(of_block)
            group.append(Part(block, start // MAX_PART_EVENTS, chunk, whole))
            writes += len(chunk) + 1
        done = index + 1
    yield group, done


def announce(commit: database.Commit, chain_id: int, part: Part) -> None:
    """Announce a part's events and record that they were."""
    record = AnnouncedPart(
        chain_id,
        part.block.number,
        part.block.hash,
        part.number,
        [Announcement(event.event_id, event.encode(), ordering_key(event)) for event in part.events],
    )
    commit.put(record.path, announced_blocks.encode(record))
    for event in part.events:
        commit.announce(topics.SETTLEMENT_EVENTS, event, ordering_key=ordering_key(event))


def retract(commit: database.Commit, record: AnnouncedPart, revision: int) -> int:
    """Take back a part, the last event first, and forget that it was announced; how many events it had."""
    for announcement in reversed(record.announcements):
        retract_one(commit, announcement, revision)
    commit.delete(record.path)
    return len(record.announcements)


def retract_one(commit: database.Commit, announcement: Announcement, revision: int) -> None:
    """Take back one event."""
    event = ADAPTERS[topics.SETTLEMENT_EVENTS].validate_json(announcement.data)
    commit.announce(
        topics.SETTLEMENT_EVENTS,
        EventRetracted(
            event_id=retraction_id(announcement.event_id, revision), revision=revision, retracted=event
        ),
        ordering_key=announcement.ordering_key,
    )


def progress_after(
    progress: ChainProgress, headers: Sequence[Block], group: Sequence[Part], done: int, final_number: int
) -> ChainProgress:
    """The progress once a group is announced, with ``done`` of the blocks complete.

    A block that is only begun is named, so that what was announced of it is taken back should it vanish.
    """
    hashes = [block.hash for block in headers[:done] if block.number > progress.block_number]
    after = progress.advanced(hashes, final_number)
    if group and not group[-1].whole:
        return after.begun_block(group[-1].block.hash)
    return after
