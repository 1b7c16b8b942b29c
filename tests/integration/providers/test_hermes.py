"""Hermes: its JSON, its key, its rate limit and its stream, against a server that behaves as it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal

import pytest

from local.hermes_server import Hermes, HermesServer
from local.price_data import PYTH_IDS
from shared.domain.price_sources import HermesTransport, PriceSource, SourceKind
from shared.domain.quotes import SourceAnswer
from shared.errors import HeldBackError, RetryableError, TerminalError
from shared.providers.hermes import HermesSource
from tests.eventually import eventually
from tests.servers import closed_port

KEY = "key-of-the-test"
ETH, USDC = PYTH_IDS["ETH"], PYTH_IDS["USDC"]
FEEDS = {"ETH": ETH, "USDC": f"0x{USDC.upper()}"}


@contextmanager
def _serving(hermes: Hermes) -> Iterator[str]:
    server = HermesServer(hermes, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hermes() -> Hermes:
    """A Hermes that knows two prices."""
    known = Hermes(KEY)
    known.set_prices({ETH: Decimal("3000.5"), USDC: Decimal("0.9999")})
    return known


@pytest.fixture
def url(hermes: Hermes) -> Iterator[str]:
    """Where it is served."""
    with _serving(hermes) as address:
        yield address


@pytest.fixture
def connect(url: str) -> Iterator[Callable[..., HermesSource]]:
    """Sources that end with the test."""
    made: list[HermesSource] = []
    with ThreadPoolExecutor(4) as threads:

        def make(
            *urls: str,
            key: str = KEY,
            transport: str = "latest",
            silence_s: float = 0.8,
            timeout_s: float = 1.0,
        ) -> HermesSource:
            source = PriceSource(
                "pyth-hermes",
                SourceKind.HERMES,
                "pyth",
                is_enabled=True,
                is_tie_breaker=False,
                timeout_s=1.0,
                transport=HermesTransport(transport),
                silence_s=silence_s,
            )
            made.append(HermesSource(source, urls or [url], key, executor=threads, monotonic=time.monotonic))
            return made[-1]

        yield make
        for source in made:
            source.close()


def _price(answer: SourceAnswer | str) -> Decimal:
    assert isinstance(answer, SourceAnswer), answer
    return Decimal(answer.value).scaleb(answer.exponent)


def test_prices_come_with_exponent_confidence_and_publish_time(connect: Callable[..., HermesSource]) -> None:
    found = connect().read(FEEDS)
    assert (_price(found["ETH"]), _price(found["USDC"])) == (Decimal("3000.5"), Decimal("0.9999"))
    eth = found["ETH"]
    assert isinstance(eth, SourceAnswer)
    assert (eth.exponent, eth.confidence) == (-8, 30_005_000)
    assert abs(eth.observed_s - time.time()) < 5
    assert eth.reference == str(eth.observed_s)


def test_an_unknown_id_is_missing_and_hurts_no_other(
    connect: Callable[..., HermesSource], hermes: Hermes
) -> None:
    found = connect().read({"ETH": ETH, "ODD": "ab" * 32, "WORSE": "not an id"})
    assert _price(found["ETH"]) == Decimal("3000.5")
    assert found["ODD"] == f"Hermes has no price of {'ab' * 32}"
    assert found["WORSE"] == "Hermes has no price of not an id"
    assert hermes.state()["counts"]["requests"] == 1


def test_a_refused_key_is_final(connect: Callable[..., HermesSource], hermes: Hermes) -> None:
    with pytest.raises(TerminalError, match="HTTP 403: the API key is not accepted"):
        connect(key="another").read(FEEDS)
    assert hermes.state()["counts"]["requests"] <= 2


def test_the_second_address_answers_where_the_first_does_not(
    connect: Callable[..., HermesSource], url: str
) -> None:
    found = connect(f"http://127.0.0.1:{closed_port()}", url).read(FEEDS)
    assert _price(found["ETH"]) == Decimal("3000.5")


def test_a_slow_address_is_overtaken(connect: Callable[..., HermesSource], hermes: Hermes, url: str) -> None:
    fast = Hermes(KEY)
    fast.set_prices({ETH: Decimal(1)})
    hermes.set_faults({"delay_s": 0.9})
    with _serving(fast) as other:
        source = connect(url, other)
        started = time.monotonic()
        found = source.read({"ETH": ETH})
        assert time.monotonic() - started < 0.85
    assert _price(found["ETH"]) == 1


def test_the_rate_limit_is_kept_and_held_back_is_no_failure_of_hermes(
    connect: Callable[..., HermesSource], hermes: Hermes
) -> None:
    source = connect()
    # Two of the ten are left to streams.
    for _ in range(8):
        source.read(FEEDS)
    with pytest.raises(HeldBackError):
        source.read(FEEDS)
    assert hermes.state()["counts"] == {"requests": 8, "latest": 8}


def test_a_429_is_answered_by_silence(connect: Callable[..., HermesSource], hermes: Hermes) -> None:
    impatient = connect()
    for other in (connect(), connect()):
        for _ in range(5):
            other.read(FEEDS)
    with pytest.raises(RetryableError, match="HTTP 429"):
        impatient.read(FEEDS)
    asked = hermes.state()["counts"]["requests"]
    with pytest.raises(HeldBackError):
        impatient.read(FEEDS)
    assert hermes.state()["counts"]["requests"] == asked


def test_failures_are_retried_once_and_then_told(
    connect: Callable[..., HermesSource], hermes: Hermes
) -> None:
    hermes.set_faults({"failing_fraction": 1.0})
    with pytest.raises(RetryableError, match="HTTP 503; Hermes answered HTTP 503"):
        connect().read(FEEDS)
    assert hermes.state()["counts"]["requests"] == 2


def _streamed(source: HermesSource, hermes: Hermes, price: str) -> None:
    """Return when a price has come over the stream, with nothing asked."""
    hermes.set_prices({ETH: Decimal(price)})

    def has_come() -> bool:
        before = hermes.state()["counts"].get("latest", 0)
        try:
            found = source.read(FEEDS)["ETH"]
        except RetryableError:
            # Asked so often meanwhile that there is nothing left but to wait for the stream.
            return False
        return hermes.state()["counts"].get("latest", 0) == before and _price(found) == Decimal(price)

    eventually(has_come, within_s=10)


def test_a_stream_delivers_without_being_asked(connect: Callable[..., HermesSource], hermes: Hermes) -> None:
    source = connect(transport="stream")
    _streamed(source, hermes, "3100")
    asked = hermes.state()["counts"]["requests"]
    for price in ("3200", "3300"):
        _streamed(source, hermes, price)
    assert hermes.state()["counts"]["requests"] == asked


@pytest.mark.parametrize("fault", ["cut", "silent"])
def test_a_stream_that_fails_is_bridged_by_asking_and_comes_back(
    connect: Callable[..., HermesSource], hermes: Hermes, fault: str
) -> None:
    source = connect(transport="stream")
    _streamed(source, hermes, "3100")
    hermes.set_faults({fault: 1.0})
    hermes.set_prices({ETH: Decimal(3200)})

    asked = hermes.state()["counts"].get("latest", 0)

    def was_asked() -> bool:
        try:
            found = source.read(FEEDS)["ETH"]
        except RetryableError:
            return False
        return hermes.state()["counts"].get("latest", 0) > asked and _price(found) == 3200

    eventually(was_asked, within_s=10)
    hermes.set_faults({fault: 0.0})
    _streamed(source, hermes, "3300")


def test_the_daily_close_is_no_failure(connect: Callable[..., HermesSource], hermes: Hermes) -> None:
    hermes.set_faults({"stream_s": 0.5})
    source = connect(transport="stream", silence_s=3.0)
    _streamed(source, hermes, "3100")
    asked = hermes.state()["counts"].get("latest", 0)
    eventually(lambda: source.read(FEEDS) and hermes.state()["counts"]["streams"] >= 3, within_s=10)
    assert hermes.state()["counts"].get("latest", 0) == asked


def test_a_wrong_exponent_and_an_old_time_are_passed_on_as_they_are(
    connect: Callable[..., HermesSource], hermes: Hermes
) -> None:
    """Whether they may be believed is for the judgement, which knows the feed's rhythm and the others."""
    hermes.set_faults({"exponent_shift": 3, "stale_s": 600})
    eth = connect().read(FEEDS)["ETH"]
    assert isinstance(eth, SourceAnswer)
    assert eth.exponent == -5
    assert eth.observed_s <= time.time() - 599
