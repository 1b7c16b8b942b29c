"""What ``measure_risk`` recorded: an account's risk over time, and the house's of its last run."""

# Strawberry's field decorator is untyped where it takes arguments.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from datetime import date

import strawberry

from gateway.context import Info
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.pagination import Connection, decode_number_cursor, encode_cursor, page
from gateway.risk.measures import RiskMethod
from gateway.scalars import DateTime, Decimal
from shared.domain.money import usd
from shared.warehouse import risk_results
from shared.warehouse.risk_results import RecordedBasis as StoredBasis
from shared.warehouse.risk_results import RecordedHouse, RecordedHouseAccount, RecordedRisk, RecordedStress


@strawberry.type(description="What a recorded result rests on; null where there was no history.")
class RecordedBasis:
    definition: str | None
    scenario_set_id: str | None
    scenario_definition: str | None
    history_first: date | None
    history_last: date | None
    observations: int | None


@strawberry.type(description="An account's recorded VaR and ES; null where it could not be measured.")
class RiskPoint:
    id: strawberry.ID
    account_id: strawberry.ID
    as_of: DateTime
    method: RiskMethod  # type: ignore[valid-type]
    level: Decimal
    horizon_days: int
    var_usd: Decimal | None
    es_usd: Decimal | None
    net_usd: Decimal | None
    gross_usd: Decimal | None
    unmeasured_reason: str | None
    missing_assets: list[str]
    position_version: int
    basis: RecordedBasis


@strawberry.type(description="An asset's part of the house's expected shortfall.")
class HouseAssetRisk:
    asset: str
    es_usd: Decimal


@strawberry.type(description="A chain's part of the house's expected shortfall.")
class HouseChainRisk:
    chain_id: int | None = strawberry.field(description="Null for chains that are not listed.")
    es_usd: Decimal


@strawberry.type(description="An account's part of the house's expected shortfall.")
class HouseAccountRisk:
    account_id: strawberry.ID
    es_usd: Decimal
    position_version: int = strawberry.field(description="The version of the positions that were measured.")


@strawberry.type(
    description=(
        "What the house loses over a day from accounts that end insolvent: VaR and expected shortfall at the "
        "last run of measure_risk, by filtered historical simulation. Parts sum to the expected shortfall."
    )
)
class HouseRisk:
    as_of: DateTime
    level: Decimal
    horizon_days: int
    var_usd: Decimal | None
    es_usd: Decimal | None
    by_asset: list[HouseAssetRisk]
    by_chain: list[HouseChainRisk]
    max_insolvent: int | None = strawberry.field(
        description="The most accounts that end insolvent in one scenario."
    )
    accounts: int
    outside_accounts: int = strawberry.field(
        description="Accounts left out: unvalued, or exposed to an asset without enough history."
    )
    unmeasured_reason: str | None
    missing_assets: list[str]
    basis: RecordedBasis

    @strawberry.field(
        description="The accounts that have a part of the expected shortfall, the largest first."
    )
    async def by_account(
        self, info: Info, first: int = DEFAULT_PAGE_SIZE, after: str | None = None
    ) -> Connection[HouseAccountRisk]:
        check_page_size(first)
        rows = await info.context.stores.read_warehouse(
            risk_results.list_house_accounts,
            as_of=self.as_of,
            level=float(self.level),
            after_place=decode_number_cursor(after) or 0,
            limit=first + 1,
        )
        return page(
            rows,
            first=first,
            after=after,
            node=_house_account,
            cursor=lambda row: encode_cursor(row.place),
        )


@strawberry.type(
    description="The whole book under a named scenario, at the last run; sums are over valued accounts."
)
class HouseStress:
    scenario: str
    as_of: DateTime
    horizon_days: int
    accounts: int
    unvalued: int
    margin_calls: int
    liquidations: int
    insolvent: int
    pnl_usd: Decimal | None
    shortfall_usd: Decimal | None = strawberry.field(description="Debt above collateral, factors included.")
    definition: str
    scenario_set_id: str


def risk_point(row: RecordedRisk) -> RiskPoint:
    """The point of a recorded result."""
    return RiskPoint(
        id=row.row_id,  # type: ignore[arg-type]
        account_id=row.account_id,  # type: ignore[arg-type]
        as_of=row.as_of,
        method=row.method,
        level=Decimal(repr(row.level)),
        horizon_days=row.horizon_days,
        var_usd=_usd(row.var_usd),
        es_usd=_usd(row.es_usd),
        net_usd=_usd(row.net_usd),
        gross_usd=_usd(row.gross_usd),
        unmeasured_reason=row.unmeasured_reason,
        missing_assets=list(row.missing_assets),
        position_version=row.position_version,
        basis=_basis(row.basis),
    )


def house_risk(row: RecordedHouse) -> HouseRisk:
    """The house's risk of a recorded run."""
    return HouseRisk(
        as_of=row.as_of,
        level=Decimal(repr(row.level)),
        horizon_days=row.horizon_days,
        var_usd=_usd(row.var_usd),
        es_usd=_usd(row.es_usd),
        by_asset=[
            HouseAssetRisk(asset=asset, es_usd=usd(part)) for asset, part in row.es_by_asset_usd.items()
        ],
        by_chain=[
            HouseChainRisk(chain_id=int(chain) if chain else None, es_usd=usd(part))
            for chain, part in row.es_by_chain_usd.items()
        ],
        max_insolvent=row.max_insolvent,
        accounts=row.accounts,
        outside_accounts=row.outside_accounts,
        unmeasured_reason=row.unmeasured_reason,
        missing_assets=list(row.missing_assets),
        basis=_basis(row.basis),
    )


def house_stress(row: RecordedStress) -> HouseStress:
    """The book under one scenario of a recorded run."""
    return HouseStress(
        scenario=row.scenario,
        as_of=row.as_of,
        horizon_days=row.horizon_days,
        accounts=row.accounts,
        unvalued=row.unvalued,
        margin_calls=row.margin_calls,
        liquidations=row.liquidations,
        insolvent=row.insolvent,
        pnl_usd=_usd(row.pnl_usd),
        shortfall_usd=_usd(row.shortfall_usd),
        definition=row.definition,
        scenario_set_id=row.scenario_set_id,
    )


def _house_account(row: RecordedHouseAccount) -> HouseAccountRisk:
    return HouseAccountRisk(
        account_id=row.account_id,  # type: ignore[arg-type]
        es_usd=usd(row.es_usd),
        position_version=row.position_version,
    )


def _basis(stored: StoredBasis) -> RecordedBasis:
    return RecordedBasis(
        definition=stored.definition,
        scenario_set_id=stored.scenario_set_id,
        scenario_definition=stored.scenario_definition,
        history_first=stored.history_first,
        history_last=stored.history_last,
        observations=stored.n_observations,
    )


def _usd(value: float | None) -> Decimal | None:
    return None if value is None else usd(value)
