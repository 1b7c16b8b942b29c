"""Publishes one tick of marks per interval.

Trigger: every minute by Cloud Scheduler; ticks every ``PRICE_INTERVAL_S`` while it holds its lease.
Reads: the feeds named in the network description, on chain; ``price_ticks`` (the latest, once).
Writes: ``price_ticks``.
Publishes: ``market.prices.v1``, ``alerts.operations.v1`` when a mark becomes unusable and when it recovers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from shared.chain import feeds, rpc
from shared.domain.margin import Severity
from shared.domain.marks import FeedRound, MarkStatus, judge_round
from shared.domain.network import Asset, Feed, Network
from shared.errors import RetryableError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.prices import Mark, PriceTick, tick_id
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.runtime.window import tick_under_lease
from shared.stores import database, outbox, ticks


@http_function(
    uses=("firestore", "pubsub"),
    settings=("NETWORK_FILE", "RPC_URLS", "PRICE_INTERVAL_S", "WINDOW_S"),
)
def fetch_prices(_request: Request, context: Context) -> Response:
    """Tick until the window ends."""
    client = database.connect(context.settings)
    published = tick_under_lease(
        client,
        context,
        interval_s=context.settings.price_interval_s,
        begin=lambda: _begin(context),
    )
    return Response({"ticks": published})


def _begin(context: Context) -> Callable[[], bool]:
    client = database.connect(context.settings)
    known_decimals: dict[str, int] = {}
    latest = ticks.find_latest(client)

    def step() -> bool:
        nonlocal latest
        seen, block_numbers = _read_feeds(context, known_decimals)
        as_of = clock.now()
        tick = next_tick(latest, judge_marks(context.network, seen, latest, as_of), block_numbers, as_of)
        commit = database.Commit(client, traceparent=context.traceparent)
        ticks.add(commit, tick)
        commit.announce(topics.MARKET_PRICES, tick)
        for alert in changed_marks(latest, tick):
            commit.announce(topics.OPERATIONS_ALERTS, alert)
        commit.apply()
        latest = tick
        outbox.publish(client, publisher.connect(context.settings), commit.announced)
        return False

    return step


def _read_feeds(
    context: Context, known_decimals: dict[str, int]
) -> tuple[dict[str, FeedRound | str], dict[str, int]]:
    """What every feed answers. The feeds of a chain whose nodes fail are left out.

    Raises:
        RetryableError: no chain answered; there is nothing to publish.
    """
    seen: dict[str, FeedRound | str] = {}
    block_numbers: dict[str, int] = {}
    failure: RetryableError | None = None
    for chain_id, of_chain in _feeds_by_chain(context.network).items():
        try:
            readings = feeds.read_rounds(rpc.connect(context.settings, chain_id), of_chain, known_decimals)
        except RetryableError as error:
            failure = error
            continue
        seen.update(readings.rounds)
        block_numbers[str(chain_id)] = readings.block_number
    if failure is not None and not block_numbers:
        raise failure
    return seen, block_numbers


def _feeds_by_chain(network: Network) -> dict[int, dict[str, Feed]]:
    by_chain: dict[int, dict[str, Feed]] = {}
    for asset in network.assets.values():
        by_chain.setdefault(asset.feed.chain_id, {})[asset.asset] = asset.feed
    return by_chain


def judge_marks(
    network: Network, seen: Mapping[str, FeedRound | str], latest: PriceTick | None, as_of: datetime
) -> tuple[Mark, ...]:
    """The mark of every asset from what its feed was seen to answer.

    A feed that could not be asked keeps its last mark, with its age, until that is too old.
    """
    before = {} if latest is None else {mark.asset: mark for mark in latest.marks}
    return tuple(
        _judge(asset, seen[asset.asset], as_of)
        if asset.asset in seen
        else _carry(asset, before.get(asset.asset), as_of)
        for asset in network.assets.values()
    )


def _source(asset: Asset) -> str:
    return f"chainlink:{asset.feed.chain_id}:{asset.feed.address}"


def _judge(asset: Asset, answer: FeedRound | str, as_of: datetime) -> Mark:
    judgement = judge_round(answer, max_age_s=asset.feed.max_age_s, as_of=as_of)
    return Mark(
        asset=asset.asset,
        status=judgement.status,
        price=judgement.price,
        source=_source(asset),
        round_id=judgement.round_id,
        observed_at=judgement.observed_at,
        max_age_s=asset.feed.max_age_s,
        reason=judgement.reason,
    )


def _carry(asset: Asset, last: Mark | None, as_of: datetime) -> Mark:
    limit = timedelta(seconds=asset.feed.max_age_s)
    if last is not None and last.observed_at is not None and as_of - last.observed_at <= limit:
        return last
    stale = last is not None and last.status in (MarkStatus.OK, MarkStatus.STALE)
    return Mark(
        asset=asset.asset,
        status=MarkStatus.STALE if stale else MarkStatus.MISSING,
        source=_source(asset),
        round_id=last.round_id if last is not None else None,
        observed_at=last.observed_at if last is not None else None,
        max_age_s=asset.feed.max_age_s,
        reason=f"chain {asset.feed.chain_id} did not answer",
    )


def next_tick(
    latest: PriceTick | None, marks: tuple[Mark, ...], block_numbers: dict[str, int], as_of: datetime
) -> PriceTick:
    """The tick behind ``latest``; time never goes back between ticks."""
    sequence = 1 if latest is None else latest.sequence + 1
    return PriceTick(
        event_id=tick_id(sequence),
        sequence=sequence,
        as_of=as_of if latest is None else max(as_of, latest.as_of),
        block_numbers=block_numbers,
        marks=marks,
    )


def changed_marks(latest: PriceTick | None, tick: PriceTick) -> list[OperationsAlert]:
    """What operators must know: each mark that became unusable in this tick, and each that recovered."""
    before = {} if latest is None else {mark.asset: mark.status for mark in latest.marks}
    alerts: list[OperationsAlert] = []
    for mark in tick.marks:
        was_usable = before.get(mark.asset, MarkStatus.OK) is MarkStatus.OK
        usable = mark.status is MarkStatus.OK
        if was_usable == usable:
            continue
        kind = OperationsAlertKind.MARK_RECOVERED if usable else OperationsAlertKind.MARK_UNUSABLE
        alerts.append(
            OperationsAlert(
                event_id=f"{kind}:{mark.asset}:{tick.sequence}",
                kind=kind,
                subject=mark.asset,
                severity=Severity.INFO if usable else Severity.CRITICAL,
                message=(
                    f"{mark.asset} has a mark again: {mark.price} USD"
                    if usable
                    else f"{mark.asset} has no usable mark: {mark.reason}. Its holders are unvalued."
                ),
                details={"source": mark.source, "status": mark.status, "tick": str(tick.sequence)},
                as_of=tick.as_of,
            )
        )
    return alerts
