"""The headers of a signed webhook, after the Standard Webhooks specification
(https://www.standardwebhooks.com).

They are ``webhook-id`` (the same at every attempt), ``webhook-timestamp`` and ``webhook-signature``: for each
secret that is in use an HMAC-SHA256 over ``id.timestamp.body``, separated by spaces, so that a receiver that
knows either secret of a rotation accepts it.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from shared.providers.delivery import SendingRejectedError


def signed_headers(identifier: str, secrets: Sequence[str], body: bytes, now: datetime) -> dict[str, str]:
    """The headers of one attempt, content type included.

    Raises:
        SendingRejectedError: a secret is none of Standard Webhooks; it is not quoted.
    """
    try:
        signatures = [Webhook(secret).sign(identifier, now, body.decode()) for secret in secrets]
    except (Base64Error, ValueError, EmptyWebhookSecretError) as error:
        raise SendingRejectedError("the endpoint's secret is not a Standard Webhooks secret") from error
    return {
        "Content-Type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
