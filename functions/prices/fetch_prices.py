"""Publishes one tick of marks and of markets' indexes per interval.

Trigger: every minute by Cloud Scheduler; ticks every ``PRICE_INTERVAL_S`` while it holds its lease.
Reads: the price sources of the network description; ``price_ticks`` (the latest) and ``price_sources``, once;
``markets`` as they change.
Writes: ``price_ticks``, ``price_sources``.
Publishes: ``market.prices.v1``, ``alerts.operations.v1`` when a mark becomes unusable, a stablecoin leaves
its peg or a source fails, and when each is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from shared.domain.lending import LendingMarket
from shared.domain.margin import Severity
from shared.domain.marks import decide_mark
from shared.errors import RetryableError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.events.price_ticks import before, next_tick
from shared.events.prices import Mark, PriceTick
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.price_reading import PriceReader, PriceReading, price_reader
from shared.runtime.triggers import Request, Response, http_function
from shared.runtime.window import tick_under_lease
from shared.stores import database, markets, outbox, price_sources, ticks

_OVERLAP = timedelta(seconds=3)
"""How far before the last write seen the next look begins: a write is seen less than this after its stamp."""
_STATES_AT_LEAST_EVERY = timedelta(seconds=10)


@http_function(
    uses=("firestore", "pubsub"),
    settings=("NETWORK_FILE", "RPC_URLS", "HERMES_URLS", "HERMES_API_KEY", "PRICE_INTERVAL_S", "WINDOW_S"),
)
def fetch_prices(_request: Request, context: Context) -> Response:
    """Tick until the window ends."""
    reader = price_reader(context.settings)
    try:
        published = tick_under_lease(
            database.connect(context.settings),
            context,
            interval_s=context.settings.price_interval_s,
            begin=lambda: _begin(reader, context),
        )
    finally:
        # Between windows the processor is not ours: a stream would fall silent.
        reader.close()
    return Response({"ticks": published})


def _begin(reader: PriceReader, context: Context) -> Callable[[], bool]:
    client = database.connect(context.settings)
    latest = ticks.find_latest(client)
    recorded = price_sources.list_all(client)
    lending = _Lending(client)

    def step() -> bool:
        nonlocal latest, recorded
        reading = reader.read()
        now = clock.now()
        commit = database.Commit(client, traceparent=context.traceparent)
        states = reader.states(now)
        if _are_news(recorded, states):
            for state in states:
                commit.put(price_sources.path(state.source_id), price_sources.encode(state))
            for alert in changed_sources(recorded, states):
                commit.announce(topics.OPERATIONS_ALERTS, alert)
            recorded = states
        tick = None
        if reading.failure is None:
            tick = _tick(context, reading, latest, lending.read(), now)
        if tick is not None:
            ticks.add(commit, tick)
            commit.announce(topics.MARKET_PRICES, tick)
            for alert in changed_marks(latest, tick):
                commit.announce(topics.OPERATIONS_ALERTS, alert)
        commit.apply()
        outbox.publish(client, publisher.connect(context.settings), commit.announced)
        if tick is None:
            raise RetryableError(f"no price source answered: {reading.failure}")
        latest = tick
        return False

    return step


class _Lending:
    """The markets, kept up to date by reading what was written since: a tick costs no read per market."""

    def __init__(self, client: database.Client) -> None:
        self._client = client
        self._known: dict[str, LendingMarket] = {}
        self._written_at: datetime | None = None

    def read(self) -> list[LendingMarket]:
        """Every market as it is, in order."""
        since = None if self._written_at is None else self._written_at - _OVERLAP
        for key, market, written_at in markets.list_updated_since(self._client, since):
            if market is None:
                self._known.pop(key, None)
            else:
                self._known[key] = market
            if self._written_at is None or written_at > self._written_at:
                self._written_at = written_at
        return [self._known[key] for key in sorted(self._known)]


def _tick(
    context: Context,
    reading: PriceReading,
    latest: PriceTick | None,
    lending: Sequence[LendingMarket],
    now: datetime,
) -> PriceTick:
    network = context.network
    marks = {} if latest is None else {mark.asset: mark for mark in latest.marks}
    decisions = {
        asset.asset: decide_mark(
            reading.answers[asset.asset],
            network.price_sources,
            asset.prices,
            before=before(marks.get(asset.asset), asset),
            as_of=now,
        )
        for asset in network.assets.values()
    }
    return next_tick(latest, decisions, network.assets, reading.block_numbers, now, markets=lending)


def _are_news(
    recorded: Sequence[price_sources.SourceState], states: Sequence[price_sources.SourceState]
) -> bool:
    """Whether breakers or errors have changed, or the record is old: a write per tick would be most of the
    bill."""
    known = {state.source_id: state for state in recorded}
    for state in states:
        last = known.get(state.source_id)
        if (
            last is None
            or (last.breakers, last.last_error, last.is_enabled)
            != (state.breakers, state.last_error, state.is_enabled)
            or state.as_of - last.as_of >= _STATES_AT_LEAST_EVERY
        ):
            return True
    return False


def changed_sources(
    recorded: Sequence[price_sources.SourceState], states: Sequence[price_sources.SourceState]
) -> list[OperationsAlert]:
    """What operators must know: each source that began to fail about everything, and each that is back."""
    was_failing = {state.source_id for state in recorded if state.is_failing}
    alerts: list[OperationsAlert] = []
    for state in states:
        if state.is_failing == (state.source_id in was_failing):
            continue
        kind = (
            OperationsAlertKind.PRICE_SOURCE_FAILING
            if state.is_failing
            else OperationsAlertKind.PRICE_SOURCE_RECOVERED
        )
        alerts.append(
            OperationsAlert(
                event_id=f"{kind}:{state.source_id}:{state.as_of.isoformat()}",
                kind=kind,
                subject=state.source_id,
                severity=Severity.MEDIUM if state.is_failing else Severity.INFO,
                message=(
                    f"Price source {state.source_id} fails: {state.last_error}"
                    if state.is_failing
                    else f"Price source {state.source_id} answers again."
                ),
                details={"provider": state.provider, "kind": state.kind.value},
                as_of=state.as_of,
            )
        )
    return alerts


def changed_marks(latest: PriceTick | None, tick: PriceTick) -> list[OperationsAlert]:
    """What operators must know: each mark that became unusable or left its peg, and each that is back."""
    known = {} if latest is None else {mark.asset: mark for mark in latest.marks}
    alerts: list[OperationsAlert] = []
    for mark in tick.marks:
        last = known.get(mark.asset)
        was_usable = last is None or last.is_usable
        if was_usable and not mark.is_usable:
            said = f"{mark.asset} has no usable mark: {mark.reason}. Its holders are unvalued."
            alerts.append(_mark_alert(OperationsAlertKind.MARK_UNUSABLE, Severity.CRITICAL, mark, tick, said))
        elif mark.is_usable and not was_usable:
            said = f"{mark.asset} has a mark again: {mark.price} USD"
            alerts.append(_mark_alert(OperationsAlertKind.MARK_RECOVERED, Severity.INFO, mark, tick, said))
        was_off_peg = last is not None and last.is_off_peg
        if mark.is_off_peg and not was_off_peg:
            said = f"{mark.asset} has left its peg: its mark is {mark.price} USD"
            alerts.append(_mark_alert(OperationsAlertKind.MARK_OFF_PEG, Severity.CRITICAL, mark, tick, said))
        elif was_off_peg and mark.is_usable and not mark.is_off_peg:
            said = f"{mark.asset} is back at its peg: its mark is {mark.price} USD"
            alerts.append(_mark_alert(OperationsAlertKind.MARK_AT_PEG, Severity.INFO, mark, tick, said))
    return alerts


def _mark_alert(
    kind: OperationsAlertKind, severity: Severity, mark: Mark, tick: PriceTick, message: str
) -> OperationsAlert:
    return OperationsAlert(
        event_id=f"{kind}:{mark.asset}:{tick.sequence}",
        kind=kind,
        subject=mark.asset,
        severity=severity,
        message=message,
        details={"source": mark.source, "status": mark.status, "tick": str(tick.sequence)},
        as_of=tick.as_of,
    )
