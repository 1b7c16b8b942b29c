"""Makes bars of one minute, one hour and one day from the marks in the warehouse.

Trigger: every five minutes by Cloud Scheduler.
Reads: BigQuery ``marks``, ``price_bars``.
Writes: BigQuery ``price_bars``.
Publishes: nothing.

Each run makes the whole bars of the last while again where they are missing or ticks came late, so a run that
failed, or a crash between two of its statements, is made good by the next one.
"""

from __future__ import annotations

from datetime import timedelta

from shared.domain.price_bars import BarInterval
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.warehouse import client as warehouse
from shared.warehouse import price_bars

_LATE = timedelta(seconds=30)
"""How long the archive may take to write a mark before a bar without it is made."""
_LOOKS_BACK = {
    BarInterval.MINUTE: timedelta(hours=2),
    BarInterval.HOUR: timedelta(hours=26),
    BarInterval.DAY: timedelta(days=3),
}


@http_function(uses=("bigquery",), settings=("BIGQUERY_DATASET",))
def build_price_bars(_request: Request, context: Context) -> Response:
    """Make the bars that are due, shortest first."""
    connected = warehouse.connect(context.settings)
    until: dict[str, str] = {}
    for interval in BarInterval:
        finish = interval.start_of(context.as_of - _LATE)
        price_bars.build(
            connected,
            interval,
            start=interval.start_of(finish - _LOOKS_BACK[interval]),
            finish=finish,
            as_of=context.as_of,
        )
        until[interval.value] = finish.isoformat()
    return Response({"built_until": until})
