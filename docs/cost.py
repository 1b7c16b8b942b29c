"""What keeping the margin of a book costs a month, from the operations that tests assert.

``docs/cost.md`` is written from this by ``python -m docs.export``. The counts below are not estimates:
``tests/functions/test_evaluate_margin_bill.py`` and its neighbours import them and hold the functions to
them, so the page cannot say anything else than what is charged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from shared.chain.vault_positions import MAX_CALLS
from shared.domain.interest import RAY
from shared.domain.margin import State
from shared.domain.marks import MarkStatus, Method
from shared.domain.sharding import SLOTS
from shared.events.margin import MarginSamples, Sample, Valuation
from shared.events.prices import LastGood, Mark, MarketIndex, PriceTick, SourceQuote, tick_id
from shared.manifest import Manifest


class Operations(NamedTuple):
    """Documents that Firestore charges for."""

    reads: int = 0
    writes: int = 0
    deletes: int = 0

    def times(self, count: float) -> tuple[float, float, float]:
        """So many of these."""
        return self.reads * count, self.writes * count, self.deletes * count


# Asserted by tests/functions/test_evaluate_margin_bill.py and test_evaluate_margin_shards.py, per shard.
QUIET_TICK = Operations(reads=2, writes=1)
"""A tick at which no state changes: the progress, and a query that finds nothing; the progress again."""
QUIET_SWEEP = Operations(reads=2)
"""A sweep whose marks are as fresh as at the last tick."""
TRANSITION = Operations(writes=2)
"""What one account that changes its state adds: state and alert."""
ANNOUNCEMENT = Operations(writes=1, deletes=1)
"""What a commit adds that announces something, however much: it is written, and cleared."""
CHANGED_POSITIONS = Operations(reads=2, writes=3, deletes=1)
"""New positions of one account, when they change its state, beside what apply_settlement_event does."""

# Asserted by tests/functions/test_pack_margin_book.py.
COLD_LOAD = Operations(reads=8 + SLOTS)
"""A process that starts from packs with nothing changed since, and its first tick."""
QUIET_PACKING = Operations(reads=6, writes=1)
"""A packing that finds nothing changed, beside the names of packs that are older than an hour."""

# Asserted by tests/functions/test_recurring_bill.py.
RISK_RUN = Operations(reads=7, writes=9)
"""A daily run of measure_risk in one block, beside a read of each account."""
RISK_BLOCK = Operations(reads=1, writes=3)
"""Each further block of it."""
RISK_LOOK = Operations(reads=2, writes=2)
"""A call, one a minute, that finds the day's run done."""
RECONCILIATION_LOOK = Operations(reads=3)
"""A call of reconcile_positions, one in five minutes, for a chain whose pass is not due."""
RECONCILED_PAGE = Operations(writes=1)
"""A page of a pass, beside a read of each of its accounts; the last reads each token's difference too."""
WEBHOOK_LOOK = Operations(reads=1)
"""A settlement event that no endpoint is concerned with, announced or final."""
WEBHOOK = Operations(reads=1, writes=3)
"""What each delivery adds: created, claimed, recorded."""


@dataclass(frozen=True)
class Prices:
    """Public prices in USD, of the region us-central1, without free quotas and discounts.

    - Firestore Standard, per 100,000 documents: https://cloud.google.com/firestore/pricing
    - Cloud Run with CPU during requests, rounded up to 100 ms: https://cloud.google.com/run/pricing
    - Pub/Sub, at least 1,000 bytes a message, published and delivered: https://cloud.google.com/pubsub/pricing
    - Scheduler per job and month: https://cloud.google.com/scheduler/pricing
    """

    read: float = 0.03 / 100_000
    write: float = 0.09 / 100_000
    delete: float = 0.01 / 100_000
    cpu_s: float = 0.000024
    memory_gib_s: float = 0.0000025
    request: float = 0.40 / 1_000_000
    pubsub_byte: float = 40.0 / 2**40
    job: float = 0.10


