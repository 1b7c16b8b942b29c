"""Published lists of price feeds, over HTTPS or from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import urllib3

from shared.domain.feed_registry import FeedRegistryError

_TIMEOUT_S = 30.0
_MOST_BYTES = 32 * 1024 * 1024


def read_registry(place: str) -> Any:
    """The JSON document at an address or in a file.

    Raises:
        FeedRegistryError: there is none; says why.
    """
    try:
        return json.loads(_fetch(place) if "://" in place else Path(place).read_bytes())
    except (OSError, ValueError) as error:
        raise FeedRegistryError(f"{place}: {error}") from error


def _fetch(url: str) -> bytes:
    try:
        answer = urllib3.PoolManager(timeout=_TIMEOUT_S, retries=2).request("GET", url, preload_content=False)
        body = answer.read(_MOST_BYTES + 1)
        answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise FeedRegistryError(f"{url} did not answer: {type(error).__name__}") from error
    if answer.status != 200:
        raise FeedRegistryError(f"{url} answered HTTP {answer.status}")
    if len(body) > _MOST_BYTES:
        raise FeedRegistryError(f"{url} has more than {_MOST_BYTES} bytes: this is no registry")
    return body
