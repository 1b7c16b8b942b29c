"""Accounts packed into columns: what a margin book is loaded from in one piece.

A *pack* is the accounts of one *bucket* of the book: their versions, exact positions and standings, in order
of account id, as little-endian arrays behind a line of JSON that says how many there are, compressed. Packs
are the same whoever makes them: bytes are a function of the accounts alone, so a pack is named by its digest
and a bucket that did not change is the pack that it was.

Buckets come from :func:`shared.domain.sharding.account_hash`, so the packs of a shard are whole packs.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.domain.margin import Standing, state_of
from shared.domain.sharding import account_hash

FORMAT = 2
"""Changes with anything that makes older readers misread a pack; they refuse what they do not know."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NONE = -1
_COMPRESSION = 1
_MAX_BYTES = 64 * 2**20


class PackError(Exception):
    """A pack is not what it should be; the message says how."""


class PackedPosition(NamedTuple):
    """What an account holds and owes in one asset on one chain: base units, and shares of debt."""

    chain_id: int
    asset: str
    decimals: int
    collateral_base: int
    debt_shares: int


@dataclass(frozen=True, slots=True)
class PackedAccount:
    """One account of a pack.

    ``version`` is 0 where only a standing is known. ``recorded_ns`` is when the standing's document was
    written, in nanoseconds since 1970; 0 without a standing.
    """

    account_id: str
    version: int
    positions: tuple[PackedPosition, ...]
    standing: Standing | None
    recorded_ns: int


class PackedAccounts:
    """The accounts of some packs as columns; rows are read one by one when they are asked for."""

    def __init__(
        self, ids: list[str], assets: tuple[str, ...], columns: dict[str, NDArray[Any]], amounts: bytes
    ) -> None:
        self.ids = ids
        self.assets = assets
        self.versions: NDArray[np.int64] = columns["versions"]
        self.states: NDArray[np.int8] = columns["states"]
        """Code of each row's state, -1 without a standing."""
        self.valued_states: NDArray[np.int8] = columns["valued_states"]
        """Code of each row's last valued state, -1 where there is none."""
        self.recorded_ns: NDArray[np.int64] = columns["recorded_ns"]
        self.position_counts: NDArray[np.int32] = columns["position_counts"]
        self.position_assets: NDArray[np.int32] = columns["position_assets"]
        """Index into :attr:`assets` of each position, in order of row."""
        self.position_chains: NDArray[np.int64] = columns["position_chains"]
        self.decimals: NDArray[np.uint8] = columns["decimals"]
        self.amount_lengths: NDArray[np.uint8] = columns["amount_lengths"]
        """Bytes of each position's collateral and debt: two entries a position."""
        self._transitions = columns["transitions"]
        self._tick_sequences = columns["tick_sequences"]
        self.position_versions: NDArray[np.int64] = columns["position_versions"]
        """The version that each standing was decided on; 0 without one."""
        self._as_of_us = columns["as_of_us"]
        self.amounts = amounts
        self._first_position = _offsets(self.position_counts)
        self.amount_offsets = _offsets(self.amount_lengths)

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, row: int) -> tuple[PackedPosition, ...]:
        """The positions of a row."""
        first, end = int(self._first_position[row]), int(self._first_position[row + 1])
        bounds = self.amount_offsets[2 * first : 2 * end + 1].tolist()
        amounts = [
            int.from_bytes(self.amounts[start:stop], "little") for start, stop in itertools.pairwise(bounds)
        ]
        return tuple(
            PackedPosition(
                int(self.position_chains[first + number]),
                self.assets[self.position_assets[first + number]],
                int(self.decimals[first + number]),
                amounts[2 * number],
                amounts[2 * number + 1],
            )
            for number in range(end - first)
        )

    def standing(self, row: int) -> Standing | None:
        """The standing of a row."""
        if self.states[row] == _NONE:
            return None
        valued = int(self.valued_states[row])
        return Standing(
            state_of(int(self.states[row])),
            None if valued == _NONE else state_of(valued),
            int(self._transitions[row]),
            int(self._tick_sequences[row]),
            int(self.position_versions[row]),
            _EPOCH + int(self._as_of_us[row]) * _MICROSECOND,
        )

    def account(self, row: int) -> PackedAccount:
        """One row as a whole."""
        return PackedAccount(
            self.ids[row],
            int(self.versions[row]),
            self.positions(row),
            self.standing(row),
            int(self.recorded_ns[row]),
        )

    def accounts(self) -> dict[str, PackedAccount]:
        """Every row by account id."""
        return {account_id: self.account(row) for row, account_id in enumerate(self.ids)}


