"""A chain's relay and its providers."""

from __future__ import annotations

import strawberry

from gateway.scalars import DateTime


@strawberry.type(description="One provider of a chain, since the relay's process began.")
class ChainProvider:
    name: str = strawberry.field(description="Its place in the list of nodes; never its URL.")
    score: float = strawberry.field(description="From 0 (every recent request failed) to 1.")
    requests: int
    failures: int
    rate_limits: int
    latency_s: float | None
    block_range: int = strawberry.field(description="Blocks that one log request to it asks for now.")


@strawberry.type(description="How far the relay of a chain is. Figures are those of `asOf`, seconds old.")
class ChainSync:
    chain_id: int
    name: str
    as_of: DateTime | None = strawberry.field(description="When the relay last wrote its figures.")
    head_number: int | None
    cursor_number: int | None = strawberry.field(description="The last block whose events are announced.")
    final_number: int | None = strawberry.field(description="The last block that counts as final.")
    verified_number: int | None = strawberry.field(
        description="The last block that was read a second time after it was final."
    )
    lag_blocks: int | None = strawberry.field(
        description="Blocks behind the head that could be announced by now."
    )
    lag_s: int | None = strawberry.field(description="Seconds between the times of head and cursor.")
    reorganisations: int
    retractions: int = strawberry.field(description="Events taken back since the relay's process began.")
    completeness_differences: int = strawberry.field(
        description="How often a provider gave other logs than there are; each was repaired."
    )
    gaps: list[str] = strawberry.field(description="What cannot be read from any provider, and why.")
    retries: int
    forks: int = strawberry.field(description="How often a provider showed a chain that was not believed.")
    head_regressions: int
    reconciled_block: int | None = strawberry.field(
        description="The last final block at which all positions were compared with the vault."
    )
    reconciled_at: DateTime | None
    position_differences: int = strawberry.field(
        description="Positions that are not the vault's, of which operators were told."
    )
    halted: str | None = strawberry.field(description="Why nothing more may be announced, if so.")
    providers: list[ChainProvider]
