"""All chains at once: what one tick of the relay does, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from shared.domain.chain_progress import ChainProgress
from shared.errors import RetryableError
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.relay.chain_relay import ChainRelay
from shared.runtime.relay.sighting import View
from shared.runtime.relay.verification import verify_next
from shared.stores import chain_sync, database

_FIGURES_EVERY = timedelta(seconds=5)
_VERIFIED_EVERY_S = 1.0
"""Blocks become final as they come; read a second time one by one, each would hold up the one behind it."""


def begin(context: Context) -> Callable[[], bool]:
    """The step that looks at every chain once; it returns True if one has more to read.

    A chain whose nodes fail does not hold up the others.
    """
    relays = [_Reporting(ChainRelay(context, chain)) for chain in context.network.chains.values()]

    def step() -> bool:
        if len(relays) == 1:
            outcomes = [relays[0].step()]
        else:
            with ThreadPoolExecutor(len(relays)) as chains:
                outcomes = list(chains.map(_Reporting.step, relays))
        failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
        if failures:
            raise RetryableError("; ".join(failures))
        return any(outcome is True for outcome in outcomes)

    return step


class _Reporting:
    """A chain's relay that verifies when it has nothing to announce, and writes its figures."""

    def __init__(self, relay: ChainRelay) -> None:
        self._relay = relay
        self._reported_at = clock.now() - _FIGURES_EVERY
        self._verified_at = clock.monotonic() - _VERIFIED_EVERY_S

    def step(self) -> bool | str:
        """One look; whether there is more to read, or why it failed."""
        try:
            seen = self._relay.step()
            if seen is None:
                return False
            view, progress, behind = seen
            self._report(view, progress)
            return behind or self._verify(view, progress)
        except RetryableError as error:
            self._relay.counts["retries"] += 1
            return f"{self._relay.chain.name}: {error}"

    def _verify(self, view: View, progress: ChainProgress) -> bool:
        if clock.monotonic() - self._verified_at < _VERIFIED_EVERY_S:
            return False
        more = verify_next(self._relay, view, progress)
        if not more:
            self._verified_at = clock.monotonic()
        return more

    def _report(self, view: View, progress: ChainProgress) -> None:
        now = clock.now()
        if now - self._reported_at < _FIGURES_EVERY:
            return
        self._reported_at = now
        relay, head = self._relay, view.sight.head
        figures = chain_sync.ChainSync(
            chain_id=relay.chain.chain_id,
            as_of=now,
            head_number=head.number,
            head_time=head.time,
            cursor_number=progress.block_number,
            cursor_time=relay.cursor_time or head.time,
            retries=relay.counts["retries"],
            forks=relay.counts["forks"],
            head_regressions=relay.counts["head_regressions"],
            retractions=relay.counts["retractions"],
            unreadable=relay.unreadable,
            providers=[
                chain_sync.ProviderFigures(
                    name=provider.name,
                    score=health.score,
                    requests=health.requests,
                    failures=health.failures,
                    rate_limits=health.rate_limits,
                    latency_s=health.latency_s,
                    block_range=relay.sizes[provider.name].blocks,
                )
                for provider in relay.nodes.providers
                for health in (provider.health.figures(),)
            ],
        )
        commit = database.Commit(relay.database)
        commit.put(chain_sync.path(figures.chain_id), chain_sync.encode(figures))
        commit.apply()
