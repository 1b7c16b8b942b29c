"""One account's (VaR 99, ES 97.5) from its P&L, as other libraries compute them.

They are an optional extra and imported only here, by name, when the benchmark runs.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

Peer = Callable[[np.ndarray], tuple[float, float]]


def installed_peers() -> tuple[dict[str, Peer], list[str]]:
    """(peers by name, names of those not installed)."""
    found: dict[str, Peer] = {"plain NumPy percentile": _plain_numpy}
    absent = []
    for module, build in _BUILDERS.items():
        if importlib.util.find_spec(module):
            found[module] = build(importlib.import_module(module))
        else:
            absent.append(module)
    return found, absent


def _plain_numpy(pnl: np.ndarray) -> tuple[float, float]:
    return -float(np.percentile(pnl, 1.0)), -float(pnl[pnl <= np.percentile(pnl, 2.5)].mean())


def _pandas(pandas: Any) -> Peer:
    def measure(pnl: np.ndarray) -> tuple[float, float]:
        series = pandas.Series(pnl)
        return -series.quantile(0.01), -series[series <= series.quantile(0.025)].mean()

    return measure


def _riskfolio(riskfolio: Any) -> Peer:
    functions = riskfolio.RiskFunctions
    return lambda pnl: (functions.VaR_Hist(pnl, alpha=0.01), functions.CVaR_Hist(pnl, alpha=0.025))


def _skfolio(skfolio: Any) -> Peer:
    measures = importlib.import_module(f"{skfolio.__name__}.measures")
    return lambda pnl: (measures.value_at_risk(pnl, beta=0.99), measures.cvar(pnl, beta=0.975))


def _empyrical(empyrical: Any) -> Peer:
    return lambda pnl: (
        -empyrical.value_at_risk(pnl, cutoff=0.01),
        -empyrical.conditional_value_at_risk(pnl, cutoff=0.025),
    )


def _quantlib(quantlib: Any) -> Peer:
    def measure(pnl: np.ndarray) -> tuple[float, float]:
        statistics = quantlib.RiskStatistics()
        statistics.add(pnl.tolist())
        return statistics.valueAtRisk(0.99), statistics.expectedShortfall(0.975)

    return measure


def _quantstats(quantstats: Any) -> Peer:
    pandas = importlib.import_module("pandas")

    def measure(pnl: np.ndarray) -> tuple[float, float]:
        series = pandas.Series(pnl)
        value_at_risk = quantstats.stats.value_at_risk(series, confidence=0.99, prepare_returns=False)
        return -value_at_risk, -quantstats.stats.cvar(series, confidence=0.975, prepare_returns=False)

    return measure


_BUILDERS: dict[str, Callable[[Any], Peer]] = {
    "pandas": _pandas,
    "riskfolio": _riskfolio,
    "skfolio": _skfolio,
    "empyrical": _empyrical,
    "QuantLib": _quantlib,
    "quantstats": _quantstats,
}
