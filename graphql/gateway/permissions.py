"""What a key may read and do: scopes per field, and which accounts exist for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

from strawberry.permission import BasePermission

from gateway.context import Info
from gateway.errors import (
    AccountNotFoundError,
    BadUserInputError,
    ClientError,
    ErrorCode,
    LimitExceededError,
)
from gateway.scalars import parse_address
from shared.domain.api_keys import ApiKey, Scope


class NeedsScope(BasePermission):
    """Refuses a field whose scope the key lacks."""

    scope: ClassVar[Scope]

    def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        """Whether the key of the request has the scope."""
        key: ApiKey = info.context.key
        return key.allows(self.scope)

    def on_unauthorized(self) -> NoReturn:
        """Name the scope that is missing."""
        raise ClientError(
            ErrorCode.FORBIDDEN, f"The API key lacks the scope {self.scope}.", scope=self.scope.value
        )


class NeedsAccountsScope(NeedsScope):
    """``accounts:read``."""

    scope = Scope.ACCOUNTS_READ


class NeedsMarksScope(NeedsScope):
    """``marks:read``."""

    scope = Scope.MARKS_READ


class NeedsEscrowsScope(NeedsScope):
    """``escrows:read``."""

    scope = Scope.ESCROWS_READ


class NeedsAlertsScope(NeedsScope):
    """``alerts:read``."""

    scope = Scope.ALERTS_READ


class NeedsDeliveriesScope(NeedsScope):
    """``deliveries:read``."""

    scope = Scope.DELIVERIES_READ


class NeedsHistoryScope(NeedsScope):
    """``history:read``."""

    scope = Scope.HISTORY_READ


class NeedsCommandsScope(NeedsScope):
    """``commands:read``."""

    scope = Scope.COMMANDS_READ


class NeedsCommandsWriteScope(NeedsScope):
    """``commands:write``."""

    scope = Scope.COMMANDS_WRITE


class NeedsWebhooksScope(NeedsScope):
    """``webhooks:read``."""

    scope = Scope.WEBHOOKS_READ


class NeedsWebhooksWriteScope(NeedsScope):
    """``webhooks:write``."""

    scope = Scope.WEBHOOKS_WRITE


class NeedsOperationsScope(NeedsScope):
    """``operations:read``, and a key for every account: the platform's figures are sums over all."""

    scope = Scope.OPERATIONS_READ

    def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:
        """Whether the key has the scope and is not restricted to some accounts."""
        key: ApiKey = info.context.key
        return key.allows(self.scope) and key.accounts is None

    def on_unauthorized(self) -> NoReturn:
        """Name what is needed."""
        raise ClientError(
            ErrorCode.FORBIDDEN,
            f"This needs the scope {self.scope} and a key that is not restricted to some accounts.",
            scope=self.scope.value,
        )


def account_argument(value: str, argument: str) -> str:
    """An account id given as an argument, in lower case.

    Raises:
        BadUserInputError: where it is not an address.
    """
    try:
        return parse_address(value)
    except ValueError as error:
        raise BadUserInputError(argument, str(error)) from None


def visible_account(info: Info, value: str, argument: str) -> str:
    """An account id given as an argument, if the key may see the account.

    Raises:
        AccountNotFoundError: it may not; the same as for an account that does not exist.
    """
    account_id = account_argument(value, argument)
    if not info.context.key.sees(account_id):
        raise AccountNotFoundError(account_id, argument)
    return account_id


def visible_accounts(info: Info, values: Sequence[str], argument: str) -> tuple[str, ...]:
    """Several account ids given as an argument, each once, if the key may see all of them.

    Raises:
        AccountNotFoundError: naming the first that it may not see.
        BadUserInputError: for an empty list.
        LimitExceededError: for more than one subscription may follow.
    """
    maximum = info.context.limits.accounts_per_subscription
    if not values:
        raise BadUserInputError(argument, "must name at least one account")
    if len(values) > maximum:
        raise LimitExceededError("accounts_per_subscription", maximum, len(values), argument=argument)
    return tuple(
        dict.fromkeys(visible_account(info, value, f"{argument}.{i}") for i, value in enumerate(values))
    )
