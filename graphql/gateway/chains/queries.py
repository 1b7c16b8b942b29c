"""``chainSync``."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import asyncio

import strawberry

from gateway.chains.types import ChainProvider, ChainSync
from gateway.context import Info
from gateway.permissions import NeedsOperationsScope
from shared.domain.chain_progress import ChainProgress
from shared.domain.network import Chain
from shared.domain.reconciliation import Reconciliation
from shared.stores import chain_cursors, chain_sync, position_differences, reconciliations


@strawberry.type
class ChainQueries:
    """Mixed into the schema's Query."""

    @strawberry.field(
        permission_classes=[NeedsOperationsScope],
        description="For operators: how far each chain has been relayed, and how its providers do.",
    )
    async def chain_sync(self, info: Info) -> list[ChainSync]:
        stores = info.context.stores
        chains = list(info.context.network.chains.values())
        found = await asyncio.gather(
            *(
                asyncio.gather(
                    stores.read(chain_cursors.find, chain.chain_id),
                    stores.read(chain_sync.find, chain.chain_id),
                    stores.read(reconciliations.find, chain.chain_id),
                    stores.read(position_differences.count_announced, chain.chain_id),
                )
                for chain in chains
            )
        )
        return [
            _combined(
                chain,
                None if cursor is None else cursor[0],
                seen,
                None if reconciled is None else reconciled[0],
                differences,
            )
            for chain, (cursor, seen, reconciled, differences) in zip(chains, found, strict=True)
        ]


def _combined(
    chain: Chain,
    progress: ChainProgress | None,
    seen: chain_sync.ChainSync | None,
    reconciliation: Reconciliation | None,
    differences: int,
) -> ChainSync:
    lag_blocks = lag_s = None
    if seen is not None:
        lag_blocks = max(0, seen.head_number - chain.confirmations - seen.cursor_number)
        lag_s = max(0, seen.head_time - seen.cursor_time)
    return ChainSync(
        chain_id=chain.chain_id,
        name=chain.name,
        as_of=seen.as_of if seen else None,
        head_number=seen.head_number if seen else None,
        cursor_number=progress.block_number if progress else None,
        final_number=progress.final_number if progress else None,
        verified_number=progress.verified_number if progress else None,
        lag_blocks=lag_blocks,
        lag_s=lag_s,
        reorganisations=progress.revision if progress else 0,
        retractions=seen.retractions if seen else 0,
        completeness_differences=progress.differences if progress else 0,
        gaps=[seen.unreadable] if seen and seen.unreadable else [],
        retries=seen.retries if seen else 0,
        forks=seen.forks if seen else 0,
        head_regressions=seen.head_regressions if seen else 0,
        reconciled_block=reconciliation.completed_block if reconciliation else None,
        reconciled_at=reconciliation.completed_at if reconciliation else None,
        position_differences=differences,
        halted=progress.halted if progress else None,
        providers=[
            ChainProvider(
                name=each.name,
                score=each.score,
                requests=each.requests,
                failures=each.failures,
                rate_limits=each.rate_limits,
                latency_s=each.latency_s,
                block_range=each.block_range,
            )
            for each in (seen.providers if seen else ())
        ],
    )
