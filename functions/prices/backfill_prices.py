"""Fills a range of an asset's bars from the rounds of its Chainlink feed, which the chain keeps for good.

Trigger: HTTP, for operators; body ``{"asset": "ETH", "interval": "1d", "source": "chainlink", "from": "...",
"to": "..."}``.
Reads: the feed's past rounds, on chain; BigQuery ``price_bars``.
Writes: BigQuery ``price_bars``.
Publishes: nothing.

Only whole bars are written, and only those that differ from what is known: a second run writes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.chain import rounds, rpc
from shared.domain.network import Chain
from shared.domain.price_bars import BarInterval, PriceBar, bars_of
from shared.domain.price_sources import SourceKind
from shared.errors import TerminalError
from shared.events.base import AssetId, Instant
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.warehouse import client as warehouse
from shared.warehouse import price_bars

_MOST_BARS = 10_000


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    asset: AssetId
    interval: Annotated[str, Field(pattern="^1[mhd]$")]
    source: str
    start: Instant = Field(alias="from")
    finish: Instant = Field(alias="to")


@http_function(uses=("bigquery",), settings=("NETWORK_FILE", "RPC_URLS", "BIGQUERY_DATASET"))
def backfill_prices(request: Request, context: Context) -> Response:
    """Fill the range; says how many bars the source has there, and how many were written."""
    order = _parse(request.body)
    interval = BarInterval(order.interval)
    start, finish = _whole(order, interval, context.as_of)
    source_id, chain, feed = _feed(order, context)
    seen = rounds.read_since(rpc.connect(context.settings, chain.chain_id), chain.multicall, feed, start)
    observations = [(each.updated_at, each.price) for each in seen if start <= each.updated_at < finish]
    bars = bars_of(order.asset, interval, observations, source=source_id, as_of=context.as_of)
    connected = warehouse.connect(context.settings)
    known = price_bars.list_page(
        connected, order.asset, interval, start=start, finish=finish, after=None, limit=_MOST_BARS
    )
    written: list[PriceBar] = price_bars.add_changed(connected, bars, known)
    return Response({"bars": len(bars), "written": len(written), "rounds": len(observations)})


def _parse(body: object) -> _Order:
    try:
        return _Order.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise TerminalError(first["msg"], field=".".join(map(str, first["loc"]))) from error


def _whole(order: _Order, interval: BarInterval, as_of: datetime) -> tuple[datetime, datetime]:
    """The range of whole bars inside the one that was asked for, and not beyond now."""
    start = interval.start_of(order.start)
    if start < order.start:
        start += interval.length
    finish = interval.start_of(min(order.finish, as_of))
    if start >= finish:
        raise TerminalError("there is no whole bar before it", field="to")
    if (finish - start) / interval.length > _MOST_BARS:
        raise TerminalError(f"the range holds more than {_MOST_BARS} bars: ask for a part of it", field="to")
    return start, finish


def _feed(order: _Order, context: Context) -> tuple[str, Chain, str]:
    """The source's id, its chain, and the asset's feed there."""
    network = context.network
    if order.asset not in network.assets:
        raise TerminalError(f"{order.asset} is not among the assets of NETWORK_FILE", field="asset")
    source = network.price_sources.get(order.source)
    quotation = network.assets[order.asset].prices.quotations.get(order.source)
    if (
        source is None
        or source.kind is not SourceKind.CHAINLINK
        or source.chain_id is None
        or quotation is None
    ):
        raise TerminalError(f"{order.source} is no Chainlink source of {order.asset}", field="source")
    return source.source_id, network.chains[source.chain_id], quotation.feed
