"""Where a subscription to alerts stands, as a cursor that a client hands back after a reconnection.

A subscription to named accounts counts transitions per account: its cursor says exactly what was sent.
One to every account cannot; its cursor is a moment, and what happened shortly before it is sent again
(transitions of one tick are announced in any order), recognisable by its id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from gateway.errors import BadUserInputError

OVERLAP = timedelta(seconds=60)

_PER_ACCOUNT = re.compile(r"a1\.([0-9a-f]{16})((?:\.[0-9a-z]{1,8})+)")
_MOMENT = re.compile(r"m1\.([0-9]{1,17})")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _short(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text


def _fingerprint(account_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(account_ids).encode()).hexdigest()[:16]


def encode_sequences(account_ids: Sequence[str], sequences: Sequence[int]) -> str:
    """The cursor of the last sequence sent of each account; accounts sorted, each once."""
    return f"a1.{_fingerprint(account_ids)}." + ".".join(map(_short, sequences))


def decode_sequences(cursor: str, account_ids: Sequence[str]) -> dict[str, int]:
    """The last sequence sent of each account.

    Raises:
        BadUserInputError: it is not a cursor of a subscription to exactly these accounts.
    """
    match = _PER_ACCOUNT.fullmatch(cursor)
    if match is None:
        raise BadUserInputError("after", "is not a cursor of this subscription")
    sequences = [int(text, 36) for text in match[2][1:].split(".")]
    if match[1] != _fingerprint(account_ids) or len(sequences) != len(account_ids):
        raise BadUserInputError("after", "is the cursor of a subscription to other accounts")
    return dict(zip(account_ids, sequences, strict=True))


def encode_moment(moment: datetime) -> str:
    """The cursor of the latest alert sent."""
    return f"m1.{round(moment.timestamp() * 1_000_000)}"


def decode_moment(cursor: str) -> datetime:
    """When the latest alert sent happened.

    Raises:
        BadUserInputError: it is not a cursor of a subscription to every account.
    """
    match = _MOMENT.fullmatch(cursor)
    if match is None:
        raise BadUserInputError("after", "is not a cursor of this subscription")
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(match[1]))
