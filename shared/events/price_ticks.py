"""A tick of what was decided, and what the next decision needs of a tick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from shared.domain.lending import LendingMarket
from shared.domain.marks import NOTHING_BEFORE, Before, GoodMark, MarkDecision, valuation_prices
from shared.domain.network import Asset
from shared.domain.quotes import Quote
from shared.events.prices import Mark, MarketIndex, PriceTick, tick_id

_UNKNOWN_AGE = 1


def next_tick(
    latest: PriceTick | None,
    decisions: Mapping[str, MarkDecision],
    assets: Mapping[str, Asset],
    block_numbers: Mapping[str, int],
    as_of: datetime,
    *,
    markets: Iterable[LendingMarket],
) -> PriceTick:
    """The tick behind ``latest`` with these decisions by asset, and the markets' indexes at its moment; time
    never goes back between ticks."""
    sequence = 1 if latest is None else latest.sequence + 1
    moment = as_of if latest is None else max(as_of, latest.as_of)
    return PriceTick(
        event_id=tick_id(sequence),
        sequence=sequence,
        as_of=moment,
        block_numbers=dict(block_numbers),
        marks=tuple(_mark(assets[asset], decision, moment) for asset, decision in decisions.items()),
        markets=tuple(_index(market, moment) for market in markets),
    )


def _index(market: LendingMarket, moment: datetime) -> MarketIndex:
    return MarketIndex(
        chain_id=market.chain_id,
        asset=market.asset,
        borrow_index=market.index_at(int(moment.timestamp())),
        rate_per_second=market.books.rate_per_second,
        reported_at=datetime.fromtimestamp(market.books.accrued_at, UTC),
    )


def before(mark: Mark | None, asset: Asset) -> Before:
    """What the next decision about an asset must know of its last mark."""
    if mark is None:
        return NOTHING_BEFORE
    last = mark.last_good
    good = None if last is None else GoodMark(last.price, last.confidence, last.observed_at, last.max_age_s)
    quotations = asset.prices.quotations
    quotes = {
        seen.source: Quote(
            source=seen.source,
            provider=seen.provider,
            weight=quotations[seen.source].weight,
            max_age_s=quotations[seen.source].max_age_s,
            price=seen.price,
            confidence=seen.confidence,
            observed_at=seen.observed_at,
            read_at=seen.read_at,
            reference=seen.reference,
            is_carried=seen.is_carried,
            refusal=seen.refusal,
            reason=seen.reason,
        )
        for seen in mark.quotes
        if seen.source in quotations
    }
    return Before(good, mark.held_since, quotes)


def _mark(asset: Asset, decision: MarkDecision, as_of: datetime) -> Mark:
    good, last = decision.good, decision.last_good
    collateral_price, debt_price = (None, None) if good is None else valuation_prices(good, asset.prices)
    counting = [quote.source for quote in decision.quotes if quote.refusal is None]
    asked = [quote.source for quote in decision.quotes]
    age_s = None if good is None else max(0, int((as_of - good.observed_at).total_seconds()))
    # Validated as one: the quotes and the last good mark are read by their attributes.
    return Mark.model_validate(
        {
            "asset": asset.asset,
            "status": decision.status,
            "price": None if good is None else good.price,
            "confidence": None if good is None else good.confidence,
            "collateral_price": collateral_price,
            "debt_price": debt_price,
            "source": "+".join(counting or asked) or "none",
            "method": decision.method,
            "observed_at": None if good is None else good.observed_at,
            "age_s": age_s,
            "max_age_s": _UNKNOWN_AGE if good is None else good.max_age_s,
            "reason": decision.reason,
            "is_off_peg": decision.is_off_peg,
            "last_good": last,
            "held_since": decision.held_since,
            "quotes": decision.quotes,
        }
    )
