"""``settlement_commands``: every command by id, which its account and the client's key determine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.domain.settlement_commands import Command, CommandBody, CommandKind, CommandStatus
from shared.stores import database

COLLECTION = "settlement_commands"


def path(command_id: str) -> str:
    """The document of a command."""
    return f"{COLLECTION}/{command_id}"


def encode(command: Command) -> dict[str, Any]:
    """The document's fields."""
    body = command.body
    return {
        "command_id": command.command_id,
        "account_id": command.account_id,
        "client_key": command.client_key,
        "chain_id": body.chain_id,
        "kind": body.kind.value,
        "arguments": dict(body.arguments),
        "deadline": body.deadline,
        "body_hash": body.hash,
        "status": command.status.value,
        "reason": command.reason,
        "field": command.field,
        "transaction_id": command.transaction_id,
        "accepted_at": command.accepted_at,
    }


def decode(fields: Mapping[str, Any]) -> Command:
    """The command of a document's fields."""
    return Command(
        command_id=fields["command_id"],
        account_id=fields["account_id"],
        client_key=fields["client_key"],
        body=CommandBody(
            fields["chain_id"], CommandKind(fields["kind"]), fields["arguments"], fields["deadline"]
        ),
        status=CommandStatus(fields["status"]),
        accepted_at=fields["accepted_at"],
        transaction_id=fields["transaction_id"],
        reason=fields["reason"],
        field=fields["field"],
    )


def find(client: firestore.Client, command_id: str) -> tuple[Command, Any] | None:
    """A command, with what a later replacement is conditioned on; None where it does not exist."""
    document = database.find(client, path(command_id))
    return None if document is None else (decode(document.fields), document.read_at)


def find_many(client: firestore.Client, command_ids: Iterable[str]) -> dict[str, tuple[Command, Any]]:
    """Commands by id, with what a later replacement is conditioned on."""
    documents = database.find_all(client, map(path, command_ids))
    return {document.id: (decode(document.fields), document.read_at) for document in documents.values()}


def list_page(
    client: firestore.Client,
    *,
    account_ids: Iterable[str] | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Command]:
    """Up to ``limit`` commands, the last accepted first, from the one behind ``before`` (accepted_at, id).

    ``account_ids`` restricts them to these accounts; None means all.
    """
    statement = database.newest_first(client, COLLECTION, "accepted_at", before=before, limit=limit)
    documents = database.query_among(statement, "account_id", account_ids)
    documents.sort(key=lambda document: (document.fields["accepted_at"], document.id), reverse=True)
    return [decode(document.fields) for document in documents[:limit]]


def list_overdue(client: firestore.Client, moment: datetime, *, limit: int) -> list[tuple[Command, Any]]:
    """Commands that no transaction was made for and whose deadline was before ``moment``, with what a later
    replacement is conditioned on."""
    statement = (
        client.collection(COLLECTION)
        .where(filter=firestore.FieldFilter("status", "==", CommandStatus.ACCEPTED.value))
        .where(filter=firestore.FieldFilter("deadline", "<", moment))
        .limit(limit)
    )
    return [(decode(document.fields), document.read_at) for document in database.query(statement)]
