"""Taking a settlement command: checked, recorded and announced in one commit, once per account and client
key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from shared.chain.settlement_calls import check_arguments
from shared.config import Settings
from shared.domain.network import Network
from shared.domain.settlement_commands import (
    Command,
    CommandBody,
    CommandKind,
    CommandRefusedError,
    accept,
    check_client_key,
    command_id,
)
from shared.errors import ConflictError
from shared.events import topics
from shared.events.settlement_commands import command_message
from shared.messaging import publisher
from shared.stores import custody, database, outbox, settlement_commands


@dataclass(frozen=True, slots=True)
class Asked:
    """A command as a client sends it; nothing of it was checked but that the client may act for the
    account."""

    account_id: str
    client_key: str
    chain_id: int
    kind: CommandKind
    arguments: tuple[tuple[str, str], ...]
    deadline: datetime


class Outcome(Enum):
    """What became of a command that was sent in."""

    ACCEPTED = auto()
    REPEATED = auto()
    """The same command was accepted before; it is the one that was found."""
    CONFLICT = auto()
    """The client's key belongs to a command with another body; it is the one that was found."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a command that was sent in, and the command that its key now names."""

    outcome: Outcome
    command: Command


def take(settings: Settings, network: Network, asked: Asked, now: datetime) -> Intake:
    """Accept a command, or find the one that its key already names.

    A repeat gets the same answer after the deadline too.

    Raises:
        CommandRefusedError: naming the field to blame.
        RetryableError: Firestore failed; the client may send the same again.
    """
    check_client_key(asked.client_key)
    arguments = checked_arguments(network, asked.chain_id, asked.kind, asked.arguments)
    body = CommandBody(asked.chain_id, asked.kind, arguments, asked.deadline)
    client = database.connect(settings)
    identifier = command_id(asked.account_id, asked.client_key)
    known = settlement_commands.find(client, identifier)
    if known is not None:
        return _compared(known[0], body)
    if custody.find(client, asked.account_id) is None:
        raise CommandRefusedError("accountId", f"{asked.account_id} is not an account in custody")
    command = accept(asked.account_id, asked.client_key, body, now)
    commit = database.Commit(client)
    commit.create(settlement_commands.path(identifier), settlement_commands.encode(command))
    commit.announce(topics.SETTLEMENT_COMMANDS, command_message(command), ordering_key=command.account_id)
    try:
        commit.apply()
    except ConflictError:
        # The same key came twice at once.
        known = settlement_commands.find(client, identifier)
        if known is None:
            raise
        return _compared(known[0], body)
    outbox.publish(client, publisher.connect(settings), commit.announced)
    return Intake(Outcome.ACCEPTED, command)


def _compared(known: Command, body: CommandBody) -> Intake:
    same = known.body.hash == body.hash
    return Intake(Outcome.REPEATED if same else Outcome.CONFLICT, known)


def checked_arguments(
    network: Network, chain_id: int, kind: CommandKind, given: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """A command's arguments in canonical form.

    Raises:
        CommandRefusedError: naming the field to blame.
    """
    chain = network.chains.get(chain_id)
    if chain is None:
        raise CommandRefusedError("chainId", f"{chain_id} is not one of our chains")
    named: dict[str, str] = {}
    for name, value in given:
        if name in named:
            raise CommandRefusedError(f"arguments.{name}", "is given twice")
        named[name] = value
    return check_arguments(chain, kind, named)
