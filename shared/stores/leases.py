"""``leases``: who may do a thing that only one process may do at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from google.cloud import firestore

from shared.errors import ConflictError
from shared.stores import database

COLLECTION = "leases"


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as this process holds it. It ends by itself at ``until``."""

    name: str
    owner: str
    until: datetime
    held_at: object


def acquire(
    client: firestore.Client, name: str, *, owner: str, now: datetime, duration: timedelta
) -> Lease | None:
    """Take the lease, or renew it if ``owner`` holds it; None while another owner does."""
    path = f"{COLLECTION}/{name}"
    held = database.find(client, path)
    if held is not None and held.fields["owner"] != owner and held.fields["until"] > now:
        return None
    commit = database.Commit(client)
    until = now + duration
    index = commit.replace(
        path,
        {"owner": owner, "until": until},
        read_at=held.read_at if held is not None else None,
    )
    try:
        commit.apply()
    except ConflictError:
        return None
    return Lease(name, owner, until, commit.update_time(index))


def release(client: firestore.Client, lease: Lease) -> None:
    """Give the lease back, if it is still held, so that the next owner need not wait."""
    commit = database.Commit(client)
    commit.replace(
        f"{COLLECTION}/{lease.name}",
        {"owner": "", "until": datetime.fromtimestamp(0, tz=lease.until.tzinfo)},
        read_at=lease.held_at,
    )
    try:
        commit.apply()
    except ConflictError:
        return
