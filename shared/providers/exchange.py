"""An exchange's last trades, as a tie breaker: one spot market each, so never a mark by themselves.

Source: Coinbase Exchange, https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductticker.
The price is the last trade's, the confidence half of the spread, the time the trade's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any
from urllib.parse import quote

import urllib3

from shared.domain.price_sources import PriceSource
from shared.domain.quotes import SourceAnswer
from shared.errors import RetryableError
from shared.racing import LatencyWindow

_DIGITS = 12


class ExchangeSource:
    """Last trades by product (``ETH-USD``).

    Args:
        source: its address and timeout.
        executor: runs requests side by side.
        monotonic: a clock in seconds.
    """

    def __init__(self, source: PriceSource, *, executor: Executor, monotonic: Callable[[], float]) -> None:
        self.latency = LatencyWindow()
        self._base_url = (source.base_url or "").rstrip("/")
        self._executor = executor
        self._monotonic = monotonic
        self._pool = urllib3.PoolManager(
            maxsize=8, timeout=urllib3.Timeout(connect=source.timeout_s, read=source.timeout_s), retries=False
        )

    def read(self, feeds: Mapping[str, str]) -> dict[str, SourceAnswer | str]:
        """The last trade of every product, or the reason why there is none.

        Raises:
            RetryableError: the exchange answered about none of them.
        """
        answers = dict(zip(feeds, self._executor.map(self._ticker, feeds.values()), strict=True))
        if answers and all(isinstance(answer, str) for answer in answers.values()):
            raise RetryableError(str(next(iter(answers.values()))))
        return answers

    def close(self) -> None:
        """Let go of its connections."""
        self._pool.clear()

    def _ticker(self, product: str) -> SourceAnswer | str:
        started = self._monotonic()
        try:
            response = self._pool.request("GET", f"{self._base_url}/products/{quote(product)}/ticker")
        except urllib3.exceptions.HTTPError as error:
            return f"the exchange did not answer: {type(error).__name__}"
        if response.status != 200:
            return f"the exchange answered HTTP {response.status} for {product}"
        self.latency.add(self._monotonic() - started)
        try:
            return parse_ticker(json.loads(response.data))
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            return f"the exchange answered what is no ticker of {product}: {error!r}"


def parse_ticker(document: Any) -> SourceAnswer:
    """A ticker as an answer, to twelve digits behind the point.

    Raises:
        ValueError, KeyError, TypeError, ArithmeticError: it is none.
    """
    price, bid, ask = (_decimal(document[name]) for name in ("price", "bid", "ask"))
    scaled = partial(_scaled, digits=_DIGITS)
    moment = int(datetime.fromisoformat(document["time"]).timestamp())
    return SourceAnswer(scaled(price), -_DIGITS, scaled((ask - bid) / 2), moment, str(document["trade_id"]))


def _decimal(text: Any) -> Decimal:
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{text!r} is not finite")
    return number


def _scaled(number: Decimal, *, digits: int) -> int:
    return int(number.scaleb(digits))
