"""What a client is told when something fails.

Only errors raised on purpose for the client reach it, each with ``extensions.code`` and, where one argument
is to blame, ``extensions.argument``. Everything else is logged under an id and masked.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from graphql import GraphQLError

from shared.errors import RetryableError

_log = logging.getLogger(__name__)


class ErrorCode(StrEnum):
    """``extensions.code`` of every error that the gateway answers with."""

    BAD_REQUEST = "BAD_REQUEST"
    PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class ClientError(Exception):
    """An error that the client is told in full.

    Args:
        code: what kind of error it is.
        message: what happened, to what, and what to do.
        argument: the path of the argument to blame (``accountIds.0``), where there is one.
        extensions: more fields of the error's ``extensions``.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, argument: str | None = None, **extensions: Any
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extensions: dict[str, Any] = {"code": code.value, **extensions}
        if argument is not None:
            self.extensions["argument"] = argument

    def format(self) -> dict[str, Any]:
        """The error as an entry of a response's ``errors``."""
        return {"message": self.message, "extensions": self.extensions}


class UnauthenticatedError(ClientError):
    """No API key, or one that is not valid. It does not say which, beyond whether one was sent."""

    def __init__(self, *, presented: bool) -> None:
        super().__init__(
            ErrorCode.UNAUTHENTICATED,
            "The API key is not valid."
            if presented
            else "An API key is needed: send it as 'Authorization: Bearer fp_…' or 'X-API-Key: fp_…'.",
        )


class LimitExceededError(ClientError):
    """A request is larger than a limit allows."""

    def __init__(
        self, limit: str, maximum: int, value: int | None = None, *, argument: str | None = None
    ) -> None:
        asked = "" if value is None else f"; this one has {value}"
        super().__init__(
            ErrorCode.LIMIT_EXCEEDED,
            f"The limit '{limit}' is {maximum}{asked}.",
            argument=argument,
            limit=limit,
            maximum=maximum,
        )


class BadUserInputError(ClientError):
    """An argument's value cannot be used."""

    def __init__(self, argument: str, reason: str) -> None:
        super().__init__(ErrorCode.BAD_USER_INPUT, f"{argument} {reason}.", argument=argument)


class AccountNotFoundError(ClientError):
    """No such account, or none that this key may see: the answer is the same."""

    def __init__(self, account_id: str, argument: str) -> None:
        super().__init__(ErrorCode.NOT_FOUND, f"No account {account_id} was found.", argument=argument)


def format_error(error: GraphQLError, default: ErrorCode) -> dict[str, Any]:
    """One entry of a response's ``errors``.

    Args:
        error: as graphql-core located it.
        default: the code of graphql-core's own errors at this stage.
    """
    formatted: dict[str, Any] = {"message": error.message}
    if error.locations:
        formatted["locations"] = [location.formatted for location in error.locations]
    if error.path:
        formatted["path"] = list(error.path)
    cause = _cause(error)
    if isinstance(cause, ClientError):
        formatted.update(cause.format())
    elif cause is None:
        formatted["extensions"] = {"code": default.value}
    elif isinstance(cause, RetryableError):
        _log.warning("a store did not answer", extra={"error": repr(cause)})
        formatted["message"] = "A data store did not answer in time. Try again."
        formatted["extensions"] = {"code": ErrorCode.UNAVAILABLE.value}
    else:
        formatted.update(mask(cause))
    return formatted


def mask(cause: BaseException) -> dict[str, Any]:
    """The message and extensions that stand for an error that is none of the client's business."""
    error_id = uuid.uuid4().hex
    _log.error("an operation failed", exc_info=cause, extra={"error_id": error_id})
    return {
        "message": f"Internal error {error_id}. It was logged; quote the id when you report it.",
        "extensions": {"code": ErrorCode.INTERNAL.value, "errorId": error_id},
    }


def format_errors(errors: Iterable[GraphQLError], default: ErrorCode) -> list[dict[str, Any]]:
    """A response's ``errors``."""
    return [format_error(error, default) for error in errors]


def _cause(error: GraphQLError) -> BaseException | None:
    """What a resolver raised, or None where graphql-core itself refused the request."""
    cause: BaseException | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
