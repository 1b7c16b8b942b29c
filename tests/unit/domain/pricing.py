"""Sources and a policy for tests of marks: three providers, one with two sources, and a tie breaker."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from shared.domain.price_sources import PricePolicy, PriceSource, Quotation, SourceKind, Valuation
from shared.domain.quotes import SourceAnswer

AS_OF = datetime(2025, 3, 1, 12, tzinfo=UTC)
NOW_S = int(AS_OF.timestamp())


def _source(source_id: str, provider: str, *, is_tie_breaker: bool = False) -> PriceSource:
    return PriceSource(
        source_id,
        SourceKind.EXCHANGE,
        provider,
        is_enabled=True,
        is_tie_breaker=is_tie_breaker,
        timeout_s=1.0,
        base_url="https://source.example",
    )


SOURCES = {
    "chainlink": _source("chainlink", "chainlink"),
    "pyth": _source("pyth", "pyth"),
    "pyth-contract": _source("pyth-contract", "pyth"),
    "third": _source("third", "third"),
    "exchange": _source("exchange", "exchange", is_tie_breaker=True),
}
POLICY = PricePolicy(
    quorum=1,
    outlier_limit_pct=Decimal(3),
    outlier_floor_pct=Decimal("0.5"),
    outlier_mads=Decimal(5),
    max_confidence_pct=Decimal(3),
    max_jump_pct=Decimal(20),
    hold_s=10,
    carry_s=30,
    valuation=Valuation.MARK,
    peg=None,
    quotations={each: Quotation(each, 3_600, 0, 1, each) for each in ("chainlink", "pyth", "third")},
)


def policy_over(*source_ids: str, weights: dict[str, int] | None = None, **changes: object) -> PricePolicy:
    """The policy over these sources, changed."""
    quotations = {each: Quotation(each, 3_600, 0, (weights or {}).get(each, 1), each) for each in source_ids}
    return replace(POLICY, quotations=quotations, **changes)  # type: ignore[arg-type]


def usd(price: str | Decimal, *, confidence: str = "0", age_s: int = 1) -> SourceAnswer:
    """A source that says a price."""
    return SourceAnswer(
        int(Decimal(price).scaleb(8)), -8, int(Decimal(confidence).scaleb(8)), NOW_S - age_s, "1"
    )
