"""The risk of a block of accounts: what ``measure_risk`` and the pipeline compute. No clock, no I/O.

Every account of a block is valued, measured and stressed at the same marks and on the same history. One that
cannot be measured says why; it is never counted as zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.domain.closes import ModelledHistory
from shared.domain.market import Holder, Market, Valuation, value_accounts
from shared.domain.network import Network
from shared.domain.positions import Account
from shared.risk.book import Book
from shared.risk.book_risk import BookRisk
from shared.risk.house import HouseTally, exposure_matrix, tally_house
from shared.risk.measurement_policy import MeasurementPolicy, RiskMethod
from shared.risk.positions import FactorTable, Float64Array, Int64Array
from shared.risk.requirements import Requirements, requirements
from shared.risk.scenarios import ScenarioSet
from shared.risk.states import NEVER_EVALUATED
from shared.risk.stress import HistoricalScenario, StressResult, stress_book
from shared.risk.tail import BY_PARTITION, TailSelector


@dataclass(frozen=True, slots=True)
class Inputs:
    """What every block of a run rests on: the marks, the history and the policy of one moment."""

    network: Network
    market: Market
    history: ModelledHistory
    policy: MeasurementPolicy
    scenarios: tuple[HistoricalScenario, ...]
    tail: TailSelector = BY_PARTITION
    """How the worst scenarios are found: measured where it runs, and the same result whichever it is."""


@dataclass(frozen=True, slots=True)
class MethodRisk:
    """A method over a horizon for every account of a block, in order; ``risk`` is None where the history is
    too short for any. ``reasons`` says by account why it has no result."""

    method: RiskMethod
    horizon_days: int
    risk: BookRisk | None
    reasons: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class ScenarioStress:
    """A named scenario for every account of a block, in order. ``pnl_usd`` is without haircuts; an account of
    ``missing`` (assets by account) holds what has no mark or no return."""

    scenario: HistoricalScenario
    result: StressResult
    pnl_usd: Float64Array
    missing: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """An account's part of the house's loss: in which ``scenarios`` (int64[k], rising) it ends insolvent, and
    what it costs the house in each (float64[k])."""

    scenarios: Int64Array
    usd: Float64Array


@dataclass(frozen=True, slots=True)
class BlockRisk:
    """Everything measured of a block; arrays and mappings are by the account's number in it.

    ``house`` is None without a history. ``shortfalls`` has the accounts that end insolvent in any scenario of
    it. ``outside_house`` counts the accounts left out of it: unvalued, or
    exposed to an asset without returns.
    """

    inputs: Inputs
    valuations: tuple[Valuation, ...]
    exposures_usd: Float64Array
    required: Requirements
    measured: tuple[MethodRisk, ...]
    stressed: tuple[ScenarioStress, ...]
    house: HouseTally | None
    shortfalls: Mapping[int, Shortfall]
    outside_house: int


def exposures_of(market: Market, holders: Sequence[Holder]) -> Float64Array:
    """USD value of each account's net position per asset, debts negative, without haircuts: float64[n,
    n_assets + 1]. Zero where an asset has no mark; such an account is unvalued."""
    plain = FactorTable.without_haircuts(len(market.factors))
    marks = np.nan_to_num(market.marks)
    exposures = np.zeros((len(holders), len(market.factors)))
    for number, holder in enumerate(holders):
        row = plain.row(market.core_positions(holder.account.positions.values()))
        exposures[number, row.collateral_assets] = row.collateral_weights
        exposures[number, row.debt_assets] -= row.debt_weights
    return exposures * marks


def unmeasured_reason(market: Market, history: ModelledHistory, valuation: Valuation) -> str | None:
    """Why an account has no VaR by any method; None where nothing is missing."""
    if market.tick_sequence is None:
        return "no price tick has been published"
    if valuation.unvalued_assets:
        return f"no usable mark of {', '.join(valuation.unvalued_assets)}"
    lacking = history.shortfalls(valuation.holder.held_assets)
    return "; ".join(lacking) or None


def measure_block(inputs: Inputs, accounts: Sequence[Account], *, as_of: str) -> BlockRisk:
    """Measure a block of accounts."""
    market, history = inputs.market, inputs.history
    holders = [Holder(account, NEVER_EVALUATED) for account in accounts]
    valuations = tuple(value_accounts(market, holders))
    exposures = exposures_of(market, holders)
    reasons = {
        number: reason
        for number, valuation in enumerate(valuations)
        if (reason := unmeasured_reason(market, history, valuation)) is not None
    }
    is_valued = np.array([valuation.is_valued for valuation in valuations], dtype=bool)
    collateral = np.array([valuation.collateral_usd for valuation in valuations])
    debt = np.array([valuation.debt_usd for valuation in valuations])
    has_result = is_valued.copy()
    has_result[list(reasons)] = False
    included = np.flatnonzero(has_result).tolist()
    house, shortfalls = _house(inputs, holders, included)
    return BlockRisk(
        inputs=inputs,
        valuations=valuations,
        exposures_usd=exposures,
        required=requirements(
            np.where(is_valued, collateral, np.nan), np.where(is_valued, debt, np.nan), market.policy
        ),
        measured=tuple(
            _measure(inputs, exposures, reasons, method, horizon_days=horizon_days, as_of=as_of)
            for method in inputs.policy.recorded_methods
            for horizon_days in inputs.policy.horizons_days
        ),
        stressed=_stress(inputs, holders, valuations, exposures, as_of),
        house=house,
        shortfalls=shortfalls,
        outside_house=len(accounts) - (0 if house is None else len(included)),
    )


def _measure(
    inputs: Inputs,
    exposures: Float64Array,
    reasons: Mapping[int, str],
    method: RiskMethod,
    *,
    horizon_days: int,
    as_of: str,
) -> MethodRisk:
    models = inputs.history.models
    if models is None:
        without = dict.fromkeys(range(len(exposures)), "no asset has enough history")
        return MethodRisk(method, horizon_days, None, {**without, **reasons})
    risk = models.measure(
        method,
        exposures,
        inputs.policy.levels,
        horizon_days=horizon_days,
        as_of=as_of,
        selector=inputs.tail,
    )
    all_reasons = dict(reasons)
    for number in np.flatnonzero(risk.unmeasured).tolist():
        all_reasons.setdefault(number, domain_reason(method))
    return MethodRisk(method, horizon_days, risk, all_reasons)


def domain_reason(method: RiskMethod) -> str:
    """Why a method has no result for an account whose marks and history are complete."""
    return f"its moments are outside the domain of {method}; take another method"


def _stress(
    inputs: Inputs,
    holders: Sequence[Holder],
    valuations: Sequence[Valuation],
    exposures: Float64Array,
    as_of: str,
) -> tuple[ScenarioStress, ...]:
    market, listed = inputs.market, (*inputs.market.assets, "")
    book = Book.from_rows([valuation.row for valuation in valuations], len(market.factors))
    order = book.rows_of(range(len(holders)))
    found = []
    for scenario in inputs.scenarios:
        returns: ScenarioSet = scenario.scenario_set(listed, inputs.policy.stress_declared(scenario.shocks))
        result = stress_book(book, market.valued_at.values, returns, market.policy, as_of=as_of)
        in_order = StressResult(
            result.collateral_usd[:, order],
            result.debt_usd[:, order],
            result.states[:, order],
            result.shortfall_usd,
            result.basis,
        )
        without = {market.assets[i] for i in returns.missing if i < len(market.assets)}
        missing: dict[int, tuple[str, ...]] = {}
        for number, holder in enumerate(holders):
            unvalued = market.unvalued_assets(holder.account.positions.values())
            lacking = tuple(a for a in holder.held_assets if a in without or a in unvalued)
            if lacking:
                missing[number] = lacking
        found.append(ScenarioStress(scenario, in_order, exposures @ returns.returns[0], missing))
    return tuple(found)


def house_chains(network: Network) -> tuple[int, ...]:
    """The chains of the house's tally, in order; one more column is for whatever is not listed."""
    return tuple(sorted(network.chains))


