"""Settlement commands: what a client asks us to do on chain with a signer that we hold, and what became of
it.

A command is known by its account and the key that the client chose for it. The same key with the same body is
the same command; with another body it is a conflict. Statuses only ever move forward::

    ACCEPTED ──► SUBMITTED ──► SUCCEEDED | REVERTED | EXPIRED | FAILED
        └──────► REFUSED | EXPIRED
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.domain.client_keys import CLIENT_KEY_RULE, is_client_key

MAX_DEADLINE = timedelta(days=7)
"""A command may be carried out for so long: a signature that is valid for ever is one that gets forgotten."""


class CommandKind(StrEnum):
    """What may be asked for. What each takes is ``shared/chain/settlement_calls.py``."""

    TOKEN_APPROVE = "TOKEN_APPROVE"  # noqa: S105 a token of a chain, no password
    VAULT_DEPOSIT = "VAULT_DEPOSIT"
    VAULT_WITHDRAW = "VAULT_WITHDRAW"
    VAULT_BORROW = "VAULT_BORROW"
    VAULT_REPAY = "VAULT_REPAY"
    VAULT_SUPPLY = "VAULT_SUPPLY"
    VAULT_REDEEM = "VAULT_REDEEM"
    VAULT_LIQUIDATE = "VAULT_LIQUIDATE"
    ESCROW_CREATE = "ESCROW_CREATE"
    ESCROW_APPROVE = "ESCROW_APPROVE"
    ESCROW_RELEASE = "ESCROW_RELEASE"
    ESCROW_REFUND = "ESCROW_REFUND"
    ESCROW_WITHDRAW = "ESCROW_WITHDRAW"
    ESCROW_DISPUTE = "ESCROW_DISPUTE"
    ESCROW_RESOLVE = "ESCROW_RESOLVE"
    ESCROW_PROPOSE_ARBITER = "ESCROW_PROPOSE_ARBITER"
    ESCROW_APPROVE_BY_SIGNATURE = "ESCROW_APPROVE_BY_SIGNATURE"
    DVP_CREATE = "DVP_CREATE"
    DVP_ALLOW_DEPOSIT = "DVP_ALLOW_DEPOSIT"
    DVP_DEPOSIT = "DVP_DEPOSIT"
    DVP_REFUND = "DVP_REFUND"
    DVP_WITHDRAW = "DVP_WITHDRAW"


class CommandStatus(StrEnum):
    """Where a command stands; see the module's drawing."""

    ACCEPTED = "ACCEPTED"
    SUBMITTED = "SUBMITTED"
    SUCCEEDED = "SUCCEEDED"
    REVERTED = "REVERTED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"

    @property
    def final(self) -> bool:
        """Whether nothing more happens to the command."""
        return self not in _NEXT


_NEXT: Mapping[CommandStatus, frozenset[CommandStatus]] = {
    CommandStatus.ACCEPTED: frozenset(
        {CommandStatus.SUBMITTED, CommandStatus.REFUSED, CommandStatus.EXPIRED}
    ),
    CommandStatus.SUBMITTED: frozenset(
        {CommandStatus.SUCCEEDED, CommandStatus.REVERTED, CommandStatus.EXPIRED, CommandStatus.FAILED}
    ),
}


class CommandRefusedError(ValueError):
    """A command that cannot be carried out as it is; names the field to blame."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"{field} {reason}")


class CommandStatusError(ValueError):
    """A command cannot go from its status to another."""


@dataclass(frozen=True, slots=True)
class CommandBody:
    """What is asked for. ``arguments`` are in canonical form: lower case, no leading zeros."""

    chain_id: int
    kind: CommandKind
    arguments: Mapping[str, str]
    deadline: datetime

    @property
    def hash(self) -> str:
        """SHA-256 of the body's canonical JSON, in hexadecimal: equal bodies have equal hashes."""
        canonical = json.dumps(
            {
                "chain_id": self.chain_id,
                "kind": self.kind.value,
                "arguments": dict(self.arguments),
                "deadline": self.deadline.astimezone(UTC).isoformat(timespec="microseconds"),
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it is kept. ``transaction_id`` is set once a nonce is its own."""

    command_id: str
    account_id: str
    client_key: str
    body: CommandBody
    status: CommandStatus
    accepted_at: datetime
    transaction_id: str | None = None
    reason: str | None = None
    field: str | None = None

    def advanced(
        self,
        status: CommandStatus,
        *,
        reason: str | None = None,
        field: str | None = None,
        transaction_id: str | None = None,
    ) -> Command:
        """The command in its next status.

        Raises:
            CommandStatusError: that status does not follow this one.
        """
        if status not in _NEXT.get(self.status, frozenset()):
            raise CommandStatusError(f"command {self.command_id} is {self.status} and cannot become {status}")
        return replace(
            self,
            status=status,
            reason=reason,
            field=field,
            transaction_id=transaction_id or self.transaction_id,
        )


def command_id(account_id: str, client_key: str) -> str:
    """The id of the command that a client knows by its own key: one per account and key."""
    return "cmd_" + hashlib.sha256(f"{account_id}\n{client_key}".encode()).hexdigest()[:40]


def accept(account_id: str, client_key: str, body: CommandBody, now: datetime) -> Command:
    """A new command.

    Raises:
        CommandRefusedError: its key or its deadline cannot be used.
    """
    check_client_key(client_key)
    if body.deadline <= now:
        raise CommandRefusedError("deadline", "has passed")
    if body.deadline > now + MAX_DEADLINE:
        raise CommandRefusedError("deadline", f"must be within {MAX_DEADLINE.days} days")
    return Command(
        command_id(account_id, client_key), account_id, client_key, body, CommandStatus.ACCEPTED, now
    )


def check_client_key(client_key: str) -> None:
    """Make sure that a client's key can name a command.

    Raises:
        CommandRefusedError: it is empty, too long, or has characters that do not print.
    """
    if not is_client_key(client_key):
        raise CommandRefusedError("clientKey", CLIENT_KEY_RULE)
