"""What published packages make of the golden examples: writes data/packages.json (``make goldens``).

    python -m tests.golden.packages

Runs in the environment of the benchmarks' peers, none of which the project depends on; the tests read the
file. Every value is as the package returned it, at full precision, beside the package's version and the call.
The returns are data/hedge_fund_returns.csv, the first hundred months of three EDHEC hedge-fund indices (data
set `edhec` of the R package PerformanceAnalytics); the account holds 300,000, 400,000 and 300,000 USD.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_environment import ROOT, peer_python

DATA = Path(__file__).parent / "data"
PINS = ROOT / "requirements-bench-peers.txt"
EXPOSURES_USD = (300_000.0, 400_000.0, 300_000.0)
AGE_DECAY = 0.995


def monthly_returns() -> np.ndarray:
    """Simple returns of three hedge-fund indices, [100 months, 3], oldest first."""
    return np.loadtxt(DATA / "hedge_fund_returns.csv", delimiter=",", skiprows=1, usecols=(1, 2, 3))


def age_weights(n: int) -> np.ndarray:
    """λⁱ(1 − λ)/(1 − λⁿ) for the observation i periods old, oldest first."""
    weights: np.ndarray = AGE_DECAY ** np.arange(n)[::-1] * (1.0 - AGE_DECAY) / (1.0 - AGE_DECAY**n)
    return weights


def _case(measure: str, distribution: str, call: str, value: object) -> dict[str, Any]:
    return {
        "measure": measure,
        "package": f"{distribution} {version(distribution)}",
        "call": call,
        "value": np.asarray(value, dtype=np.float64).tolist(),
    }


def record() -> list[dict[str, Any]]:
    """Every case; in the peers' environment only."""
    pandas, arch = _load("pandas"), _load("arch.univariate")
    riskfolio, skfolio = _load("riskfolio").RiskFunctions, _load("skfolio.measures")
    ledoit_wolf = _load("sklearn.covariance").ledoit_wolf

    returns, held = monthly_returns(), np.array(EXPOSURES_USD)
    pnl = returns @ held
    frame = pandas.DataFrame(returns)
    weights = age_weights(len(pnl))
    cases = []
    for level in (0.95, 0.975, 0.99):
        alpha = round(1 - level, 3)
        cases += [
            _case(
                f"VaR {level}",
                "riskfolio-lib",
                f"RiskFunctions.VaR_Hist(pnl, alpha={alpha})",
                riskfolio.VaR_Hist(pnl, alpha=alpha),
            ),
            _case(
                f"ES {level}",
                "riskfolio-lib",
                f"RiskFunctions.CVaR_Hist(pnl, alpha={alpha})",
                riskfolio.CVaR_Hist(pnl, alpha=alpha),
            ),
            _case(
                f"ES {level}", "skfolio", f"measures.cvar(pnl, beta={level})", skfolio.cvar(pnl, beta=level)
            ),
        ]
    for columns in ([0, 1], [0, 2], [0, 1, 2]):
        matrix, shrinkage = ledoit_wolf(returns[:, columns])
        call = f"covariance.ledoit_wolf(returns[:, {columns}])"
        cases.append(_case(f"Ledoit-Wolf {columns}", "scikit-learn", call, [*matrix.ravel(), shrinkage]))
    for decay in (0.94, 0.97, 0.99):
        products = [
            (frame[i] * frame[j]).ewm(alpha=1 - decay, adjust=True).mean().iloc[-1]
            for i in range(3)
            for j in range(3)
        ]
        call = f"(returns[i] * returns[j]).ewm(alpha=1 - {decay}, adjust=True).mean().iloc[-1]"
        cases.append(_case(f"EWMA covariance {decay}", "pandas", call, products))
        seed = float(np.square(returns[:30, 0]).mean())
        variance = np.empty(len(returns))
        arch.EWMAVariance(decay).compute_variance(
            np.empty(0),
            np.ascontiguousarray(returns[:, 0]),
            variance,
            seed,
            np.tile([0.0, 1e9], (len(returns), 1)),
        )
        call = (
            f"univariate.EWMAVariance({decay}).compute_variance(backcast=mean square of the first 30 returns)"
        )
        cases.append(_case(f"EWMA volatility {decay}", "arch", call, np.sqrt(variance)))
    for level in (0.9, 0.95, 0.975):
        call = f"measures.cvar(pnl, beta={level}, sample_weight=age weights, λ = {AGE_DECAY})"
        cases.append(
            _case(
                f"age-weighted ES {level}",
                "skfolio",
                call,
                skfolio.cvar(pnl, beta=level, sample_weight=weights),
            )
        )
        call = f"measures.value_at_risk(pnl, beta={level}, sample_weight=age weights, λ = {AGE_DECAY})"
        cases.append(
            _case(
                f"age-weighted VaR {level}",
                "skfolio",
                call,
                skfolio.value_at_risk(pnl, beta=level, sample_weight=weights),
            )
        )
    for level in (0.95, 0.975, 0.99):
        # CVaR is piecewise linear in the exposures, so that a difference inside a piece is the derivative.
        parts = [
            held[i]
            * (skfolio.cvar(pnl + returns[:, i], beta=level) - skfolio.cvar(pnl - returns[:, i], beta=level))
            / 2
            for i in range(3)
        ]
        side = "measures.cvar(pnl {} returns[:, i], {})"
        call = f"held[i] * ({side.format('+', level)} - {side.format('-', level)}) / 2"
        cases.append(_case(f"component ES {level}", "skfolio", call, parts))
    return cases


def _load(module: str) -> Any:
    return importlib.import_module(module)


def main() -> None:
    """Record in the peers' environment, from whichever this runs in."""
    if "--record" in sys.argv:
        json.dump(record(), sys.stdout)
        return
    command = [
        str(peer_python("bench-peers", PINS)),
        "-W",
        "ignore",
        "-m",
        "tests.golden.packages",
        "--record",
    ]
    answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    (DATA / "packages.json").write_text(
        json.dumps(json.loads(answer.stdout), indent=1, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
