"""pack_margin_book, and evaluate_margin starting from what it packs: the same book, or the documents."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from google.cloud import firestore

from docs import cost
from shared.domain.margin import State
from shared.domain.margin_pack import decode_packs, encode_pack
from shared.domain.positions import Account
from shared.domain.sharding import SLOTS, WHOLE, Shard, shard_of
from shared.errors import ConflictError
from shared.events import topics
from shared.events.margin import MarginShardWork
from shared.runtime.book_snapshot import load_snapshot
from shared.stores import database, margin_snapshots
from tests.conftest import Project
from tests.firestore_bill import metered
from tests.functions.book import account, announced_states, records, store_accounts, store_tick
from tests.functions.conftest import Caller, Outage, Tap
from tests.functions.instances import Instances
from tests.messages import new_address, now, positions_changed, price_tick

EVALUATE = "evaluate_margin"
PACK = "pack_margin_book"
ETH = 10**18
USDC = 10**6


class World:
    """A book, whose accounts are packed and evaluated by instances that come and go."""

    def __init__(self, call: Caller, project: Project, store: firestore.Client) -> None:
        self.call = call
        self.store = store
        self._project = project
        self._sequence = 0
        self._instance = 0

    def tick(self, eth: str) -> None:
        """Evaluate the next tick."""
        self._sequence += 1
        tick = store_tick(self.store, price_tick(self._sequence, ETH=eth, USDC="1"))
        assert self.call.push(EVALUATE, topics.MARKET_PRICES, tick).acknowledged

    def change(self, account_id: str, version: int, debt: str) -> None:
        """Give an account other positions, as apply_settlement_event does."""
        changed = account(account_id, version, ETH=("1", "0"), USDC=("0", debt))
        store_accounts(self.store, [changed], age=timedelta(0))
        event = positions_changed(account_id, version, ETH=(ETH, 0), USDC=(0, int(debt) * USDC))
        assert self.call.push(EVALUATE, topics.POSITIONS_CHANGED, event).acknowledged

    def pack(self) -> dict[str, Any]:
        """Pack the book."""
        outcome = self.call.request(PACK)
        assert outcome.status == 200
        return dict(outcome.body)

    def restart(self) -> database.Client:
        """From here on another instance evaluates; its Firestore client."""
        self._instance += 1
        # Other settings are another process, as far as what is kept warm is concerned.
        network = {**self._project.network, "tick_max_age_s": 120 + self._instance}
        self._project.write_network(network)
        return database.connect(self._project.settings("NETWORK_FILE", "MARGIN_SHARDS"))


@pytest.fixture
def world(call: Caller, project: Project, store: firestore.Client) -> World:
    """Nothing stored yet."""
    return World(call, project, store)


def _borrowers(count: int, seed: int = 5) -> list[Account]:
    """Accounts with 1 ETH that owe from 900 to 1,500 USDC; the same ones, so in the same slots, each time."""
    source = random.Random(seed)
    return [
        account("0x" + source.randbytes(20).hex(), ETH=("1", "0"), USDC=("0", str(source.randint(900, 1500))))
        for _ in range(count)
    ]


def _age(store: firestore.Client, collection: str, ids: Iterable[str]) -> None:
    batch = store.batch()
    for each in ids:
        batch.update(store.document(f"{collection}/{each}"), {"updated_at": now() - timedelta(hours=2)})
    batch.commit()


def test_an_instance_that_starts_reads_the_packs_and_not_the_accounts(world: World) -> None:
    book = _borrowers(120)
    store_accounts(world.store, book)
    world.tick("1700")
    _age(world.store, "margin_states", [each.account_id for each in book])
    assert world.pack() == {"packed": True, "accounts": 120, "packs": SLOTS, "packs_written": SLOTS}

    client = world.restart()
    with metered(client) as bill:
        world.tick("1701")

    # Where the book was left, the head, the packs, two counts, the progress, nothing new of accounts and of
    # records, and the tick that was evaluated last; then the progress is written.
    assert bill.reads == cost.COLD_LOAD.reads == 1 + 1 + SLOTS + 2 + 1 + 1 + 1 + 1
    assert bill.writes == 1
    assert {record.transitions for record in records(world.store).values()} == {1}


def test_each_shard_that_starts_reads_its_own_packs_and_evaluates_its_own_accounts(
    world: World, project: Project, tap: Callable[[str], Tap]
) -> None:
    count = 4
    project.setenv(MARGIN_SHARDS=str(count))
    work = tap(topics.MARGIN_SHARDS)
    book = _borrowers(120)
    store_accounts(world.store, book)

    def parts(eth: str) -> list[MarginShardWork]:
        world.tick(eth)
        return work.events()

    for part in parts("1700"):
        assert world.call.push(EVALUATE, topics.MARGIN_SHARDS, part).acknowledged
    _age(world.store, "margin_states", [each.account_id for each in book])
    assert world.pack()["packs"] == SLOTS
    before = announced_states(world.store)
    client = world.restart()
    done: set[str] = set()

    for part in parts("1000"):
        own = {each.account_id for each in book if shard_of(each.account_id, count).number == part.shard}
        with metered(client) as bill:
            assert world.call.push(EVALUATE, topics.MARGIN_SHARDS, part).acknowledged
        # As the whole book's, with its own packs only; the progress of each shard says where the book was.
        assert bill.reads == cost.COLD_LOAD.reads - SLOTS + SLOTS // count + count - 1
        assert bill.writes == cost.TRANSITION.writes * len(own) + cost.ANNOUNCEMENT.writes + 1
        done |= own
        found = announced_states(world.store)
        assert {each for each in found if len(found[each]) > len(before[each])} == done

    after = announced_states(world.store)
    assert {account_id: len(states) for account_id, states in after.items()} == dict.fromkeys(before, 2)
    assert {record.tick_sequence for record in records(world.store).values()} == {2}


def test_a_start_from_packs_goes_on_where_the_book_was(world: World) -> None:
    book = _borrowers(40)
    ids = [each.account_id for each in book]
    store_accounts(world.store, book)
    world.tick("1700")
    world.change(ids[0], 2, "1650")
    world.pack()
    before = records(world.store)[ids[0]]
    assert (before.state, before.transitions) == (State.LIQUIDATION, 2)
    # After the snapshot: a state by a tick, positions of a known account, a new account.
    world.tick("1500")
    world.change(ids[1], 2, "1490")
    stranger = new_address()
    world.change(stranger, 1, "1000")

    world.restart()
    world.tick("1900")

    found = records(world.store)
    assert set(found) == {*ids, stranger}
    assert found[ids[0]].position_version == 2
    assert found[stranger].state is State.HEALTHY
    for account_id, states in announced_states(world.store).items():
        assert [sequence for sequence, _ in states] == list(range(1, len(states) + 1)), account_id
        assert all(one != two for (_, one), (_, two) in itertools.pairwise(states))
        assert found[account_id].transitions == len(states)


def test_packing_again_writes_only_what_changed(world: World, project: Project) -> None:
    book = _borrowers(60)
    ids = [each.account_id for each in book]
    store_accounts(world.store, book)
    world.tick("1700")
    _age(world.store, "margin_states", ids)
    world.pack()
    names = world.store.document(margin_snapshots.HEAD_PATH).get().get("packs")
    # What is younger than the overlap is looked at twice.
    with metered(database.connect(project.settings(uses=("firestore",)))) as bill:
        assert world.pack()["packs_written"] == 0
    # The head, two counts, nothing new of accounts and of records, no pack that is old; and the head again.
    assert (bill.reads, bill.writes, bill.deletes) == cost.QUIET_PACKING

    world.change(ids[7], 2, "1650")

    assert world.pack() == {"packed": True, "accounts": 60, "packs": SLOTS, "packs_written": 1}
    after = world.store.document(margin_snapshots.HEAD_PATH).get().get("packs")
    (changed,) = (bucket for bucket in range(SLOTS) if names[bucket] != after[bucket])
    assert shard_of(ids[7], SLOTS).number == changed
    assert world.pack()["accounts"] == 60


def test_a_crash_before_the_head_leaves_the_snapshot_whole_and_is_cleared_away(world: World) -> None:
    book = _borrowers(10)
    store_accounts(world.store, book)
    world.pack()
    client = world.restart()
    # What a packing leaves that dies before it writes the head.
    writer = margin_snapshots.PackWriter(client)
    orphan = writer.put(3, encode_pack([], bucket=3, buckets=2 * SLOTS))
    writer.flush()

    snapshot = load_snapshot(client, WHOLE)
    assert snapshot is not None
    assert set(snapshot.accounts.ids) == {each.account_id for each in book}
    packs = world.store.collection(margin_snapshots.PACKS)
    world.pack()
    assert orphan in {pack.id for pack in packs.stream()}, "it may be of a packing that is not done"
    _age(world.store, margin_snapshots.PACKS, [pack.id for pack in packs.stream()])
    world.pack()
    named = set(world.store.document(margin_snapshots.HEAD_PATH).get().get("packs"))
    assert {pack.id for pack in packs.stream()} == named


def test_a_process_killed_while_packing_leaves_a_whole_snapshot(world: World, project: Project) -> None:
    book = _borrowers(200)
    store_accounts(world.store, book)
    packs = world.store.collection(margin_snapshots.PACKS)
    with Instances(project, PACK) as instances:
        url = instances.start()
        instances.request_and_kill(
            url, None, once=lambda: next(iter(packs.limit(1).stream()), None) is not None
        )

    client = world.restart()
    left = load_snapshot(client, WHOLE)
    assert left is None or set(left.accounts.ids) == {each.account_id for each in book}
    assert world.pack()["accounts"] == 200
    world.tick("1700")
    assert len(records(world.store)) == 200


def test_a_pack_that_is_written_again_is_not_cleared_away(world: World) -> None:
    """Two packings at once: one clears away what the other has just written, to name it."""
    client = world.restart()
    data = encode_pack([], bucket=3, buckets=2 * SLOTS)
    writer = margin_snapshots.PackWriter(client)
    name = writer.put(3, data)
    writer.flush()
    _age(world.store, margin_snapshots.PACKS, [name])
    listed = margin_snapshots.list_packs_before(client, now())
    assert set(listed) == {name}
    writer.put(3, data)
    writer.flush()
    with pytest.raises(ConflictError):
        margin_snapshots.delete_packs(client, listed)
    assert world.store.document(f"{margin_snapshots.PACKS}/{name}").get().exists


def test_a_packing_that_a_later_one_overtook_changes_nothing(world: World, project: Project) -> None:
    store_accounts(world.store, _borrowers(10))
    world.pack()
    client = world.restart()
    read = margin_snapshots.read_head(client)
    head = read.head()
    assert head is not None
    world.pack()
    newer = world.store.document(margin_snapshots.HEAD_PATH).get().get("watermark")
    with pytest.raises(ConflictError):
        margin_snapshots.replace_head(client, head, read=read)
    assert world.store.document(margin_snapshots.HEAD_PATH).get().get("watermark") == newer


def test_it_is_called_again_while_firestore_fails(world: World, without: Outage) -> None:
    store_accounts(world.store, _borrowers(5))
    with without("firestore"):
        assert world.call.request(PACK).status == 503
    assert world.pack()["accounts"] == 5


def test_a_body_that_is_no_json_is_refused(world: World) -> None:
    outcome = world.call.request(PACK, b"{")
    assert (outcome.status, outcome.body["field"]) == (400, "body")


Damage = Callable[[firestore.Client, list[str]], None]


def _flip_a_bit(store: firestore.Client, packs: list[str]) -> None:
    document = store.document(f"{margin_snapshots.PACKS}/{packs[4]}")
    data = document.get().get("data")
    document.update({"data": data[:50] + bytes([data[50] ^ 8]) + data[51:]})


def _lose_a_pack(store: firestore.Client, packs: list[str]) -> None:
    store.document(f"{margin_snapshots.PACKS}/{packs[0]}").delete()


def _mix_two_packings(store: firestore.Client, packs: list[str]) -> None:
    """An account is missing from its pack, and the pack is what its name says."""
    document = store.document(f"{margin_snapshots.PACKS}/{packs[9]}")
    rows = decode_packs([(9, document.get().get("data"))], buckets=SLOTS).accounts()
    assert rows
    data = encode_pack(list(rows.values())[1:], bucket=9, buckets=SLOTS)
    torn = [*packs[:9], margin_snapshots.pack_id(9, data), *packs[10:]]
    store.document(f"{margin_snapshots.PACKS}/{torn[9]}").set({"data": data})
    store.document(margin_snapshots.HEAD_PATH).update({"packs": torn})


def _another_format(store: firestore.Client, _packs: list[str]) -> None:
    store.document(margin_snapshots.HEAD_PATH).update({"format": 99})


def _a_watermark_to_come(store: firestore.Client, _packs: list[str]) -> None:
    store.document(margin_snapshots.HEAD_PATH).update({"watermark": now() + timedelta(days=1)})


def _a_document_too_few(store: firestore.Client, _packs: list[str]) -> None:
    next(iter(store.collection("accounts").list_documents())).delete()


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_bit,
        _lose_a_pack,
        _mix_two_packings,
        _another_format,
        _a_watermark_to_come,
        _a_document_too_few,
    ],
)
def test_a_snapshot_that_cannot_be_trusted_is_refused_aloud_and_made_anew(
    world: World, tap: Callable[[str], Tap], damage: Damage
) -> None:
    book = _borrowers(90)
    store_accounts(world.store, book)
    world.tick("1700")
    _age(world.store, "margin_states", [each.account_id for each in book])
    world.pack()
    operations = tap(topics.OPERATIONS_ALERTS)
    damage(world.store, world.store.document(margin_snapshots.HEAD_PATH).get().get("packs"))
    there = {document.id for document in world.store.collection("accounts").list_documents()}

    world.restart()
    world.tick("1000")

    assert [alert.kind for alert in operations.events()] == ["margin_snapshot_refused"]
    found = records(world.store)
    assert {account_id for account_id in there if found[account_id].tick_sequence != 2} == set()
    assert all(found[account_id].state is not State.HEALTHY for account_id in there)
    world.tick("1700")
    assert operations.pull() == [], "said once"

    assert world.pack()["accounts"] == len(there)
    world.restart()
    world.tick("1701")
    assert operations.pull() == []
    client = world.restart()
    snapshot = load_snapshot(client, WHOLE)
    assert snapshot is not None
    assert {account_id for account_id in snapshot.accounts.ids if account_id in there} == there


def test_an_account_that_went_back_is_not_believed(world: World, tap: Callable[[str], Tap]) -> None:
    """As after accounts were deleted and are being rebuilt from the chain."""
    (borrower,) = (each.account_id for each in _borrowers(1))
    store_accounts(world.store, [account(borrower, 5, ETH=("1", "0"), USDC=("0", "900"))])
    world.tick("1700")
    world.pack()
    operations = tap(topics.OPERATIONS_ALERTS)
    rebuilt = account(borrower, 2, ETH=("1", "0"), USDC=("0", "1600"))
    store_accounts(world.store, [rebuilt], age=timedelta(0))

    client = world.restart()
    world.tick("1701")

    (alert,) = operations.events()
    assert "version 5" in alert.details["reason"]
    assert records(world.store)[borrower].state is State.LIQUIDATION
    assert world.pack()["packs_written"] == SLOTS
    snapshot = load_snapshot(client, WHOLE)
    assert snapshot is not None
    assert snapshot.accounts.versions.tolist() == [2]


def test_packs_are_split_as_the_book_grows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    book = _borrowers(200)
    store_accounts(world.store, book)
    # Slot by slot, as a book is that is too large to be in memory at once.
    monkeypatch.setattr("shared.runtime.book_snapshot.READ_AT_ONCE", 50)
    assert world.pack()["accounts"] == 200
    # A smaller limit is another release's figure, not another behaviour.
    monkeypatch.setattr("shared.stores.margin_snapshots.MAX_PACK_BYTES", 300)
    store_accounts(world.store, _borrowers(100, seed=6), age=timedelta(0))

    packed = world.pack()

    assert packed["accounts"] == 300
    assert packed["packs"] > SLOTS
    client = world.restart()
    shards = [load_snapshot(client, Shard(number, 4)) for number in range(4)]
    found = [account_id for shard in shards if shard for account_id in shard.accounts.ids]
    assert len(found) == len(set(found)) == 300
    for number, shard in enumerate(shards):
        assert shard is not None
        assert all(shard_of(account_id, 4).number == number for account_id in shard.accounts.ids)