def _house(
    inputs: Inputs, holders: Sequence[Holder], included: Sequence[int]
) -> tuple[HouseTally | None, dict[int, Shortfall]]:
    models = inputs.history.models
    if models is None:
        return None, {}
    market, chains = inputs.market, house_chains(inputs.network)
    columns: dict[tuple[int, str], int] = {}
    rows: list[int] = []
    at: list[int] = []
    held: list[float] = []
    owed: list[float] = []
    for row, number in enumerate(included):
        for position in holders[number].account.positions.values():
            debt_base = market.debt_base(position)
            if debt_base is None:
                raise AssertionError(f"{position.key} has a result without an index")
            if not (position.collateral_base or debt_base):
                continue
            mark = float(market.prices[position.asset])
            rows.append(row)
            at.append(columns.setdefault((position.chain_id, position.asset), len(columns)))
            held.append(position.collateral_base / 10**position.decimals * mark)
            owed.append(debt_base / 10**position.decimals * mark)
    shape = {"n_rows": len(included), "n_columns": len(columns)}
    tally, by_account = tally_house(
        exposure_matrix(rows, at, held, **shape),
        exposure_matrix(rows, at, owed, **shape),
        models.scenarios(RiskMethod.FILTERED),
        asset_of_column=np.array([market.index(asset) for _, asset in columns], dtype=np.int64),
        chain_of_column=np.array(
            [chains.index(chain) if chain in chains else len(chains) for chain, _ in columns],
            dtype=np.int64,
        ),
        n_chains=len(chains) + 1,
    )
    shortfalls: dict[int, Shortfall] = {}
    for row in np.flatnonzero(np.diff(by_account.indptr)).tolist():
        part = slice(by_account.indptr[row], by_account.indptr[row + 1])
        shortfalls[included[row]] = Shortfall(
            by_account.indices[part].astype(np.int64), by_account.data[part]
        )
    return tally, shortfalls
