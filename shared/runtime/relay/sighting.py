"""What the providers of a chain show of it, and whom of them to believe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.chain.blocks import Block, header_call, parse_block, read_headers
from shared.chain.rpc import Provider, ProviderError, RpcClient
from shared.domain.chain_progress import ChainProgress
from shared.domain.network import Chain
from shared.errors import RetryableError

_FIRST_STEPS_BACK = 8
_MOST_STEPS_BACK = 512


class Standing(StrEnum):
    """How a provider's chain stands to what was announced."""

    EXTENDS = "extends"
    BEHIND = "behind"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one provider shows. ``final_number`` is the last block that it lets count as final, ``shown_hash``
    what it has in the place of the last announced block (or of its head, where that is before it)."""

    provider: Provider
    head: Block
    final_number: int
    standing: Standing
    shown_hash: str


@dataclass(frozen=True, slots=True)
class View:
    """Whom to believe. ``others`` may be asked for a second opinion.

    ``forks`` counts the providers that were outvoted on what was announced.
    """

    sight: Sight
    others: Sequence[Provider]
    forks: int = 0


def look(client: RpcClient, chain: Chain, progress: ChainProgress | None) -> View:
    """Ask for the head, until a provider's chain builds on what was announced.

    A provider that shows another chain is believed only where more providers do so than show ours (or as
    many, and theirs is longer): a vanished block is then a reorganisation. One that is only behind is
    believed by nobody.

    Raises:
        RetryableError: no provider answered.
    """
    sights: list[Sight] = []
    failures: list[str] = []
    for provider in client.usable():
        try:
            sight = ask(provider, chain, progress)
        except RetryableError as error:
            failures.append(f"{provider.name}: {error}")
            continue
        sights.append(sight)
        if sight.standing is Standing.EXTENDS and all(s.standing is not Standing.DIFFERS for s in sights):
            break
    if not sights:
        reasons = "; ".join(failures) or "every node asked to be left alone for a while"
        raise RetryableError(f"chain {chain.chain_id}: no node answered: {reasons}")
    ours = [sight for sight in sights if sight.standing is not Standing.DIFFERS]
    theirs = [sight for sight in sights if sight.standing is Standing.DIFFERS]
    longest_ours = max((sight.head.number for sight in ours), default=-1)
    longest_theirs = max((sight.head.number for sight in theirs), default=-1)
    believed = theirs if (len(theirs), longest_theirs) > (len(ours), longest_ours) else ours
    outvoted = theirs if believed is ours else ours
    for sight in outvoted:
        if sight.standing is not Standing.BEHIND:
            sight.provider.health.failed()
    best = max(believed, key=lambda sight: (sight.standing is not Standing.BEHIND, sight.head.number))
    wrong = {sight.provider.name for sight in outvoted}
    others = [p for p in client.usable() if p is not best.provider and p.name not in wrong]
    return View(best, others, forks=len(theirs) if believed is ours else 0)


def ask(provider: Provider, chain: Chain, progress: ChainProgress | None) -> Sight:
    """What one provider shows.

    Raises:
        ProviderError: it shows nothing that can be used.
    """
    calls = [header_call("latest")]
    if isinstance(chain.finality, str):
        calls.append(header_call(chain.finality.value))
    if progress is not None:
        calls.append(header_call(progress.block_number))
    answers = provider.results(calls)
    head = parse_block(answers[0])
    if isinstance(chain.finality, str):
        final_number = parse_block(answers[1]).number
    else:
        final_number = head.number - chain.finality
    if progress is None:
        return Sight(provider, head, final_number, Standing.EXTENDS, head.hash)
    if head.number < progress.block_number:
        known = progress.hash_of(head.number)
        standing = Standing.BEHIND if known in (None, head.hash) else Standing.DIFFERS
        return Sight(provider, head, final_number, standing, head.hash)
    announced = parse_block(answers[-1], progress.block_number)
    standing = Standing.EXTENDS if announced.hash == progress.block_hash else Standing.DIFFERS
    return Sight(provider, head, final_number, standing, announced.hash)


def common_ancestor(sight: Sight, progress: ChainProgress) -> int | None:
    """The last announced block that the provider's chain still has; None where it has none that is known.

    Raises:
        ProviderError: the provider failed, or its blocks are not of one chain.
    """
    upper = min(progress.block_number, sight.head.number)
    steps = _FIRST_STEPS_BACK
    child: Block | None = None
    while upper >= progress.first_known:
        lower = max(progress.first_known, upper - steps + 1)
        headers = read_headers(sight.provider, lower, upper)
        if child is not None and child.parent_hash != headers[-1].hash:
            raise ProviderError(f"block {child.number} changed while it was being asked for")
        for header in reversed(headers):
            if progress.hash_of(header.number) == header.hash:
                return header.number
        child, upper = headers[0], lower - 1
        steps = min(2 * steps, _MOST_STEPS_BACK)
    return None
