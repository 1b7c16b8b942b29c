"""The errors that decide what happens to a message: retry it, dead-letter it, or refuse to start."""

from __future__ import annotations


class FusionError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigurationError(FusionError):
    """A setting is missing, malformed or contradicts another. The process must not start.

    The message lists every problem at once, one line each, naming the variable and what to do.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("refusing to start:\n" + "\n".join(f"  - {problem}" for problem in problems))


class RetryableError(FusionError):
    """The work failed for a reason that may pass (network, 429, 5xx, contention): deliver it again."""


class ConflictError(RetryableError):
    """A write lost a race: the document changed, or was created, since it was read."""


class HeldBackError(RetryableError):
    """A source was not asked, because its rate limit is used up: that says nothing against the source."""


class TerminalError(FusionError):
    """The work can never succeed as given: dead-letter it with this reason and go on.

    Args:
        reason: what is wrong, with the value.
        field: the path of the offending field (``positions.0.asset``), where there is one.
    """

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        self.reason = reason
        self.field = field
        super().__init__(f"{field}: {reason}" if field else reason)