PRICES = Prices()
MONTH_S = 30 * 86_400
BILLED_S = 0.1
"""The least that Cloud Run charges per request; a tick of 10,000 accounts takes less
(``benchmarks/results/margin_evaluate.json``)."""
MEMORY_GIB = 2.0
SAMPLES_PER_MESSAGE = 250
ASSETS = 20
SMALL_MEMORY_GIB = 0.5
RISK_BLOCK_ACCOUNTS = 10_000
RISK_BLOCK_S = 60.0
"""A block of so many accounts takes less (``benchmarks/results/risk_measure_run.json``)."""
WINDOW_S = 55.0
"""For how much of each minute a function that ticks is called."""


@dataclass(frozen=True)
class Load:
    """What happens in a month."""

    accounts: int = 10_000
    interval_s: float = 30.0
    shards: int = 1
    transitions_per_account_day: float = 1.0
    changes_per_account_day: float = 1.0

    @property
    def ticks(self) -> float:
        """Ticks a month."""
        return MONTH_S / self.interval_s


def lines(load: Load) -> dict[str, float]:
    """USD a month by what it is for."""
    days, minutes = MONTH_S / 86_400, MONTH_S / 60
    fanned_out = load.shards if load.shards > 1 else 0
    invocations = load.ticks * (1 + fanned_out)
    changes = load.accounts * load.changes_per_account_day * days
    transitions = load.accounts * load.transitions_per_account_day * days
    sample_messages = math.ceil(load.accounts / SAMPLES_PER_MESSAGE)
    return {
        "Firestore: ticks": _firestore(QUIET_TICK, load.ticks * load.shards),
        "Firestore: sweeps": _firestore(QUIET_SWEEP, minutes * load.shards),
        "Firestore: transitions": _firestore(TRANSITION, transitions)
        + _firestore(ANNOUNCEMENT, min(transitions, load.ticks * load.shards)),
        "Firestore: changed positions": _firestore(CHANGED_POSITIONS, changes),
        "Firestore: packing every ten minutes": _packing(load),
        "Pub/Sub: ticks": _pubsub(_tick_bytes(), load.ticks, deliveries=3)
        + _pubsub(_tick_bytes(), load.ticks * fanned_out, deliveries=1),
        "Pub/Sub: samples each minute": _pubsub(_samples_bytes(), minutes * sample_messages, deliveries=1),
        "Cloud Run: evaluate_margin": _requests(invocations + minutes * (1 + fanned_out) + changes),
        "Scheduler: sweep and packing": 2 * PRICES.job,
    }


def lines_beside(load: Load) -> dict[str, float]:
    """USD a month of what does not depend on ticks, by what it is for; with one chain, and one endpoint that
    is told of every change of positions."""
    days, minutes = MONTH_S / 86_400, MONTH_S / 60
    changes = load.accounts * load.changes_per_account_day * days
    blocks = math.ceil(load.accounts / RISK_BLOCK_ACCOUNTS)
    pages = load.accounts // (MAX_CALLS // (1 + ASSETS)) + 1
    hours, looks = MONTH_S / 3_600, MONTH_S / 300
    per_pass = Operations(reads=load.accounts + ASSETS, writes=RECONCILED_PAGE.writes * pages)
    risk_s = days * blocks * RISK_BLOCK_S
    return {
        "Firestore: measure_risk, once a day": _firestore(RISK_RUN, days)
        + _firestore(RISK_BLOCK, days * (blocks - 1))
        + _firestore(Operations(reads=load.accounts), days)
        + _firestore(RISK_LOOK, minutes),
        "Cloud Run: measure_risk": _requests(minutes) + risk_s * _second(MEMORY_GIB),
        "Firestore: reconcile_positions, once an hour": _firestore(per_pass, hours)
        + _firestore(RECONCILIATION_LOOK, looks),
        "Firestore: webhooks": _firestore(WEBHOOK_LOOK, 2 * changes) + _firestore(WEBHOOK, changes),
        # An event comes twice: as it is announced, and once it is final.
        "Cloud Run: create_webhook_deliveries": _requests(2 * changes, memory_gib=SMALL_MEMORY_GIB),
    }


def ticking_function() -> float:
    """USD a month of a function that ticks for the whole of each window, whatever it finds."""
    return MONTH_S / 60 * (WINDOW_S * _second(SMALL_MEMORY_GIB) + PRICES.request)


def _firestore(each: Operations, count: float) -> float:
    reads, writes, deletes = each.times(count)
    return reads * PRICES.read + writes * PRICES.write + deletes * PRICES.delete


