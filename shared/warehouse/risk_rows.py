"""The rows of a measured block: ``portfolio_risks``, ``margin_requirements``, ``stress_test_results``,
``house_shortfalls``; and ``house_risks`` of a whole run. Numbers are the risk core's float64; what has no
result is NULL, with the reason beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.margin import State, state_of
from shared.domain.market import Market
from shared.domain.risk_block import BlockRisk, Inputs, MethodRisk, ScenarioStress, house_chains
from shared.risk.basis import Basis
from shared.risk.house import TalliedRisk
from shared.risk.margin import health_pct
from shared.risk.requirements import REQUIREMENTS_DEFINITION
from shared.warehouse.rows import Row

PORTFOLIO_RISKS = "portfolio_risks"
MARGIN_REQUIREMENTS = "margin_requirements"
STRESS_TEST_RESULTS = "stress_test_results"
HOUSE_SHORTFALLS = "house_shortfalls"
HOUSE_RISKS = "house_risks"
HOUSE = "house"


def rows_of_block(block: BlockRisk, as_of: datetime) -> dict[str, list[Row]]:
    """The rows of a block by table, in one order for equal blocks."""
    return {
        PORTFOLIO_RISKS: [row for measured in block.measured for row in _risks(block, measured, as_of)],
        MARGIN_REQUIREMENTS: list(_requirements(block, as_of)),
        STRESS_TEST_RESULTS: [
            row for stressed in block.stressed for row in _stresses(block, stressed, as_of)
        ],
        HOUSE_SHORTFALLS: list(_shortfalls(block, as_of)),
    }


def _account_fields(block: BlockRisk, number: int, as_of: datetime) -> dict[str, Any]:
    account = block.valuations[number].holder.account
    return {
        "account_id": account.account_id,
        "as_of": as_of.isoformat(),
        "tick_sequence": block.inputs.market.tick_sequence,
        "position_version": account.version,
    }


def _risks(block: BlockRisk, measured: MethodRisk, as_of: datetime) -> Iterator[Row]:
    levels = block.inputs.policy.levels
    net = block.exposures_usd.sum(axis=1).tolist()
    gross = abs(block.exposures_usd).sum(axis=1).tolist()
    basis = _basis(measured.risk.basis if measured.risk is not None else None)
    for number, valuation in enumerate(block.valuations):
        reason = measured.reasons.get(number)
        account = {
            **_account_fields(block, number, as_of),
            "method": measured.method.value,
            "horizon_days": measured.horizon_days,
            "net_usd": net[number] if valuation.is_valued else None,
            "gross_usd": gross[number] if valuation.is_valued else None,
            "unmeasured_reason": reason,
            "missing_assets": missing_assets(block, number),
            **basis,
        }
        for place, level in enumerate(levels):
            row_id = (
                f"{as_of.isoformat()}:{account['account_id']}:{measured.method}:"
                f"{measured.horizon_days}d:{level:g}"
            )
            known = measured.risk if reason is None else None
            yield Row(
                PORTFOLIO_RISKS,
                row_id,
                {
                    "row_id": row_id,
                    **account,
                    "level": level,
                    "var_usd": None if known is None else _number(known.var_usd[place, number]),
                    "es_usd": None if known is None else _number(known.es_usd[place, number]),
                },
            )


def missing_assets(block: BlockRisk, number: int) -> list[str]:
    """Assets of an account that have no mark or no returns."""
    valuation = block.valuations[number]
    coverage = block.inputs.history.coverage
    without_returns = {
        a for a in valuation.holder.held_assets if a in coverage and not coverage[a].has_returns
    }
    return sorted(without_returns | set(valuation.unvalued_assets))


def _basis(basis: Basis | None) -> dict[str, Any]:
    if basis is None:
        return dict.fromkeys(
            (
                "definition",
                "scenario_set_id",
                "scenario_definition",
                "history_first",
                "history_last",
                "n_observations",
            )
        )
    return {
        "definition": basis.definition,
        "scenario_set_id": basis.scenario_set_id,
        "scenario_definition": basis.scenario_definition,
        "history_first": basis.history_first,
        "history_last": basis.history_last,
        "n_observations": basis.n_observations,
    }


def _requirements(block: BlockRisk, as_of: datetime) -> Iterator[Row]:
    required = [column.tolist() for column in block.required]
    for number, valuation in enumerate(block.valuations):
        account_id = valuation.holder.account.account_id
        row_id = f"{as_of.isoformat()}:{account_id}"
        initial, maintenance, free, leverage = (column[number] for column in required)
        state = state_of(int(valuation.threshold_state)) if valuation.is_valued else State.UNVALUED
        yield Row(
            MARGIN_REQUIREMENTS,
            row_id,
            {
                "row_id": row_id,
                **_account_fields(block, number, as_of),
                "state": state.value,
                "collateral_usd": _valued(valuation.is_valued, valuation.collateral_usd),
                "debt_usd": _valued(valuation.is_valued, valuation.debt_usd),
                "health_pct": _valued(valuation.is_valued, valuation.health_pct),
                "initial_margin_usd": _number(initial),
                "maintenance_margin_usd": _number(maintenance),
                "free_collateral_usd": _number(free),
                "leverage": _number(leverage),
                "unvalued_assets": list(valuation.unvalued_assets),
                "definition": REQUIREMENTS_DEFINITION,
            },
        )


def _stresses(block: BlockRisk, stressed: ScenarioStress, as_of: datetime) -> Iterator[Row]:
    result = stressed.result
    collateral, debt = result.collateral_usd[0], result.debt_usd[0]
    columns = (
        collateral.tolist(),
        debt.tolist(),
        health_pct(collateral, debt).tolist(),
        result.states[0].tolist(),
        stressed.pnl_usd.tolist(),
    )
    for number, valuation in enumerate(block.valuations):
        held, owed, health, state, pnl = (column[number] for column in columns)
        missing = stressed.missing.get(number, ())
        is_valued = valuation.is_valued and not missing
        row_id = f"{as_of.isoformat()}:{valuation.holder.account.account_id}:{stressed.scenario.name}"
        yield Row(
            STRESS_TEST_RESULTS,
            row_id,
            {
                "row_id": row_id,
                **_account_fields(block, number, as_of),
                "scenario": stressed.scenario.name,
                "horizon_days": result.basis.horizon_days,
                "state": (state_of(state) if is_valued else State.UNVALUED).value,
                "collateral_usd": _valued(is_valued, held),
                "debt_usd": _valued(is_valued, owed),
                "health_pct": _valued(is_valued, health),
                "pnl_usd": _valued(is_valued, pnl),
                "shortfall_usd": _valued(is_valued, max(0.0, owed - held)),
                "unmeasured_reason": _stress_reason(block.inputs.market, missing),
                "missing_assets": list(missing),
                **_basis(result.basis),
            },
        )


def _shortfalls(block: BlockRisk, as_of: datetime) -> Iterator[Row]:
    for number, shortfall in block.shortfalls.items():
        account = _account_fields(block, number, as_of)
        row_id = f"{as_of.isoformat()}:{account['account_id']}"
        yield Row(
            HOUSE_SHORTFALLS,
            row_id,
            {
                "row_id": row_id,
                **account,
                "scenarios": shortfall.scenarios.tolist(),
                "shortfalls_usd": shortfall.usd.tolist(),
            },
        )


def _stress_reason(market: Market, missing: tuple[str, ...]) -> str | None:
    if market.tick_sequence is None:
        return "no price tick has been published"
    if not missing:
        return None
    return f"no usable mark, or no return in the scenario, of {', '.join(missing)}"


@dataclass(frozen=True, slots=True)
class HouseRun:
    """A whole run's figures of the house: ``risks`` by level, or ``reason`` why there are none; how many
    ``accounts`` were looked at and how many of them are ``outside`` (without a result of their own)."""

    risks: tuple[TalliedRisk, ...]
    reason: str | None
    accounts: int
    outside: int


def rows_of_house(inputs: Inputs, run: HouseRun, as_of: datetime) -> list[Row]:
    """The house's rows: its total at each level, and the ES of each asset and chain that has a part of it."""
    chains = (*map(str, house_chains(inputs.network)), "")
    rows: list[Row] = []

    def add(level: float, risk: TalliedRisk | None, kind: str, part: str, es_usd: float | None) -> None:
        row_id = f"{as_of.isoformat()}:{HOUSE}:{level:g}:{kind}:{part}"
        is_total = kind == "total"
        rows.append(
            Row(
                HOUSE_RISKS,
                row_id,
                {
                    "row_id": row_id,
                    "as_of": as_of.isoformat(),
                    "tick_sequence": inputs.market.tick_sequence,
                    "level": level,
                    "horizon_days": 1,
                    "part_kind": kind,
                    "part": part,
                    "var_usd": _number(risk.var_usd) if risk is not None and is_total else None,
                    "es_usd": es_usd,
                    "max_insolvent": risk.max_insolvent if risk is not None and is_total else None,
                    "tail_shares": risk.tail_shares.tolist() if risk is not None and is_total else [],
                    "accounts": run.accounts,
                    "outside_accounts": run.outside,
                    "unmeasured_reason": run.reason,
                    "missing_assets": sorted(
                        asset for asset, known in inputs.history.coverage.items() if not known.has_returns
                    ),
                    **_basis(None if risk is None else risk.basis),
                },
            )
        )

    if not run.risks:
        for level in inputs.policy.levels:
            add(level, None, "total", "", None)
    for risk in run.risks:
        add(risk.level, risk, "total", "", _number(risk.es_usd))
        for kind, names, parts in (
            ("asset", (*inputs.market.assets, ""), risk.es_by_asset_usd.tolist()),
            ("chain", chains, risk.es_by_chain_usd.tolist()),
        ):
            for name, part in zip(names, parts, strict=True):
                if part:
                    add(risk.level, risk, kind, name, _number(part))
    return rows


def _valued(is_valued: bool, value: float) -> float | None:
    return _number(value) if is_valued else None


def _number(value: float) -> float | None:
    """A FLOAT64, or None where it is infinite or not a number."""
    number = float(value)
    return number if math.isfinite(number) else None
