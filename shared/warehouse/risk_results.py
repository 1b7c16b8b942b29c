"""What ``measure_risk`` recorded: an account's risk over time, and the house's of the last run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from google.cloud.bigquery import ScalarQueryParameter

from shared.risk.measurement_policy import RiskMethod
from shared.warehouse.client import Warehouse, query
from shared.warehouse.history_pages import HistoryPage


@dataclass(frozen=True, slots=True)
class RecordedBasis:
    """What a recorded result rests on; all None where there was no history."""

    definition: str | None
    scenario_set_id: str | None
    scenario_definition: str | None
    history_first: date | None
    history_last: date | None
    n_observations: int | None


@dataclass(frozen=True, slots=True)
class RecordedRisk:
    """An account's VaR and ES at one run; None where it could not be measured, with the reason."""

    row_id: str
    account_id: str
    as_of: datetime
    method: RiskMethod
    horizon_days: int
    level: float
    net_usd: float | None
    gross_usd: float | None
    var_usd: float | None
    es_usd: float | None
    unmeasured_reason: str | None
    missing_assets: tuple[str, ...]
    position_version: int
    basis: RecordedBasis


@dataclass(frozen=True, slots=True)
class RecordedHouse:
    """The house's risk at one run; ES by asset ("" for what is not listed) and by chain id."""

    as_of: datetime
    level: float
    horizon_days: int
    var_usd: float | None
    es_usd: float | None
    es_by_asset_usd: Mapping[str, float]
    es_by_chain_usd: Mapping[str, float]
    max_insolvent: int | None
    accounts: int
    outside_accounts: int
    unmeasured_reason: str | None
    missing_assets: tuple[str, ...]
    basis: RecordedBasis


@dataclass(frozen=True, slots=True)
class RecordedHouseAccount:
    """An account's part of the house's ES at one run and level; ``place`` is its rank from 1, the largest."""

    account_id: str
    position_version: int
    es_usd: float
    place: int


@dataclass(frozen=True, slots=True)
class RecordedStress:
    """The whole book under one named scenario at one run; sums are over the accounts that were valued."""

    scenario: str
    as_of: datetime
    horizon_days: int
    definition: str
    scenario_set_id: str
    accounts: int
    unvalued: int
    margin_calls: int
    liquidations: int
    insolvent: int
    pnl_usd: float | None
    shortfall_usd: float | None


def list_risk_page(
    warehouse: Warehouse, page: HistoryPage, *, method: RiskMethod, horizon_days: int, level: float
) -> list[RecordedRisk]:
    """The results of a page.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(
        warehouse,
        "risk_history",
        [
            *page.parameters,
            ScalarQueryParameter("method", "STRING", method.value),
            ScalarQueryParameter("horizon_days", "INT64", horizon_days),
            ScalarQueryParameter("level", "FLOAT64", level),
        ],
    )
    return [
        RecordedRisk(
            row_id=row["row_id"],
            account_id=row["account_id"],
            as_of=row["as_of"],
            method=RiskMethod(row["method"]),
            horizon_days=row["horizon_days"],
            level=row["level"],
            net_usd=row["net_usd"],
            gross_usd=row["gross_usd"],
            var_usd=row["var_usd"],
            es_usd=row["es_usd"],
            unmeasured_reason=row["unmeasured_reason"],
            missing_assets=tuple(row["missing_assets"]),
            position_version=row["position_version"],
            basis=_basis(row),
        )
        for row in rows
    ]


def find_house(warehouse: Warehouse, *, level: float, since: datetime) -> RecordedHouse | None:
    """The house's risk at a recorded level, of the last run since a moment, or None where there was none.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(
        warehouse,
        "house_risk",
        [ScalarQueryParameter("level", "FLOAT64", level), ScalarQueryParameter("since", "TIMESTAMP", since)],
    )
    for row in rows:
        if row["part_kind"] == "total":
            return RecordedHouse(
                as_of=row["as_of"],
                level=row["level"],
                horizon_days=row["horizon_days"],
                var_usd=row["var_usd"],
                es_usd=row["es_usd"],
                es_by_asset_usd=_parts(rows, "asset"),
                es_by_chain_usd=_parts(rows, "chain"),
                max_insolvent=row["max_insolvent"],
                accounts=row["accounts"],
                outside_accounts=row["outside_accounts"],
                unmeasured_reason=row["unmeasured_reason"],
                missing_assets=tuple(row["missing_assets"]),
                basis=_basis(row),
            )
    return None


def list_house_accounts(
    warehouse: Warehouse, *, as_of: datetime, level: float, after_place: int, limit: int
) -> list[RecordedHouseAccount]:
    """The accounts that have a part of the house's ES at a run, the largest first, behind a place.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(
        warehouse,
        "house_account_risks",
        [
            ScalarQueryParameter("as_of", "TIMESTAMP", as_of),
            ScalarQueryParameter("level", "FLOAT64", level),
            ScalarQueryParameter("after_place", "INT64", after_place),
            ScalarQueryParameter("row_limit", "INT64", limit),
        ],
    )
    return [RecordedHouseAccount(**row) for row in rows]


def list_house_stress(warehouse: Warehouse, *, since: datetime) -> list[RecordedStress]:
    """The book under every named scenario, of the last run since a moment that is done.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(warehouse, "house_stress", [ScalarQueryParameter("since", "TIMESTAMP", since)])
    return [RecordedStress(**row) for row in rows]


def _parts(rows: list[dict[str, Any]], kind: str) -> dict[str, float]:
    return {row["part"]: row["es_usd"] for row in rows if row["part_kind"] == kind}


def _basis(row: Mapping[str, Any]) -> RecordedBasis:
    return RecordedBasis(
        definition=row["definition"],
        scenario_set_id=row["scenario_set_id"],
        scenario_definition=row["scenario_definition"],
        history_first=row["history_first"],
        history_last=row["history_last"],
        n_observations=row["n_observations"],
    )
