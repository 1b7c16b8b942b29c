"""``hourly_exposures``: what each account held and owed in each hour, after factors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from google.cloud.bigquery import ScalarQueryParameter

from shared.warehouse.client import Warehouse, query
from shared.warehouse.history_pages import HistoryPage


@dataclass(frozen=True, slots=True)
class HourlyExposure:
    """An account in one hour: its last valued figures, of ``last_as_of``, and the extremes."""

    account_id: str
    hour: datetime
    last_as_of: datetime
    collateral_usd: Decimal
    debt_usd: Decimal
    max_collateral_usd: Decimal
    max_debt_usd: Decimal
    min_health_pct: float | None

    @property
    def as_of(self) -> datetime:
        """The hour: rows are in its order."""
        return self.hour

    @property
    def row_id(self) -> str:
        """Unique among all rows."""
        return f"{self.account_id}:{self.hour.isoformat()}"


@dataclass(frozen=True, slots=True)
class HouseExposure:
    """All accounts that were valued in one hour: sums of their last figures, and the worst health."""

    hour: datetime
    accounts: int
    borrowers: int
    collateral_usd: Decimal
    debt_usd: Decimal
    min_health_pct: float | None


def list_exposure_page(warehouse: Warehouse, page: HistoryPage) -> list[HourlyExposure]:
    """The hours of a page.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    wanted = [parameter for parameter in page.parameters if parameter.name != "after_row_id"]
    return [HourlyExposure(**row) for row in query(warehouse, "hourly_exposures", wanted)]


def list_house_exposures(warehouse: Warehouse, *, since: datetime) -> list[HouseExposure]:
    """The hours since a moment.

    Raises:
        RetryableError: BigQuery did not answer.
    """
    rows = query(warehouse, "house_exposures", [ScalarQueryParameter("since", "TIMESTAMP", since)])
    return [HouseExposure(**row) for row in rows]
