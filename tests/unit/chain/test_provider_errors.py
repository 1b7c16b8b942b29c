"""What providers write when they refuse, read for what they ask for. The texts are theirs, word for word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chain.provider_errors import PATTERNS, RefusalKind, classify
from shared.chain.ranges import RangeSize

RANGE, RATE, RACE = RefusalKind.RANGE, RefusalKind.RATE_LIMIT, RefusalKind.HEAD_RACE
PRUNED, UNKNOWN, INVALID = RefusalKind.PRUNED, RefusalKind.UNKNOWN_BLOCK, RefusalKind.INVALID

TEXTS: tuple[tuple[str, RefusalKind, int | None], ...] = (
    (
        "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no "
        "limit on the response size, or you can request any block range with a cap of 10K logs in the "
        "response. Based on your parameters and the response size limit, this block range should work: "
        "[0x0, 0x133e71]",
        RANGE,
        0x133E72,
    ),
    (
        "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. Based on "
        "your parameters, this block range should work: [0x1180fca, 0x1180fd3]. Upgrade to PAYG for expanded "
        "block range.",
        RANGE,
        10,
    ),
    (
        "query returned more than 10000 results. Try with this block range [0xCB3D, 0xCB40].",
        RANGE,
        4,
    ),
    ("limit exceeded", RANGE, None),
    ("eth_getLogs is limited to a 10,000 range", RANGE, 10_000),
    ("eth_getLogs is limited to a 1000 blocks range", RANGE, 1_000),
    ("eth_getLogs is limited to 1024 block range", RANGE, 1_024),
    ("block range is too wide", RANGE, None),
    ("query exceeds max results 20000", RANGE, None),
    ("query exceeds max results 20000, retry with the range 100-149", RANGE, 50),
    ("maximum [from, to] blocks distance: 10000", RANGE, 10_000),
    ("requested too many blocks from 0 to 16777216, maximum is set to 2048", RANGE, 2_048),
    ("ranges over 10000 blocks are not supported on freetier", RANGE, 10_000),
    ("Max range: 800", RANGE, 800),
    ("please limit the query to at most 1000 blocks", RANGE, 1_000),
    ("Block range limit exceeded.", RANGE, None),
    ("Maximum allowed number of requested blocks is 1000", RANGE, 1_000),
    ("exceed maximum block range: 50000", RANGE, 50_000),
    ("eth_getLogs range is too large, max is 1k blocks", RANGE, 1_000),
    ("query must be smaller than size 1024", RANGE, 1_024),
    ("block range is too wide (maximum 1024)", RANGE, 1_024),
    ("up to a 2000 block range", RANGE, 2_000),
    ("query exceeds max block range 50", RANGE, 50),
    ("block range greater than 1000 max", RANGE, 1_000),
    ("block range exceeds 1000", RANGE, 1_000),
    ("exceed max block range: 5000", RANGE, 5_000),
    ("too wide blocks range, the limit is 100", RANGE, 100),
    ("exceeds the range allowed for your plan (5000 > 2000)", RANGE, 2_000),
    ("eth_getLogs block range too large, range: 138001, max: 100000", RANGE, 100_000),
    (
        "Requested block range for eth_getLogs is greater than the limit of 1000 blocks. Please reduce range "
        "and retry.",
        RANGE,
        1_000,
    ),
    ("query returned more than 10000 results", RANGE, None),
    ("logs matched by query exceeds limit of 10000", RANGE, None),
    ("backend response too large", RANGE, None),
    ("Block range is too large", RANGE, None),
    ("block range too large", RANGE, None),
    ("no backend is currently healthy to serve traffic", RANGE, None),
    ("response size should not greater than 10000000 bytes", RANGE, None),
    ("allowed block range threshold exceeded", RANGE, None),
    ("exceeded max allowed", RANGE, None),
    ("request timed out", RANGE, None),
    ("Unable to complete request at this time.", RANGE, None),
    ("Internal server error. Forwarder error: 1000.", RANGE, None),
    ("block range extends beyond current head block", RACE, None),
    (
        "requested block range [7, 9] is beyond latest executed block 8 (node is still syncing)",
        RACE,
        None,
    ),
    ("BlockOutOfRangeError: block height is 2001 but requested was 2006", RACE, None),
    ("upstream does not have the requested block yet", RACE, None),
    ("header not found", RACE, None),
    (
        "One of the blocks specified in filter (fromBlock, toBlock or blockHash) cannot be found",
        RACE,
        None,
    ),
    ("unknown block", UNKNOWN, None),
    ("header for hash not found", UNKNOWN, None),
    ("hash is not currently canonical", UNKNOWN, None),
    ("Resource not found", UNKNOWN, None),
    ("History has been pruned for this block", PRUNED, None),
    ("Archive requests require a personal token", PRUNED, None),
    ("Required data unavailable", PRUNED, None),
    ("missing trie node 4a1d", PRUNED, None),
    ("invalid block range params", INVALID, None),
    ("bad topic None", INVALID, None),
    (
        "Your app has exceeded its compute units per second capacity. If you have retries enabled, you can "
        "safely ignore this message.",
        RATE,
        None,
    ),
    ("credits limited to 6000/sec", RATE, None),
    ("There are not enough CUPs left to serve the request", RATE, None),
    ("Can't route your request to suitable provider", RATE, None),
    ("503 Backend fetch failed", RATE, None),
    ("daily request count exceeded, request rate limited", RATE, None),
    ("Too Many Requests", RATE, None),
    ("execution reverted", RefusalKind.OTHER, None),
)


@pytest.mark.parametrize(("text", "kind", "block_count"), TEXTS)
def test_a_providers_text_says_what_it_asks_for(
    text: str, kind: RefusalKind, block_count: int | None
) -> None:
    refusal = classify(text, methods=["eth_getLogs"])
    assert (refusal.kind, refusal.block_count) == (kind, block_count)


def test_every_pattern_has_a_text_that_it_decides() -> None:
    deciding = {
        next(pattern for pattern in PATTERNS if pattern.text.search(text))
        for text, kind, _ in TEXTS
        if kind is not RefusalKind.OTHER
    }
    assert [pattern.text.pattern for pattern in PATTERNS if pattern not in deciding] == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_status_alone_is_a_rate_limit(status: int) -> None:
    assert classify("<html>", methods=["eth_getLogs"], http_status=status).kind is RATE


def test_a_limit_on_a_call_without_a_range_is_one_on_the_rate() -> None:
    assert classify("limit exceeded", methods=["eth_blockNumber"]).kind is RATE


@given(st.text(max_size=200))
def test_any_text_is_classified(text: str) -> None:
    refusal = classify(text, methods=["eth_getLogs"])
    assert refusal.block_count is None or refusal.block_count > 0


def test_a_range_follows_the_hint_else_halves_down_to_one_block_and_grows_again() -> None:
    size = RangeSize(2_000)
    size.refused(2_000, 800)
    assert size.blocks == 800
    size.refused(800, None)
    assert size.blocks == 400
    # A hint that is no shorter than what was refused does not help.
    size.refused(400, 400)
    assert size.blocks == 200
    for _ in range(12):
        size.refused(size.blocks, None)
    assert size.blocks == 1
    seen = [size.blocks]
    while seen[-1] < 2_000:
        size.answered(size.blocks, logs=0)
        seen.append(size.blocks)
    assert seen == sorted(seen)
    assert len(seen) < 25
    # What was answered for a range shorter than the present one says nothing.
    size.refused(2_000, None)
    size.answered(10, logs=5)
    assert size.blocks == 1_000


def test_a_range_is_shorter_where_blocks_are_full() -> None:
    size = RangeSize(2_000)
    size.answered(2_000, logs=100_000)
    assert size.blocks == 20
    size.answered(20, logs=1_000)
    assert size.blocks == 30
    size.answered(30, logs=1_500)
    assert size.blocks == 20
    size.answered(1, logs=50_000)
    assert size.blocks == 1
    size.answered(1, logs=0)
    assert size.blocks == 2
