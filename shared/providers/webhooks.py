"""Signed webhooks (:mod:`shared.providers.webhook_signing`) to the endpoints of contacts.

Operators enter these addresses. Those that clients register are posted to by
:mod:`shared.providers.guarded_http`.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

import urllib3

from shared.providers.delivery import SendingFailedError, SendingRejectedError
from shared.providers.webhook_signing import signed_headers

_TIMEOUT = urllib3.Timeout(connect=3.0, read=7.0)
_TRY_LATER = frozenset({408, 425, 429})


def webhook_id(delivery_id: str) -> str:
    """The webhook id of a delivery: the same at every attempt, so that a repeat is recognised."""
    return "msg_" + sha256(delivery_id.encode()).hexdigest()[:32]


class WebhookSender:
    """Posts signed webhooks, keeping connections."""

    def __init__(self, timeout: urllib3.Timeout = _TIMEOUT) -> None:
        self._pool = urllib3.PoolManager(num_pools=64, maxsize=32, timeout=timeout, retries=False)

    def send(self, *, delivery_id: str, url: str, secret: str, body: bytes, now: datetime) -> None:
        """Post one webhook.

        Raises:
            SendingRejectedError: the endpoint refused it for good (a 4xx that is no request to try later,
                a redirect), or its address or secret cannot be used.
            SendingFailedError: the endpoint could not be reached, timed out, or asked to try later.
        """
        if not _is_http(url):
            raise SendingRejectedError("the endpoint's address is not an http(s) URL")
        headers = signed_headers(webhook_id(delivery_id), [secret], body, now)
        try:
            response = self._pool.request("POST", url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.LocationValueError as error:
            raise SendingRejectedError("the endpoint's address is not an http(s) URL") from error
        except urllib3.exceptions.HTTPError as error:
            raise SendingFailedError(f"the endpoint did not answer: {type(error).__name__}") from error
        if 200 <= response.status < 300:
            return
        if response.status >= 500 or response.status in _TRY_LATER:
            raise SendingFailedError(f"the endpoint answered HTTP {response.status}")
        raise SendingRejectedError(f"the endpoint answered HTTP {response.status}")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


@lru_cache(maxsize=1)
def sender() -> WebhookSender:
    """The process's sender."""
    return WebhookSender()
