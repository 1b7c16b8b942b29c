"""Keeps a snapshot of the book, from which ``evaluate_margin`` starts without reading every account.

Trigger: every ten minutes by Cloud Scheduler.
Reads: ``margin_snapshots``, ``accounts`` and ``margin_states`` as they changed since the last snapshot.
Writes: ``margin_packs`` whose accounts changed, ``margin_snapshots``.
Publishes: nothing.

Packs are named by their content and the head that names them is written last, conditioned on the one that
was read: a crash leaves the former snapshot whole, a repeat makes the same one, and of two at once one wins.
"""

from __future__ import annotations

import logging

from shared.errors import ConflictError
from shared.runtime.book_snapshot import pack_book
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import database

_log = logging.getLogger(__name__)


@http_function(uses=("firestore",))
def pack_margin_book(_request: Request, context: Context) -> Response:
    """Bring the snapshot up to date."""
    try:
        packing = pack_book(database.connect(context.settings), now=context.as_of)
    except ConflictError:
        _log.info("another packing was faster")
        return Response({"packed": False})
    done = {
        "accounts": packing.accounts,
        "packs": packing.packs,
        "packs_written": packing.packs_written,
    }
    _log.info("book packed", extra=done)
    return Response({"packed": True, **done})
