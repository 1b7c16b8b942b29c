"""What was announced, against what the chain has: lost, doubled and phantom events."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.cloud.pubsub_v1 import SubscriberClient

from local.chain import Deployment, LocalChain
from shared.chain import contract_events
from shared.chain.rpc import quantity
from shared.domain.positions import Account, Position, apply_position, before
from shared.errors import TerminalError
from shared.events import topics
from shared.events.registry import ADAPTERS
from shared.events.settlement import EventRetracted, PositionChanged, contract_event_id


class Listener:
    """A subscription on the settlement events, from the beginning."""

    def __init__(self, project: str) -> None:
        self._client = SubscriberClient()
        self._path = self._client.subscription_path(project, "chaos-listener")
        topic = f"projects/{project}/topics/{topics.SETTLEMENT_EVENTS}"
        self._client.create_subscription(
            request={"name": self._path, "topic": topic, "ack_deadline_seconds": 600}
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
            adapter = ADAPTERS[topics.SETTLEMENT_EVENTS]
            self.messages += [adapter.validate_json(each.message.data) for each in response.received_messages]


@dataclass(frozen=True)
class Verdict:
    """What came of the chain's events. ``repeats`` are deliveries of the same message, which are allowed."""

    on_chain: int
    messages: int
    retractions: int
    repeats: int
    lost: int
    doubled: int
    phantom: int
    wrong_positions: int

    @property
    def holds(self) -> bool:
        """Whether every event reached its consumers once."""
        return not (self.lost or self.doubled or self.phantom or self.wrong_positions)


def judge(
    chain: LocalChain, deployment: Deployment, start_block: int, messages: Sequence[Any], seed: int
) -> Verdict:
    """Compare the messages with the logs that the node itself has, and their fold with the vault's view."""
    expected = _event_ids(chain, deployment, start_block)
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
    return Verdict(
        on_chain=len(expected),
        messages=len(messages),
        retractions=sum(1 for message in messages if isinstance(message, EventRetracted)),
        repeats=sum(count - 1 for count in seen.values()),
        lost=len(expected - live),
        phantom=len(live - expected),
        doubled=sum(count - 1 for count in counts.values()),
        wrong_positions=_wrong_positions(chain, deployment, messages)
        + _wrong_positions(chain, deployment, shuffled),
    )


def _number(event: Any) -> tuple[str, int]:
    if isinstance(event, PositionChanged):
        return event.account_id, event.sequence
    return event.escrow, event.step


def _event_ids(chain: LocalChain, deployment: Deployment, start_block: int) -> set[str]:
    head = quantity(chain.client.call("eth_blockNumber"))
    found: set[str] = set()
    for first in range(start_block, head + 1, 1_000):
        query = {
            "address": [deployment.vault, deployment.escrow_factory],
            "topics": [contract_events.announced_topics()],
            "fromBlock": hex(first),
            "toBlock": hex(min(head, first + 999)),
        }
        for log in chain.client.call("eth_getLogs", query):
            found.add(contract_event_id(chain.client.chain_id, log["blockHash"], quantity(log["logIndex"])))
    return found


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
