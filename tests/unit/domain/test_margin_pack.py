"""Packed accounts: what is packed is what is read, and what is not a pack is refused."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.columns import Columns
from shared.domain.margin import MarginRecord, Standing, State
from shared.domain.margin_book import MarginBook
from shared.domain.margin_pack import (
    PackedAccount,
    PackedPosition,
    PackError,
    bucket_of,
    decode_packs,
    digest,
    encode_pack,
)
from shared.domain.market import UsableMarks
from shared.domain.marks import UsableMark
from shared.domain.packed_book import packed_book
from shared.domain.positions import Account, Position
from shared.domain.sharding import SHARD_COUNTS, SLOTS, Shard, shard_of, slot_of
from shared.risk.positions import Position as RiskPosition
from tests.unit.domain.test_margin_book import NETWORK, marked

START = datetime(2026, 1, 1, tzinfo=UTC)
ASSETS = ("ETH", "USDC", "WBTC", "DAI", "ZRX")

amounts = st.one_of(st.just(0), st.integers(1, 300), st.integers(0, 2**256 - 1))
positions = st.builds(
    PackedPosition,
    st.integers(1, 3),
    st.sampled_from(ASSETS),
    st.integers(0, 77),
    collateral_base=amounts,
    debt_shares=amounts,
)
valued = st.sampled_from([state for state in State if state is not State.UNVALUED])
standings = st.builds(
    Standing,
    state=st.sampled_from(State),
    valued_state=st.none() | valued,
    transitions=st.integers(0, 2**40),
    tick_sequence=st.integers(0, 2**40),
    position_version=st.integers(1, 2**40),
    as_of=st.integers(-(10**9), 10**9).map(lambda second: START + timedelta(seconds=second, microseconds=7)),
)
packed_accounts = st.builds(
    PackedAccount,
    account_id=st.integers(0, 2**160 - 1).map(lambda number: f"0x{number:040x}"),
    version=st.integers(0, 2**40),
    positions=st.lists(positions, max_size=5).map(tuple),
    standing=st.none() | standings,
    recorded_ns=st.integers(0, 2**62),
)
books = st.lists(packed_accounts, max_size=8, unique_by=lambda account: account.account_id)


@settings(max_examples=30, deadline=None)
@given(books, st.sampled_from((1, 2, 4)))
def test_what_is_packed_is_what_is_read(book: list[PackedAccount], buckets: int) -> None:
    packs = [
        (
            bucket,
            encode_pack(
                (each for each in book if bucket_of(each.account_id, buckets) == bucket),
                bucket=bucket,
                buckets=buckets,
            ),
        )
        for bucket in range(buckets)
    ]
    assert decode_packs(packs, buckets=buckets).accounts() == {each.account_id: each for each in book}


def test_a_pack_is_a_function_of_its_accounts_alone() -> None:
    rows = [_row("0x01"), _row("0x02"), _row("0x03")]
    packs = {digest(encode_pack(order, bucket=0, buckets=1)) for order in (rows, rows[::-1])}
    assert len(packs) == 1


def _row(account_id: str, version: int = 1) -> PackedAccount:
    standing = Standing(State.HEALTHY, State.HEALTHY, 1, 1, 1, START)
    return PackedAccount(account_id, version, (PackedPosition(1, "ETH", 18, 10**18, 0),), standing, 1)


def _recompressed(change: Callable[[bytes], bytes]) -> bytes:
    return zlib.compress(change(zlib.decompress(PACK)))


PACK = encode_pack([_row("0x01"), _row("0x02")], bucket=0, buckets=1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends early"),
        (PACK[:-9], "ends early"),
        (b"not a pack", "cannot be read"),
        (PACK[:40] + bytes([PACK[40] ^ 1]) + PACK[41:], "cannot be read|ends early"),
        (_recompressed(lambda raw: raw.replace(b'"format": 2', b'"format": 1')), "format 1"),
        (_recompressed(lambda raw: raw.replace(b'"bucket": 0', b'"bucket": 7')), "is of bucket 7"),
        (_recompressed(lambda raw: raw[:-1]), "do not fit"),
        (_recompressed(lambda raw: raw + b"\0"), "do not fit"),
        (_recompressed(lambda raw: raw.replace(b"0x02", b"0x01")), "twice"),
        (_recompressed(lambda raw: raw.replace(b'"positions": 2', b'"positions": 9')), "cannot be read"),
        (_recompressed(lambda raw: b"{}\n"), "cannot be read"),
    ],
)
def test_what_is_not_a_pack_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(PackError, match=said):
        decode_packs([(0, data)], buckets=1)


def test_an_account_in_two_packs_is_refused() -> None:
    packs = [(bucket, encode_pack([_row("0x01")], bucket=bucket, buckets=2)) for bucket in (0, 1)]
    with pytest.raises(PackError, match="two packs"):
        decode_packs(packs, buckets=2)


prices = st.dictionaries(
    st.sampled_from(["ETH", "USDC", "WBTC"]),
    st.integers(1, 10**6).map(lambda price: UsableMark.plain(Decimal(price))),
)


@settings(max_examples=30, deadline=None)
@given(books, prices, prices)
def test_a_book_from_packs_decides_as_one_from_accounts(
    book: list[PackedAccount], first: UsableMarks, second: UsableMarks
) -> None:
    packed = MarginBook(NETWORK, decode_packs([(0, encode_pack(book, bucket=0, buckets=1))], buckets=1))
    plain = MarginBook(NETWORK)
    for each in book:
        if each.version:
            plain.replace_positions(_account(each))
    for each in book:
        if each.standing is not None:
            plain.set_record(_record(each.account_id, each.standing))
    assert len(packed) == len(plain)
    for account_id in (each.account_id for each in book):
        assert packed.standing(account_id) == plain.standing(account_id)
        assert packed.version(account_id) == plain.version(account_id)
        if account_id in plain:
            assert packed.held_assets(account_id) == plain.held_assets(account_id)
    for sequence, marks in ((2**41, marked(first)), (2**41 + 1, marked(second))):
        moment = START + timedelta(seconds=sequence % 100)
        decided = [
            [
                (each.record.standing, each.previous_state, each.record.unvalued_assets)
                for each in which.decide(marks, tick_sequence=sequence, as_of=moment)
            ]
            for which in (packed, plain)
        ]
        assert decided[0] == decided[1]


def _account(packed: PackedAccount) -> Account:
    held = {
        str(number): Position(
            each.chain_id, each.asset, each.decimals, each.collateral_base, each.debt_shares, sequence=1
        )
        for number, each in enumerate(packed.positions)
    }
    return Account(packed.account_id, packed.version, START, held)


def _record(account_id: str, standing: Standing) -> MarginRecord:
    return MarginRecord(account_id, unvalued_assets=(), valuation=None, **asdict(standing))


@settings(max_examples=30, deadline=None)
@given(books)
def test_the_weights_are_those_of_the_risk_core(book: list[PackedAccount]) -> None:
    columns = Columns(NETWORK)
    packed = decode_packs([(0, encode_pack(book, bucket=0, buckets=1))], buckets=1)
    rows = np.arange(len(packed))
    built = packed_book(packed, rows, columns)
    for row, each in enumerate(packed.accounts().values()):
        expected = columns.factors.row(
            position
            for p in each.positions
            for position in (
                RiskPosition(columns.of_collateral(p.asset), p.decimals, p.collateral_base, 0),
                RiskPosition(columns.of_debt(p.chain_id, p.asset), p.decimals, 0, p.debt_shares),
            )
        )
        found = built.entry(built.row_of(row))
        for assets, weights in ((0, 1), (2, 3)):
            assert dict(zip(found[assets], found[weights], strict=True)) == dict(
                zip(expected[assets], expected[weights], strict=True)
            )


def test_every_account_has_one_shard_and_shards_are_whole_slots() -> None:
    ids = [f"0x{number:040x}" for number in range(2000)]
    for count in SHARD_COUNTS:
        shards = [Shard(number, count) for number in range(count)]
        slots = [slot for shard in shards for slot in shard.slots or range(SLOTS)]
        assert sorted(slots) == list(range(SLOTS))
        for account_id in ids:
            shard = shard_of(account_id, count)
            assert slot_of(account_id) in (shard.slots or range(SLOTS))
            assert all(shard.has_bucket(bucket_of(account_id, buckets)) for buckets in (32, 64, 512))
        sizes = [sum(shard_of(account_id, count) == shard for account_id in ids) for shard in shards]
        assert min(sizes) > 0.5 * len(ids) / count


@pytest.mark.parametrize(("number", "count"), [(0, 0), (0, 3), (0, 64), (-1, 2), (2, 2)])
def test_what_is_no_shard_is_refused(number: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"shard {number} of {count}"):
        Shard(number, count)


def test_the_hash_never_changes() -> None:
    assert [slot_of(f"0x{number:040x}") for number in range(8)] == [27, 6, 8, 7, 7, 7, 27, 17]
