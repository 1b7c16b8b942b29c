"""Every collection: what is written is what is read, and lists give what they say, in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from google.cloud import firestore

from shared.domain.api_keys import ApiKey, Scope, hash_secret
from shared.domain.chain_progress import begun
from shared.domain.margin import MarginRecord, RecordedValuation, State
from shared.domain.notifications import Channel, DeliveryStatus
from shared.domain.positions import Account, Position
from shared.domain.sharding import Shard, slot_of
from shared.errors import ConflictError
from shared.stores import (
    accounts,
    alerts,
    api_keys,
    chain_cursors,
    contacts,
    database,
    dead_letters,
    deliveries,
    leases,
    margin_progress,
    margin_states,
    ticks,
)
from tests.conftest import Project
from tests.messages import margin_transition, now, price_tick

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def client(project: Project) -> firestore.Client:
    """The client of a function in this project."""
    return database.connect(project.settings())


def _address(number: int) -> str:
    return f"0x{number:040x}"


def _put(client: firestore.Client, path: str, fields: dict[str, object]) -> None:
    commit = database.Commit(client)
    commit.put(path, fields)
    commit.apply()


def _account(number: int, version: int = 1) -> Account:
    position = Position(1, "ETH", 18, 2**256 - 1, 2**200 + 1, sequence=2**62)
    return Account(_address(number), version, MOMENT, {position.key: position})


def test_accounts(client: firestore.Client) -> None:
    for number in (3, 1, 2):
        _put(client, accounts.path(_address(number)), accounts.encode(_account(number)))

    assert accounts.find_many(client, [_address(1), _address(9)]) == {_address(1): _account(1)}
    assert accounts.list_page(client, after=None, limit=2) == [_account(1), _account(2)]
    assert accounts.list_page(client, after=_address(2), limit=2) == [_account(3)]
    only = [_address(number) for number in (3, 2, 8)]
    assert accounts.list_page(client, after=None, limit=9, only=only) == [_account(2), _account(3)]
    written = accounts.list_updated_since(client, None)
    assert [account for account, _ in written] == [_account(3), _account(1), _account(2)]
    assert [account for account, _ in accounts.list_updated_since(client, written[1][1])] == [
        _account(1),
        _account(2),
    ]


def test_a_large_collection_is_read_in_pages(
    client: firestore.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each document once, also where several were written at the same moment."""
    commit = database.Commit(client)
    for number in range(9):
        commit.put(accounts.path(_address(number)), accounts.encode(_account(number)))
    commit.apply()
    _put(client, accounts.path(_address(9)), accounts.encode(_account(9)))
    for size in (2, 3, 5, 10):
        monkeypatch.setattr(database, "DOCUMENTS_PER_PAGE", size)
        written = [account for account, _ in accounts.list_updated_since(client, None)]
        assert sorted(account.account_id for account in written[:9]) == [_address(n) for n in range(9)]
        assert written[9:] == [_account(9)]
        slots = {slot_of(_address(number)) for number in (1, 9)}
        found = accounts.list_versions_since(client, MOMENT, slots)
        assert set(found) == {_address(n) for n in range(10) if slot_of(_address(n)) in slots}
        assert accounts.count(client, slots) == len(found)


def _record(number: int, state: State, valuation: RecordedValuation | None = None) -> MarginRecord:
    return MarginRecord(
        account_id=_address(number),
        state=state,
        valued_state=None if state is State.UNVALUED else state,
        transitions=3,
        unvalued_assets=("ETH", "WBTC") if state is State.UNVALUED else (),
        valuation=valuation,
        tick_sequence=7,
        position_version=2,
        as_of=MOMENT,
    )


def test_margin_states(client: firestore.Client) -> None:
    exact = RecordedValuation(Decimal("123456789012345678901234567890.123456"), Decimal("0.000001"), 50.0)
    book = [
        _record(1, State.WARNING, exact),
        _record(2, State.UNVALUED),
        _record(3, State.WARNING, RecordedValuation(Decimal(1), Decimal(0), None)),
    ]
    for record in book:
        _put(client, margin_states.path(record.account_id), margin_states.encode(record))

    found = margin_states.find_many(client, [_address(1), _address(9)])
    assert [record for record, _ in found.values()] == [book[0]]
    assert [record for record, _, _ in margin_states.list_updated_since(client, None)] == book
    assert margin_states.list_in_state(client, State.WARNING, after=None, limit=9) == [book[0], book[2]]
    assert margin_states.list_in_state(client, State.WARNING, after=_address(1), limit=9) == [book[2]]
    counts = margin_states.count_by_state(client)
    assert {state: count for state, count in counts.items() if count} == {
        State.WARNING: 2,
        State.UNVALUED: 1,
    }


