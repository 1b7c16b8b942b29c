"""One account's (VaR 99, ES 97.5) from its P&L, as other libraries compute them.

    python -m benchmarks.risk.peers ARRAYS.npz     (returns: float64[S, A], exposures: float64[n, A])

They are the extra `bench-peers` and are installed from `requirements-bench-peers.txt` into an environment of
their own, which :func:`measure_peers` makes: none of them is among the project's own dependencies. This
module runs in that environment and in the project's, so it imports nothing of either but NumPy.
"""

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import best_of
from benchmarks.peer_environment import ROOT, peer_python

PINS = ROOT / "requirements-bench-peers.txt"

Peer = Callable[[np.ndarray], tuple[float, float]]


@dataclass(frozen=True)
class PeerResult:
    """What a peer found for each account, as (VaR, ES), and its CPU time per account."""

    name: str
    cpu_us: float
    found: list[tuple[float, float]]


def measure_peers(returns: np.ndarray, exposures: np.ndarray) -> list[PeerResult]:
    """Every peer on the same arrays, in the peers' environment.

    Raises:
        subprocess.CalledProcessError: it could not be made, or a peer failed.
    """
    python = peer_python("bench-peers", PINS)
    with tempfile.NamedTemporaryFile(suffix=".npz") as arrays:
        np.savez(arrays, returns=returns, exposures=exposures)
        arrays.flush()
        command = [str(python), "-m", "benchmarks.risk.peers", arrays.name]
        answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return [PeerResult(**row) for row in json.loads(answer.stdout)]


def _plain_numpy() -> Peer:
    return lambda pnl: (
        -float(np.percentile(pnl, 1.0)),
        -float(pnl[pnl <= np.percentile(pnl, 2.5)].mean()),
    )


def _pandas() -> Peer:
    pandas = _load("pandas")

    def measure(pnl: np.ndarray) -> tuple[float, float]:
        series = pandas.Series(pnl)
        return -series.quantile(0.01), -series[series <= series.quantile(0.025)].mean()

    return measure


def _riskfolio() -> Peer:
    functions = _load("riskfolio").RiskFunctions
    return lambda pnl: (functions.VaR_Hist(pnl, alpha=0.01), functions.CVaR_Hist(pnl, alpha=0.025))


def _skfolio() -> Peer:
    measures = _load("skfolio.measures")
    return lambda pnl: (measures.value_at_risk(pnl, beta=0.99), measures.cvar(pnl, beta=0.975))


def _empyrical() -> Peer:
    empyrical = _load("empyrical")
    return lambda pnl: (
        -empyrical.value_at_risk(pnl, cutoff=0.01),
        -empyrical.conditional_value_at_risk(pnl, cutoff=0.025),
    )


def _quantlib() -> Peer:
    quantlib = _load("QuantLib")

    def measure(pnl: np.ndarray) -> tuple[float, float]:
        statistics = quantlib.RiskStatistics()
        statistics.add(pnl.tolist())
        return statistics.valueAtRisk(0.99), statistics.expectedShortfall(0.975)

    return measure


def _quantstats() -> Peer:
    pandas, stats = _load("pandas"), _load("quantstats.stats")

    def measure(pnl: np.ndarray) -> tuple[float, float]:
        series = pandas.Series(pnl)
        value_at_risk = stats.value_at_risk(series, confidence=0.99, prepare_returns=False)
        return -value_at_risk, -stats.cvar(series, confidence=0.975, prepare_returns=False)

    return measure


def _load(module: str) -> Any:
    return importlib.import_module(module)


_PEERS: dict[str, Callable[[], Peer]] = {
    "numpy": _plain_numpy,
    "pandas": _pandas,
    "riskfolio-lib": _riskfolio,
    "skfolio": _skfolio,
    "empyrical-reloaded": _empyrical,
    "QuantLib": _quantlib,
    "quantstats": _quantstats,
}
"""How each library is asked, by the name of its distribution."""


def main() -> None:
    """Measure every peer; JSON on standard output."""
    parser = argparse.ArgumentParser(description="Peers of the risk core")
    parser.add_argument("arrays", type=Path)
    arrays = np.load(parser.parse_args().arrays)
    returns, exposures = arrays["returns"], arrays["exposures"]
    results: list[PeerResult] = []
    for name, build in _PEERS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = build()

            def each(peer: Peer = peer) -> list[tuple[float, float]]:
                return [peer(returns @ account) for account in exposures]

            found = [(float(var), float(es)) for var, es in each()]
            timing = best_of(each, repeats=2)
        title = f"{name} {version(name)}"
        results.append(PeerResult(title, timing.cpu_s / len(exposures) * 1e6, found))
    json.dump([asdict(result) for result in results], sys.stdout)


if __name__ == "__main__":
    main()
