"""A lease is held for as long as the work under it gets on, and no longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.cloud import firestore

from shared.runtime.held_lease import HeldLease
from shared.stores import database, leases
from tests.conftest import Project
from tests.eventually import eventually

DURATION = timedelta(seconds=1)


@pytest.fixture
def client(project: Project) -> firestore.Client:
    """The client of a function in this project."""
    return database.connect(project.settings())


def _until(client: firestore.Client) -> datetime:
    fields = client.collection(leases.COLLECTION).document("job").get().to_dict() or {}
    until: datetime = fields["until"]
    return until


def _can_take(client: firestore.Client, at: datetime) -> bool:
    return leases.acquire(client, "job", owner="other", now=at, duration=DURATION) is not None


def test_it_is_renewed_while_a_step_takes_longer_than_it_lasts(client: firestore.Client) -> None:
    with HeldLease(client, "job", "one", duration=DURATION) as lease:
        assert not lease.is_held()
        assert lease.take()
        assert lease.is_held()
        ends_at = _until(client)
        eventually(lambda: _until(client) > ends_at)
        assert not _can_take(client, ends_at)
    assert _can_take(client, datetime.now(UTC))


def test_work_that_hangs_loses_it(client: firestore.Client) -> None:
    with HeldLease(client, "job", "one", duration=DURATION, longest_silence_s=0.0) as lease:
        assert lease.take()
        ends_at = _until(client)
        eventually(lambda: datetime.now(UTC) > ends_at)
        assert _can_take(client, datetime.now(UTC))
        assert not lease.is_held()
        assert not lease.take()


def test_who_has_lost_it_does_not_give_back_what_another_has(client: firestore.Client) -> None:
    with HeldLease(client, "job", "one", duration=DURATION) as lease:
        assert lease.take()
        eventually(lambda: _can_take(client, datetime.now(UTC) + 10 * DURATION))
        others_until = _until(client)
        eventually(lambda: not lease.is_held())
    assert _until(client) == others_until


def _break_under_the_lease(client: firestore.Client) -> None:
    with HeldLease(client, "job", "one") as lease:
        assert lease.take()
        raise ValueError("broken")


def test_after_an_error_it_ends_by_itself(client: firestore.Client) -> None:
    with pytest.raises(ValueError, match="broken"):
        _break_under_the_lease(client)
    assert not _can_take(client, datetime.now(UTC))