def test_margin_progress(client: firestore.Client) -> None:
    before = margin_progress.read(client)
    assert (before.tick_sequence, before.prices_stopped, before.read_at) == (0, False, None)
    assert abs(before.seen_at - now()) < timedelta(seconds=30)
    assert margin_progress.find_evaluated(client) is None

    _put(client, margin_progress.path(), margin_progress.encode(9, prices_stopped=True))
    after = margin_progress.read(client)
    assert (after.tick_sequence, after.prices_stopped) == (9, True)
    assert after.seen_at >= before.seen_at
    assert margin_progress.find_evaluated(client) == 9


def test_margin_progress_of_several_shards(client: firestore.Client) -> None:
    """The book is as far as its last shard, and what it was cut into before does not hold it back."""

    def record(number: int, count: int, sequence: int) -> None:
        shard = Shard(number, count)
        fields = margin_progress.encode(sequence, prices_stopped=False, shard=shard)
        _put(client, margin_progress.path(shard), fields)

    record(0, 1, 5)
    record(0, 2, 9)
    assert margin_progress.find_evaluated(client) == 5
    record(1, 2, 7)
    assert margin_progress.find_evaluated(client) == 7
    assert margin_progress.read(client, Shard(1, 2)).tick_sequence == 7
    assert margin_progress.read(client, Shard(1, 4)).tick_sequence == 0


def test_ticks_come_in_order_and_none_has_two_prices(client: firestore.Client) -> None:
    assert ticks.find_latest(client) is None
    written = {sequence: price_tick(sequence, ETH=str(1000 + sequence)) for sequence in (2, 10, 1, 3)}
    for tick in written.values():
        commit = database.Commit(client)
        ticks.add(commit, tick)
        commit.apply()

    assert ticks.find_latest(client) == written[10]
    assert ticks.list_between(client, 1, 10) == [written[2], written[3]]
    assert ticks.list_between(client, 10, 12) == []
    again = database.Commit(client)
    ticks.add(again, price_tick(3, ETH="1"))
    with pytest.raises(ConflictError):
        again.apply()


