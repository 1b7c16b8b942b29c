"""What is done to a stage, one thing after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.chain import blocks
from shared.chain.rpc import RpcClient
from tests.chaos.chain.crashing import Crashes
from tests.chaos.chain.relays import Relays
from tests.chaos.chain.stage import BLOCK_RANGE, FINALITY, Stage

_STILL = {"failing_fraction": 0.0, "lying_fraction": 0.0, "fork_fraction": 0.0, "most_blocks": 0.0}
_LONGER_THAN_ANY_TIMEOUT_S = 11.0
_STORM_PAUSE_S = 0.5
_MOST_POINTS = 2_000
_LARGE_BLOCK = 460
_FAR_BEHIND = 4 * BLOCK_RANGE

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    outages: tuple[int, ...]
    depths: tuple[int, ...]
    crash_points: int
    escrows: int
    storm_s: int
    failing_s: int
    timeouts_s: int


SHORT = Plan((600,), (1, 5, FINALITY - 1), crash_points=8, escrows=100, storm_s=8, failing_s=5, timeouts_s=0)
FULL = Plan(
    (600, 5_000, 100_000),
    tuple(range(1, FINALITY)),
    crash_points=_MOST_POINTS,
    escrows=10_000,
    storm_s=180,
    failing_s=180,
    timeouts_s=60,
)


def outages(stage: Stage, plan: Plan, say: Say) -> None:
    """Blocks that nobody reads, with events at their beginning, middle and end; then two relays at once."""
    stage.disturb(failing_fraction=0.1, hold_s=0.2, lying_fraction=0.1, most_blocks=400)
    for length in plan.outages:
        say(f"an outage of {length} blocks")
        stage.act(7)
        for _ in range(5):
            stage.act(5)
            stage.mine_empty(length // 5)
        stage.act(7)
        stage.injected[f"outage of {length} blocks"] += 1
        began = time.monotonic()
        stage.catch_up(relays=2)
        say(f"announced after {time.monotonic() - began:.0f} s")
    stage.disturb(**_STILL)


def failing(stage: Stage, plan: Plan, say: Say) -> None:
    """Half of the requests fail for minutes, a tenth of the answers are wrong; two relays race."""
    say(
        f"half of the requests fail for {plan.failing_s} s, a tenth of the answers are wrong; two relays race"
    )
    stage.disturb(failing_fraction=0.5, hold_s=0.2, lying_fraction=0.1, most_blocks=100)
    _act_for(stage, plan.failing_s)
    stage.injected["seconds in which half of the requests failed"] += plan.failing_s
    if plan.timeouts_s:
        say(f"some requests are held longer than any timeout, for {plan.timeouts_s} s")
        stage.disturb(failing_fraction=0.1, hold_s=_LONGER_THAN_ANY_TIMEOUT_S, most_blocks=0)
        _act_for(stage, plan.timeouts_s)
        stage.injected["seconds with requests held beyond the timeout"] += plan.timeouts_s
    say("nearly half of the answers are wrong")
    stage.disturb(failing_fraction=0.0, hold_s=0.2, lying_fraction=0.4, most_blocks=0)
    for _ in range(8):
        stage.act(6)
        stage.catch_up()
    stage.disturb(**_STILL)


def _act_for(stage: Stage, seconds: int) -> None:
    ends_at = time.monotonic() + seconds
    while True:
        stage.act(6)
        stage.catch_up(relays=2)
        if time.monotonic() >= ends_at:
            return


def another_fork(stage: Stage, fork: RpcClient, say: Say) -> None:
    """One of the two ways leads to a node with another chain: now and then, then always; then back."""
    for number in range(2 * FINALITY // 3):
        fork.call(
            "eth_sendTransaction",
            {"from": stage.accounts[2], "to": stage.accounts[3], "value": hex(number + 1), "gas": "0x5208"},
        )
        stage.act(1)
    # Neither node's chain is the longer one for long: which is believed changes.
    stage.catch_up()
    for fraction in (0.3, 1.0, 0.3):
        say(f"a provider answers {fraction:.0%} of the requests from another fork")
        # The other way fails often enough for the fork to be asked, and at times to be all that there is.
        stage.disturb(stage.proxies[0], failing_fraction=0.5, hold_s=0.2)
        stage.disturb(stage.proxies[1], fork_fraction=fraction, lying_fraction=0.1)
        with Relays(2):
            for _ in range(3):
                stage.act(2)
                time.sleep(_STORM_PAUSE_S)
        stage.injected["spells of a provider on another fork"] += 1
    stage.disturb(**_STILL)
    stage.act(1)
    stage.catch_up()


def reorganisations(stage: Stage, plan: Plan, say: Say) -> None:
    """Of every depth below finality, then about one a second."""
    stage.disturb(failing_fraction=0.1, hold_s=0.2, lying_fraction=0.1, most_blocks=400)
    say(f"reorganisations of {len(plan.depths)} depths, up to {max(plan.depths)} blocks")
    for depth in plan.depths:
        for _ in range(depth):
            stage.act(2)
        stage.catch_up()
        stage.reorganise(depth)
        stage.act(3)
        stage.catch_up(relays=2)
    say(f"reorganisations about one a second, {plan.storm_s} s long")
    ends_at = time.monotonic() + plan.storm_s
    depth = 0
    with Relays(2):
        while time.monotonic() < ends_at:
            stage.act(3)
            time.sleep(_STORM_PAUSE_S)
            depth = depth % 6 + 1
            stage.reorganise(depth)
            stage.injected["reorganisations in the storm"] += 1
            time.sleep(_STORM_PAUSE_S)
    stage.act(1)
    stage.catch_up()
    stage.disturb(**_STILL)


def crashes(stage: Stage, plan: Plan, say: Say) -> None:
    """Kill a relay at each of its points in turn, in every situation, until it comes through."""

    def new_block() -> None:
        stage.act(3)

    def reorganisation() -> None:
        stage.act(2)
        stage.act(1)
        stage.catch_up()
        stage.reorganise(2)
        stage.act(1)

    def large_block() -> None:
        stage.act(_LARGE_BLOCK)

    def far_behind() -> None:
        stage.act(3)
        stage.mine_empty(_FAR_BEHIND)
        stage.act(3)

    # The heavier ones die at every third point: entries and returns of all kinds come up.
    situations: Mapping[str, tuple[Callable[[], None], int]] = {
        "new block": (new_block, 1),
        "reorganisation": (reorganisation, 1),
        "block of several commits": (large_block, 3),
        "many blocks behind": (far_behind, 3),
    }
    with Crashes() as processes:
        for name, (prepare, each) in situations.items():
            died = 0
            for point in range(1, plan.crash_points, each):
                prepare()
                place = processes.die_at(point)
                if place is None:
                    break
                died += 1
                stage.injected[f"crash at {place}"] += 1
            say(f"{died} crashes: {name}")
            stage.injected[f"crashes: {name}"] += died
            stage.catch_up()


def beyond_finality(stage: Stage, say: Say) -> list[str]:
    """A reorganisation one block beyond finality halts the chain; nothing more is announced."""
    say(f"a reorganisation of {FINALITY + 1} blocks, one beyond finality")
    for _ in range(FINALITY + 1):
        stage.act(1)
    stage.catch_up()
    before = len(stage.announced.pull()), len(stage.final.pull())
    stage.reorganise(FINALITY + 1)
    with Relays(2):
        stage.wait(_is_halted(stage))
    stage.act(3)
    ends_at = time.monotonic() + _STORM_PAUSE_S
    with Relays(2):
        while time.monotonic() < ends_at:
            if not _is_halted(stage)():
                return ["the chain went on after a violation of finality"]
            time.sleep(0.05)
    if (len(stage.announced.pull()), len(stage.final.pull())) != before:
        return ["something was announced after a violation of finality"]
    return []


def _is_halted(stage: Stage) -> Callable[[], bool]:
    def is_halted() -> bool:
        progress = stage.progress()
        return progress is not None and progress.halted is not None

    return is_halted


def head_of(client: RpcClient) -> int:
    """The newest block's number."""
    return blocks.head_number(client)
