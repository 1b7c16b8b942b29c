"""How each price source does, for operators."""

from __future__ import annotations

import strawberry

from gateway.scalars import DateTime
from shared.domain import breakers
from shared.domain.price_sources import SourceKind
from shared.stores import price_sources

BreakerState = strawberry.enum(
    breakers.BreakerState, name="BreakerState", description="Whether a source is asked about an asset."
)
PriceSourceKind = strawberry.enum(SourceKind, name="PriceSourceKind", description="How a source is read.")


@strawberry.type(description="A source's circuit breaker for one asset.")
class SourceBreaker:
    asset: str
    state: BreakerState  # type: ignore[valid-type]


@strawberry.type(description="One place that is asked for prices.")
class PriceSource:
    id: strawberry.ID
    kind: PriceSourceKind  # type: ignore[valid-type]
    provider: str = strawberry.field(description="Sources of the same provider are not independent.")
    enabled: bool
    failing: bool = strawberry.field(description="Whether it is left alone about everything it should tell.")
    breakers: list[SourceBreaker]
    last_error: str | None
    last_error_at: DateTime | None
    last_success_at: DateTime | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    as_of: DateTime = strawberry.field(description="When this was recorded.")


def from_state(state: price_sources.SourceState) -> PriceSource:
    """A recorded state as the API shows it."""
    return PriceSource(
        id=strawberry.ID(state.source_id),
        kind=state.kind,
        provider=state.provider,
        enabled=state.is_enabled,
        failing=state.is_failing,
        breakers=[SourceBreaker(asset=asset, state=each) for asset, each in state.breakers.items()],
        last_error=state.last_error,
        last_error_at=state.last_error_at,
        last_success_at=state.last_success_at,
        latency_p50_ms=state.latency_p50_ms,
        latency_p95_ms=state.latency_p95_ms,
        as_of=state.as_of,
    )