def test_alerts_by_page_and_since(client: firestore.Client) -> None:
    listed = [
        margin_transition(_address(number % 2), number, as_of=MOMENT + timedelta(seconds=number // 2))
        for number in range(1, 6)
    ]
    for transition in listed:
        commit = database.Commit(client)
        alerts.add(commit, transition)
        commit.apply()
    newest_first = sorted(listed, key=lambda alert: (alert.as_of, alert.event_id), reverse=True)

    assert alerts.list_page(client, account_ids=None, before=None, limit=9) == newest_first
    last = newest_first[1]
    behind = alerts.list_page(client, account_ids=None, before=(last.as_of, last.event_id), limit=2)
    assert behind == newest_first[2:4]
    own = alerts.list_page(client, account_ids=[_address(1)], before=None, limit=9)
    assert own == [alert for alert in newest_first if alert.account_id == _address(1)]
    assert alerts.list_page(client, account_ids=[], before=None, limit=9) == []
    assert alerts.list_since(client, MOMENT + timedelta(seconds=1), limit=2) == newest_first[::-1][1:3]
    place = newest_first[::-1][1]
    assert alerts.list_since(client, place.as_of, after=place.event_id, limit=9) == newest_first[::-1][2:]
    assert alerts.find_many(client, [place.event_id, "none"]) == {place.event_id: place}
    twice = database.Commit(client)
    alerts.add(twice, place)
    with pytest.raises(ConflictError):
        twice.apply()


def test_contacts(client: firestore.Client) -> None:
    assert contacts.find(client, "nobody") is None
    for contact in (
        contacts.Contact("a", "a@b.example", contacts.WebhookEndpoint("https://c.example", "whsec_x")),
        contacts.Contact("b", None, None),
    ):
        _put(client, contacts.path(contact.recipient_id), contacts.encode(contact))
        assert contacts.find(client, contact.recipient_id) == contact


def test_deliveries(client: firestore.Client) -> None:
    listed = [
        deliveries.Delivery(
            delivery_id=f"alert{number % 2}~{_address(number)}~{channel}",
            alert_id=f"alert{number % 2}",
            recipient_id=_address(number),
            channel=channel,
            status=DeliveryStatus.SENDING,
            attempt=number,
            error=None if number else "it failed",
            leased_until=MOMENT if number else None,
            created_at=MOMENT,
        )
        for number, channel in enumerate((Channel.EMAIL, Channel.WEBHOOK, Channel.EMAIL))
    ]
    for delivery in listed:
        _put(client, deliveries.path(delivery.delivery_id), deliveries.encode(delivery))

    found = deliveries.find_many(client, [delivery.delivery_id for delivery in listed])
    for delivery in listed:
        stored = found[delivery.delivery_id][0]
        assert stored.updated_at is not None
        assert deliveries.encode(stored) == deliveries.encode(delivery)
    of_alerts = deliveries.list_of_alerts(client, ["alert0", "alert1", "alert2"])
    assert {alert: len(of_alert) for alert, of_alert in of_alerts.items()} == {
        "alert0": 2,
        "alert1": 1,
        "alert2": 0,
    }
    page = deliveries.list_page(client, recipient_ids=None, before=None, limit=2)
    assert [delivery.attempt for delivery in page] == [2, 1]
    assert page[1].updated_at is not None
    place = (page[1].updated_at, page[1].delivery_id)
    behind = deliveries.list_page(client, recipient_ids=None, before=place, limit=2)
    assert [delivery.attempt for delivery in behind] == [0]
    own = deliveries.list_page(client, recipient_ids=[_address(1)], alert_id="alert1", before=None, limit=2)
    assert [delivery.attempt for delivery in own] == [1]


def test_api_keys(client: firestore.Client) -> None:
    assert api_keys.find(client, "none") is None
    for key in (
        ApiKey("a" * 12, hash_secret("s"), "desk", frozenset(Scope), None, None, enabled=True),
        ApiKey("b" * 12, "h", "client", frozenset(), frozenset({_address(1)}), MOMENT, enabled=False),
    ):
        api_keys.put(client, key)
        assert api_keys.find(client, key.key_id) == key


def test_chain_cursors(client: firestore.Client) -> None:
    assert chain_cursors.find(client, 1) is None
    for cursor in (
        begun(1, 2**40, "0x" + "ab" * 32),
        replace(
            begun(137, 8, "0x" + "cd" * 32).advanced(["0x" + "ef" * 32], 8),
            revisions=((1, 3), (2, 8)),
            partial="0x" + "01" * 32,
            halted="gone",
            differences=3,
        ),
    ):
        _put(client, chain_cursors.path(cursor.chain_id), chain_cursors.encode(cursor))
        known = chain_cursors.find(client, cursor.chain_id)
        assert known is not None
        assert known[0] == cursor


def test_dead_letters(client: firestore.Client) -> None:
    listed = [
        dead_letters.DeadLetter(
            dead_letter_id=f"f:{topic}:{number}",
            topic=topic,
            function="f" if number else None,
            reason="wrong",
            field=None if number else "x.0",
            message_id=str(number),
            ordering_key="k",
            attributes={"a": "b"},
            data=bytes(range(256)),
            recorded_at=MOMENT,
            status=dead_letters.DeadLetterStatus.REPLAYED
            if number == 2
            else dead_letters.DeadLetterStatus.OPEN,
        )
        for number, topic in enumerate(("one.v1", "two.v1", "one.v1", "one.v1"))
    ]
    for letter in listed:
        _put(client, dead_letters.path(letter.dead_letter_id), dead_letters.encode(letter))

    ids = [letter.dead_letter_id for letter in listed]
    assert [letter for letter, _ in dead_letters.find_many(client, ids).values()] == listed
    assert {letter.message_id for letter, _ in dead_letters.list_open(client, limit=9)} == {"0", "1", "3"}
    assert {letter.message_id for letter, _ in dead_letters.list_open(client, topic="one.v1", limit=9)} == {
        "0",
        "3",
    }
    assert len(dead_letters.list_open(client, limit=1)) == 1
    assert dead_letters.count_open(client) == 3


HOLD = timedelta(seconds=5)


def test_a_lease_has_one_owner_at_a_time(client: firestore.Client) -> None:
    first = leases.acquire(client, "job", owner="a", now=MOMENT, duration=HOLD)
    assert first is not None
    assert first.until == MOMENT + HOLD
    assert leases.acquire(client, "job", owner="b", now=MOMENT + HOLD / 2, duration=HOLD) is None
    assert leases.acquire(client, "other", owner="b", now=MOMENT, duration=HOLD) is not None

    renewed = leases.acquire(client, "job", owner="a", now=MOMENT + HOLD / 2, duration=HOLD)
    assert renewed is not None
    assert leases.acquire(client, "job", owner="b", now=MOMENT + HOLD, duration=HOLD) is None

    # It ended: the next owner takes it, and the former one can neither renew nor release it.
    late = MOMENT + 2 * HOLD
    taken = leases.acquire(client, "job", owner="b", now=late, duration=HOLD)
    assert taken is not None
    leases.release(client, renewed)
    assert leases.acquire(client, "job", owner="a", now=late, duration=HOLD) is None

    leases.release(client, taken)
    assert leases.acquire(client, "job", owner="a", now=late, duration=HOLD) is not None
