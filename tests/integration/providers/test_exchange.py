"""The exchange's tickers: what it says, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from shared.domain.price_sources import PriceSource, SourceKind
from shared.domain.quotes import SourceAnswer
from shared.errors import RetryableError
from shared.providers.exchange import ExchangeSource, parse_ticker
from shared.runtime import clock
from tests.servers import Answer, Endpoint, Received, closed_port, endpoint

TICKER: dict[str, Any] = {
    "trade_id": 86326522,
    "price": "3000.25",
    "bid": "3000.20",
    "ask": "3000.30",
    "time": "2025-03-01T12:00:00.123456Z",
}
ETH = SourceAnswer(3_000_250_000_000_000, -12, 50_000_000_000, 1_740_830_400, "86326522")


@pytest.fixture
def served() -> Iterator[Endpoint]:
    """An exchange that knows two products, one of which it answers nonsense about."""

    def decide(request: Received) -> Answer:
        known = {
            "/products/ETH-USD/ticker": json.dumps(TICKER).encode(),
            "/products/ODD-USD/ticker": b'{"price": "NaN"}',
        }
        body = known.get(request.path)
        return Answer(404, b'{"message": "NotFound"}') if body is None else Answer(200, body)

    with endpoint(decide) as exchange:
        yield exchange


def _read(base_url: str, **products: str) -> dict[str, SourceAnswer | str]:
    source = PriceSource(
        "exchange",
        SourceKind.EXCHANGE,
        "coinbase",
        is_enabled=True,
        is_tie_breaker=True,
        timeout_s=2.0,
        base_url=base_url,
    )
    with ThreadPoolExecutor(4) as executor:
        exchange = ExchangeSource(source, executor=executor, monotonic=clock.monotonic)
        try:
            return exchange.read(products)
        finally:
            exchange.close()


def test_each_product_by_itself(served: Endpoint) -> None:
    answers = _read(served.url, ETH="ETH-USD", ODD="ODD-USD", NONE="NONE-USD")
    assert answers["ETH"] == ETH
    assert "what is no ticker of ODD-USD" in str(answers["ODD"])
    assert answers["NONE"] == "the exchange answered HTTP 404 for NONE-USD"


def test_an_exchange_that_knows_nothing_has_failed(served: Endpoint) -> None:
    with pytest.raises(RetryableError, match="HTTP 404"):
        _read(served.url, NONE="NONE-USD")
    with pytest.raises(RetryableError, match="did not answer"):
        _read(f"http://127.0.0.1:{closed_port()}", ETH="ETH-USD")


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "NaN"},
        {"price": "Infinity"},
        {"price": None},
        {"bid": "x"},
        {"time": "yesterday"},
        {"time": None},
    ],
)
def test_what_is_no_ticker_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        parse_ticker(TICKER | changes)
    for name in changes:
        with pytest.raises(KeyError):
            parse_ticker({key: value for key, value in TICKER.items() if key != name})


def test_half_the_spread_is_the_confidence() -> None:
    answer = parse_ticker(TICKER | {"bid": "2999", "ask": "3001"})
    assert Decimal(answer.confidence).scaleb(answer.exponent) == 1
