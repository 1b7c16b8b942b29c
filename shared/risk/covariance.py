"""Covariance matrices of returns: EWMA (RiskMetrics) and Ledoit–Wolf shrinkage.

Sources: RiskMetrics Technical Document, 4th ed. (1996), ch. 5; Ledoit and Wolf, A well-conditioned
estimator for large-dimensional covariance matrices, J. Multivariate Analysis 88 (2004).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from shared.risk.positions import Float64Array
from shared.risk.scenarios import JoinedHistory
from shared.risk.tail import InsufficientHistoryError


@dataclass(frozen=True)
class CovarianceModel:
    """A covariance of daily returns, `matrix` float64[n_assets, n_assets], and where it comes from.

    `missing` assets have rows and columns of zeros, and an account exposed to one has no result.
    """

    matrix: Float64Array
    definition: str
    missing: tuple[int, ...] = ()
    first: str | None = None
    last: str | None = None
    n_observations: int = 0

    @cached_property
    def id(self) -> str:
        """Hexadecimal digest of definition, matrix and missing assets."""
        digest = hashlib.sha256(f"{self.definition}|{self.missing}|{self.matrix.shape}".encode())
        digest.update(np.ascontiguousarray(self.matrix).tobytes())
        return digest.hexdigest()[:16]


def ewma_model(history: JoinedHistory, decay: float = 0.94) -> CovarianceModel:
    """`ewma_covariance` of the assets that have a history."""
    return _model(history, f"ewma-{decay:g}", lambda returns: ewma_covariance(returns, decay))


def ledoit_wolf_model(history: JoinedHistory) -> CovarianceModel:
    """`ledoit_wolf_covariance` of the assets that have a history."""
    return _model(history, "ledoit-wolf", lambda returns: ledoit_wolf_covariance(returns).matrix)


def _model(
    history: JoinedHistory, definition: str, estimate: Callable[[Float64Array], Float64Array]
) -> CovarianceModel:
    n_assets = history.returns.shape[1]
    known = np.setdiff1d(np.arange(n_assets), history.missing)
    matrix = np.zeros((n_assets, n_assets))
    matrix[np.ix_(known, known)] = estimate(history.returns[:, known])
    first, last = str(history.dates[0]), str(history.dates[-1])
    return CovarianceModel(matrix, definition, history.missing, first, last, int(history.dates.size))


class ShrunkCovariance(NamedTuple):
    """`matrix` float64[n, n] = (1 − shrinkage)·sample + shrinkage·μ·I, with μ the mean sample variance."""

    matrix: Float64Array
    shrinkage: float


def ewma_covariance(returns: Float64Array, decay: float = 0.94) -> Float64Array:
    """float64[n, n]: Σ wᵢ rᵢ rᵢᵀ with wᵢ ∝ λ^age, summing to 1, zero mean. `returns` [T, n], oldest first."""
    _check(returns)
    if not 0.0 < decay < 1.0:
        raise ValueError(f"decay: {decay} is outside 0 < decay < 1")
    weights = decay ** np.arange(returns.shape[0])[::-1]
    weights /= weights.sum()
    covariance: Float64Array = (returns * weights[:, None]).T @ returns
    return covariance


def ledoit_wolf_covariance(returns: Float64Array) -> ShrunkCovariance:
    """The sample covariance (about the mean, divisor T) shrunk towards a multiple of the identity by the
    optimal share.

    With X centred, S = XᵀX/T, μ = tr S / n, δ² = ‖S − μI‖², β² = Σₜ ‖xₜxₜᵀ − S‖² / T²:
    shrinkage = min(β², δ²) / δ² (squared Frobenius norms).
    """
    _check(returns)
    n_returns, n_assets = returns.shape
    centred = returns - returns.mean(axis=0)
    sample = centred.T @ centred / n_returns
    mean_variance = float(np.trace(sample)) / n_assets
    distance = float(np.square(sample).sum()) - n_assets * mean_variance**2
    # ‖xxᵀ‖² = (xᵀx)², and Σₜ xₜxₜᵀ = T·S, so the noise needs no tensor of outer products.
    fourth = float(np.square(np.square(centred).sum(axis=1)).sum())
    noise = (fourth / n_returns - float(np.square(sample).sum())) / n_returns
    shrinkage = 0.0 if distance <= 0.0 else min(max(noise, 0.0), distance) / distance
    matrix = (1.0 - shrinkage) * sample
    matrix[np.diag_indices(n_assets)] += shrinkage * mean_variance
    return ShrunkCovariance(matrix, shrinkage)


def _check(returns: Float64Array) -> None:
    if returns.ndim != 2 or not np.isfinite(returns).all():
        raise ValueError("returns: must be [T, n] and finite; leave missing assets out")
    if returns.shape[0] < 2:
        raise InsufficientHistoryError("covariance", 2, returns.shape[0])
