"""What every notification channel has in common: how a sending can fail."""

from __future__ import annotations

from shared.errors import FusionError


class SendingFailedError(FusionError):
    """The channel did not take the notification now; it may later."""


class SendingRejectedError(FusionError):
    """The channel will never take this notification as it is."""