def _packing(load: Load) -> float:
    """With every pack rewritten each time, as where a few dozen accounts change in ten minutes."""
    packings = MONTH_S / 600
    changed = load.accounts * (load.changes_per_account_day + load.transitions_per_account_day) / 144
    reads = QUIET_PACKING.reads + 2 * SLOTS + changed + 2 * load.accounts / 1_000
    return packings * (reads * PRICES.read + (QUIET_PACKING.writes + SLOTS) * PRICES.write)


def _pubsub(size: int, messages: float, *, deliveries: int) -> float:
    return max(size, 1_000) * messages * (1 + deliveries) * PRICES.pubsub_byte


def _requests(count: float, *, memory_gib: float = MEMORY_GIB) -> float:
    return count * (BILLED_S * _second(memory_gib) + PRICES.request)


def _second(memory_gib: float) -> float:
    return PRICES.cpu_s + memory_gib * PRICES.memory_gib_s


_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def _tick_bytes(*, markets: int = ASSETS) -> int:
    """A tick of twenty assets with two sources each, and so many markets' indexes, on the wire."""
    price = Decimal("1234.56789012")
    quotes = tuple(
        SourceQuote(
            source=source,
            provider=source,
            price=price,
            confidence=Decimal("0.12345678"),
            observed_at=_MOMENT,
            read_at=_MOMENT,
            reference="110680464442257320247",
        )
        for source in ("chainlink", "pyth-hermes")
    )
    return len(
        PriceTick(
            event_id=tick_id(1),
            sequence=1,
            as_of=_MOMENT,
            block_numbers={"1": 1},
            marks=tuple(
                Mark(
                    asset=f"ASSET{number}",
                    status=MarkStatus.OK,
                    price=price,
                    confidence=Decimal("0.12345678"),
                    collateral_price=price,
                    debt_price=price,
                    source="chainlink+pyth-hermes",
                    method=Method.WEIGHTED_MEDIAN,
                    observed_at=_MOMENT,
                    age_s=1,
                    max_age_s=3_900,
                    last_good=LastGood(
                        price=price, confidence=Decimal("0.12345678"), observed_at=_MOMENT, max_age_s=3_900
                    ),
                    quotes=quotes,
                )
                for number in range(ASSETS)
            ),
            markets=tuple(
                MarketIndex(
                    chain_id=1,
                    asset=f"ASSET{number}",
                    borrow_index=RAY + number,
                    rate_per_second=10**18,
                    reported_at=_MOMENT,
                )
                for number in range(markets)
            ),
        ).encode()
    )


def _samples_bytes() -> int:
    """A full message of samples on the wire."""
    valuation = Valuation(
        collateral_usd=Decimal("123456.789012"), debt_usd=Decimal("65432.109876"), health_pct=88.67988779
    )
    sample = Sample(account_id="0x" + "ab" * 20, state=State.HEALTHY, valuation=valuation)
    event = MarginSamples(
        event_id="samples:2026-01-01T00:00:00+00:00:0",
        as_of=_MOMENT,
        tick_sequence=1_000_000,
        samples=(sample,) * SAMPLES_PER_MESSAGE,
    )
    return len(event.encode())


def every_account_each_tick(load: Load) -> float:
    """USD a month for reading and writing every account at every tick, and nothing else."""
    return _firestore(Operations(reads=1, writes=1), load.accounts * load.ticks)