_ROW_COLUMNS: dict[str, np.dtype[Any]] = {
    "versions": np.dtype("<i8"),
    "states": np.dtype("i1"),
    "valued_states": np.dtype("i1"),
    "transitions": np.dtype("<i8"),
    "tick_sequences": np.dtype("<i8"),
    "position_versions": np.dtype("<i8"),
    "as_of_us": np.dtype("<i8"),
    "recorded_ns": np.dtype("<i8"),
    "position_counts": np.dtype("<i4"),
}
_POSITION_COLUMNS: dict[str, np.dtype[Any]] = {
    "position_assets": np.dtype("<i4"),
    "position_chains": np.dtype("<i8"),
    "decimals": np.dtype("u1"),
}
_AMOUNT_COLUMNS: dict[str, np.dtype[Any]] = {"amount_lengths": np.dtype("u1")}


def bucket_of(account_id: str, buckets: int) -> int:
    """The bucket of an account where there are so many (a power of two)."""
    return account_hash(account_id) & (buckets - 1)


def encode_pack(accounts: Iterable[PackedAccount], *, bucket: int, buckets: int) -> bytes:
    """The pack of a bucket's accounts."""
    rows = sorted(accounts, key=lambda account: account.account_id)
    positions = [position for row in rows for position in row.positions]
    assets = sorted({position.asset for position in positions})
    index = {asset: number for number, asset in enumerate(assets)}
    standings = [row.standing for row in rows]
    amounts = [
        amount.to_bytes((amount.bit_length() + 7) // 8, "little")
        for position in positions
        for amount in (position.collateral_base, position.debt_shares)
    ]
    values: dict[str, list[int]] = {
        "versions": [row.version for row in rows],
        "states": [_NONE if each is None else each.state.code for each in standings],
        "valued_states": [
            _NONE if each is None or each.valued_state is None else each.valued_state.code
            for each in standings
        ],
        "transitions": [0 if each is None else each.transitions for each in standings],
        "tick_sequences": [0 if each is None else each.tick_sequence for each in standings],
        "position_versions": [0 if each is None else each.position_version for each in standings],
        "as_of_us": [0 if each is None else (each.as_of - _EPOCH) // _MICROSECOND for each in standings],
        "recorded_ns": [row.recorded_ns for row in rows],
        "position_counts": [len(row.positions) for row in rows],
        "position_assets": [index[position.asset] for position in positions],
        "position_chains": [position.chain_id for position in positions],
        "decimals": [position.decimals for position in positions],
        "amount_lengths": [len(amount) for amount in amounts],
    }
    ids = "\n".join(row.account_id for row in rows).encode()
    blob = b"".join(amounts)
    header = {
        "format": FORMAT,
        "bucket": bucket,
        "buckets": buckets,
        "accounts": len(rows),
        "positions": len(positions),
        "id_bytes": len(ids),
        "amount_bytes": len(blob),
        "assets": assets,
    }
    arrays = [
        np.array(values[name], dtype=dtype).tobytes()
        for name, dtype in (_ROW_COLUMNS | _POSITION_COLUMNS | _AMOUNT_COLUMNS).items()
    ]
    return zlib.compress(
        b"".join([json.dumps(header, sort_keys=True).encode(), b"\n", *arrays, ids, blob]), _COMPRESSION
    )


def digest(data: bytes) -> str:
    """What a pack is named by."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def decode_packs(packs: Sequence[tuple[int, bytes]], *, buckets: int) -> PackedAccounts:
    """The accounts of some (bucket, pack), together.

    Raises:
        PackError: a pack cannot be read, is of another format or bucket, or an account is there twice.
    """
    parts = [_decode(data, bucket, buckets) for bucket, data in packs]
    assets = tuple(sorted({asset for part in parts for asset in part.header["assets"]}))
    index = {asset: number for number, asset in enumerate(assets)}
    for part in parts:
        table = np.array([index[asset] for asset in part.header["assets"]], dtype=np.int32)
        part.columns["position_assets"] = table[part.columns["position_assets"]]
    every = _ROW_COLUMNS | _POSITION_COLUMNS | _AMOUNT_COLUMNS
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) if parts else np.empty(0, dtype)
        for name, dtype in every.items()
    }
    ids = [account_id for part in parts for account_id in part.ids]
    if len(set(ids)) < len(ids):
        raise PackError(f"{len(ids) - len(set(ids))} accounts are in two packs")
    return PackedAccounts(ids, assets, columns, b"".join(part.amounts for part in parts))


class _Part(NamedTuple):
    header: dict[str, Any]
    ids: list[str]
    columns: dict[str, NDArray[Any]]
    amounts: bytes


def _decode(data: bytes, bucket: int, buckets: int) -> _Part:
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(data, _MAX_BYTES)
        if not inflater.eof:
            raise PackError(f"bucket {bucket}: the pack ends early, or is larger than {_MAX_BYTES} bytes")
        first_line = raw.index(b"\n")
        header = json.loads(raw[:first_line])
        if header["format"] != FORMAT:
            raise PackError(f"bucket {bucket}: format {header['format']}, this code reads {FORMAT}")
        if (header["bucket"], header["buckets"]) != (bucket, buckets):
            raise PackError(
                f"bucket {bucket} of {buckets}: the pack is of bucket {header['bucket']} of "
                f"{header['buckets']}"
            )
        accounts, positions = int(header["accounts"]), int(header["positions"])
        at = first_line + 1
        columns: dict[str, NDArray[Any]] = {}
        for count, dtypes in (
            (accounts, _ROW_COLUMNS),
            (positions, _POSITION_COLUMNS),
            (2 * positions, _AMOUNT_COLUMNS),
        ):
            for name, dtype in dtypes.items():
                columns[name] = np.frombuffer(raw, dtype, count, at)
                at += count * dtype.itemsize
        text = raw[at : at + header["id_bytes"]].decode()
        amounts = raw[at + header["id_bytes"] :]
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise PackError(f"bucket {bucket}: the pack cannot be read: {error!r}") from error
    ids = text.split("\n") if text else []
    _check(header, ids, columns, amounts, bucket)
    return _Part(header, ids, columns, amounts)


def _check(
    header: dict[str, Any], ids: list[str], columns: dict[str, NDArray[Any]], amounts: bytes, bucket: int
) -> None:
    consistent = (
        len(ids) == header["accounts"]
        and len(amounts) == header["amount_bytes"] == int(columns["amount_lengths"].sum(dtype=np.int64))
        and int(columns["position_counts"].sum(dtype=np.int64)) == header["positions"]
        and int(columns["position_counts"].min(initial=0)) >= 0
        and int(columns["position_assets"].min(initial=0)) >= 0
        and int(columns["position_assets"].max(initial=-1)) < len(header["assets"])
    )
    if not consistent:
        raise PackError(f"bucket {bucket}: the parts of the pack do not fit together")
    if any(first >= second for first, second in itertools.pairwise(ids)):
        raise PackError(f"bucket {bucket}: accounts are out of order or twice in the pack")


def _offsets(counts: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(counts.size + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


EMPTY = decode_packs([], buckets=1)
"""No account."""
