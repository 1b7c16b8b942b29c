"""What was announced, against what the chain has: lost, doubled and phantom events."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.cloud.pubsub_v1 import SubscriberClient

from local.chain import LocalChain
from local.deployment import Deployment
from shared.chain import contract_events
from shared.domain.network import Chain
from shared.domain.positions import Account, Position, apply_position, before
from shared.errors import TerminalError
from shared.events.registry import ADAPTERS
from shared.events.settlement import EventRetracted, MarketChanged, PositionChanged

_BLOCKS_PER_CALL = 5_000


class Listener:
    """A subscription on a topic of contract events, from the beginning."""

    def __init__(self, project: str, topic: str) -> None:
        self._client = SubscriberClient()
        self._adapter = ADAPTERS[topic]
        self._path = self._client.subscription_path(project, f"chaos-{topic}")
        self._client.create_subscription(
            request={
                "name": self._path,
                "topic": f"projects/{project}/topics/{topic}",
                "ack_deadline_seconds": 600,
            }
        )
        self.messages: list[Any] = []

    def pull(self) -> list[Any]:
        """Every message so far, in the order of their delivery."""
        while True:
            response = self._client.pull(
                request={"subscription": self._path, "max_messages": 1_000, "return_immediately": True}
            )
            if not response.received_messages:
                return self.messages
            self._client.acknowledge(
                subscription=self._path, ack_ids=[each.ack_id for each in response.received_messages]
            )
            self.messages += [
                self._adapter.validate_json(each.message.data) for each in response.received_messages
            ]


@dataclass(frozen=True)
class Verdict:
    """What came of the chain's events.

    ``repeats`` are deliveries of the same message, and ``late`` ones of an event behind a later one of the
    same account, market or escrow: both are allowed, and change nothing.
    """

    on_chain: int
    messages: int
    retractions: int
    repeats: int
    late: int
    lost: int
    doubled: int
    phantom: int
    wrong_positions: int
    final_lost: int
    final_phantom: int

    @property
    def holds(self) -> bool:
        """Whether every event reached its consumers once."""
        return not (
            self.lost
            or self.doubled
            or self.phantom
            or self.wrong_positions
            or self.final_lost
            or self.final_phantom
        )


def events_on(chain: LocalChain, description: Chain, first: int, last: int) -> list[Any]:
    """The events that the node itself has, in blocks ``first`` to ``last``."""
    found: list[Any] = []
    query = {
        "address": list(contract_events.emitters(description)),
        "topics": [contract_events.announced_topics()],
    }
    for start in range(first, last + 1, _BLOCKS_PER_CALL):
        span = {"fromBlock": hex(start), "toBlock": hex(min(last, start + _BLOCKS_PER_CALL - 1))}
        for log in chain.client.call("eth_getLogs", {**query, **span}):
            found.append(contract_events.decode_log(description, log, 0))
    return found


def judge(
    chain: LocalChain,
    deployment: Deployment,
    on_chain: Sequence[Any],
    messages: Sequence[Any],
    final: Sequence[Any],
    seed: int,
) -> Verdict:
    """Compare the messages with the events that the chain has, and their fold with the vault's view.

    Args:
        on_chain: the chain's events, all of them final.
        messages: what was announced, in order of delivery.
        final: what was announced as final.
    """
    expected = {event.event_id for event in on_chain}
    latest: dict[str, tuple[int, bool]] = {}
    numbers: dict[str, Any] = {}
    for message in messages:
        event = message.retracted if isinstance(message, EventRetracted) else message
        # Of two messages with one id the higher revision is right; a retraction never has the same.
        said = (message.revision, message is event)
        latest[event.event_id] = max(said, latest.get(event.event_id, (-1, False)))
        numbers[event.event_id] = _number(event)
    live = {event_id for event_id, (_, announced) in latest.items() if announced}
    counts = Counter(numbers[event_id] for event_id in live)
    shuffled = list(messages)
    random.Random(seed).shuffle(shuffled)
    seen = Counter(message.event_id + str(message.revision) for message in messages)
    final_ids = {event.event_id for event in final}
    return Verdict(
        on_chain=len(expected),
        messages=len(messages),
        retractions=sum(1 for message in messages if isinstance(message, EventRetracted)),
        repeats=sum(count - 1 for count in seen.values()),
        late=_late(messages),
        lost=len(expected - live),
        phantom=len(live - expected),
        doubled=sum(count - 1 for count in counts.values()),
        wrong_positions=_wrong_positions(chain, deployment, shuffled),
        final_lost=len(expected - final_ids),
        final_phantom=len(final_ids - expected),
    )


def _late(messages: Sequence[Any]) -> int:
    """Messages, not counting repeats, of an earlier event than one that came before under that revision."""
    highest: dict[tuple[str, int], int] = {}
    seen: set[tuple[str, int]] = set()
    late = 0
    for message in messages:
        this = message.event_id, message.revision
        if isinstance(message, EventRetracted) or this in seen:
            continue
        seen.add(this)
        subject, number = message.subject, _number(message)[1]
        late += number < highest.get((subject, message.revision), 0)
        highest[subject, message.revision] = max(number, highest.get((subject, message.revision), 0))
    return late


def _number(event: Any) -> tuple[str, int]:
    is_numbered = isinstance(event, PositionChanged | MarketChanged)
    return event.subject, event.sequence if is_numbered else event.step


def _wrong_positions(chain: LocalChain, deployment: Deployment, messages: Sequence[Any]) -> int:
    """Accounts whose positions, folded from the messages as they came, are not those of the vault."""
    accounts: dict[str, Account] = {}
    for message in messages:
        event = message.retracted if isinstance(message, EventRetracted) else message
        if not isinstance(event, PositionChanged):
            continue
        position = Position(
            event.chain_id,
            event.asset,
            event.decimals,
            event.collateral_base,
            event.debt_shares,
            sequence=event.sequence,
            revision=event.revision,
        )
        if isinstance(message, EventRetracted):
            undone = before(position, event.action, event.amount_base, event.borrow_index)
            position = replace(undone, revision=message.revision, retracted=True)
        known = accounts.get(event.account_id)
        accounts[event.account_id] = (
            apply_position(known, event.account_id, position, event.block_time) or known or _never(event)
        )
    truth = chain.positions(deployment, accounts)
    return sum(
        1
        for account_id, account in accounts.items()
        if {
            position.asset: (position.collateral_base, position.debt_shares)
            for position in account.positions.values()
            if position.collateral_base or position.debt_shares
        }
        != truth[account_id]
    )


def _never(event: PositionChanged) -> Account:
    raise TerminalError(f"the first report of {event.account_id} changed nothing")