def page(manifest: Manifest) -> str:
    """``docs/cost.md``."""
    loads = {
        "30 s": Load(),
        "1 s": Load(interval_s=1.0),
        "1 s, 4 shards": Load(interval_s=1.0, shards=4),
    }
    columns = {name: lines(load) for name, load in loads.items()}
    head = f"| USD a month | {' | '.join(f'tick every {name}' for name in columns)} |\n"
    head += f"|---|{'---:|' * len(columns)}\n"
    rows = [
        f"| {what} | {' | '.join(_dollars(column[what]) for column in columns.values())} |"
        for what in next(iter(columns.values()))
    ]
    totals = {name: sum(column.values()) for name, column in columns.items()}
    naive = {name: every_account_each_tick(load) for name, load in loads.items()}
    rows += [
        f"| **together** | {' | '.join(f'**{_dollars(total)}**' for total in totals.values())} |",
        "| reading and writing every account at every tick would be | "
        + " | ".join(_dollars(naive[name]) for name in columns)
        + " |",
        "| times as much | " + " | ".join(f"{naive[name] / totals[name]:,.0f}" for name in columns) + " |",
    ]
    beside = lines_beside(Load())
    beside_rows = [f"| {what} | {_dollars(amount)} |" for what, amount in beside.items()]
    beside_rows.append(f"| **together** | **{_dollars(sum(beside.values()))}** |")
    ticking = [
        f"`{function.name}`"
        for function in manifest.functions.values()
        if "WINDOW_S" in function.settings and any(name.endswith("INTERVAL_S") for name in function.settings)
    ]
    return _TEXT.format(
        table=head + "\n".join(rows),
        beside="| USD a month | |\n|---|---:|\n" + "\n".join(beside_rows),
        ticking=", ".join(ticking),
        ticking_cost=_dollars(ticking_function()),
        window=WINDOW_S,
        tick_bytes=_tick_bytes(),
        index_bytes=_tick_bytes() - _tick_bytes(markets=0),
        assets=ASSETS,
        block_s=RISK_BLOCK_S,
        quiet=QUIET_TICK,
        transition=TRANSITION,
        announcement=ANNOUNCEMENT,
        cold=COLD_LOAD.reads,
        prices=PRICES,
        read=PRICES.read * 100_000,
        write=PRICES.write * 100_000,
        delete=PRICES.delete * 100_000,
        load=Load(),
        million=_dollars(sum(lines(Load(accounts=1_000_000, interval_s=1.0, shards=4)).values())),
    )


def _dollars(amount: float) -> str:
    return f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"


_TEXT = """# Cost

What keeping the margin of {load.accounts:,} accounts costs a month of 30 days, by public prices in
us-central1, without free quotas. The counts behind it are asserted by tests (`docs/cost.py` says which): a
tick at which no state changes costs {quiet.reads} reads and {quiet.writes} write whatever the size of the
book; each account that changes its state adds {transition.writes} writes, and a commit of such accounts
{announcement.writes} write and {announcement.deletes} delete.

{table}

Assumed: {load.transitions_per_account_day:g} transition and {load.changes_per_account_day:g} change of
positions per account and day; {assets} assets; every request billed as 100 ms of one CPU and 2 GiB; three
subscriptions on `market.prices.v1`; every pack rewritten at each packing. A tick is {tick_bytes:,} bytes, of
which the indexes of {assets} markets, by which debts bear interest, are {index_bytes:,}; interest changes no
document.

Beside it, whatever the interval of ticks, with one chain and one webhook endpoint that is told of every
change:

{beside}

The daily run is billed as {block_s:g} s of one CPU and 2 GiB for each 10,000 accounts; its loads into
BigQuery cost nothing. A pass of `reconcile_positions` reads every account once an hour, on each chain.

Functions that tick are billed for {window:g} s of each minute, whatever they find: {ticking_cost} a month for
one CPU and 512 MiB, each of {ticking}.

Not in it: their Firestore operations, applying events, the gateway, delivering alerts, BigQuery's storage and
queries, storage.

- **Prices.** Firestore Standard per 100,000 documents: reads {read:.2f}, writes {write:.2f}, deletes
  {delete:.2f} (<https://cloud.google.com/firestore/pricing>). Cloud Run {prices.cpu_s:.6f} per vCPU-second,
  {prices.memory_gib_s:.7f} per GiB-second, 0.40 per million requests
  (<https://cloud.google.com/run/pricing>). Pub/Sub 40 per TiB, at least 1,000 bytes a message
  (<https://cloud.google.com/pubsub/pricing>). Scheduler 0.10 per job
  (<https://cloud.google.com/scheduler/pricing>).
- **Size.** Ticks do not depend on it; transitions, changes and samples do. A million accounts in four shards
  at 1 s, with the same activity each, are {million} a month.
- **Starting.** A process that starts reads {cold} documents where nothing changed since the last packing,
  and two per thousand accounts for counting them; without packs it reads two per account.
- **What dominates.** At 1 s the requests, each billed as 100 ms, and their progress; at 30 s what accounts
  do. `PRICE_INTERVAL_S` and `MARGIN_SHARDS` are the levers.
"""
