"""Keys by which clients name what they ask for, so that asking again does nothing twice."""

from __future__ import annotations

import re

CLIENT_KEY_RULE = "must have 1 to 128 printable ASCII characters, no spaces"

_CLIENT_KEY = re.compile(r"[!-~]{1,128}")


def is_client_key(text: str) -> bool:
    """Whether a text can be a client's key; :data:`CLIENT_KEY_RULE` says when."""
    return _CLIENT_KEY.fullmatch(text) is not None
