"""An account: its positions, and what hangs on them."""

# Strawberry types its field decorator with Any once permissions are given.
# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import strawberry

from gateway.alerts.types import Alert, from_transition
from gateway.context import Info
from gateway.escrows.queries import escrow_page
from gateway.escrows.types import Escrow
from gateway.escrows.types import from_stored as from_escrow
from gateway.lending.reading import supplies_of
from gateway.lending.types import Supply
from gateway.limits import DEFAULT_PAGE_SIZE, check_page_size
from gateway.margin.types import Margin
from gateway.pagination import (
    Connection,
    decode_number_cursor,
    decode_text_cursor,
    encode_cursor,
    page,
)
from gateway.permissions import NeedsAlertsScope, NeedsEscrowsScope
from gateway.risk.measures import (
    DEFAULT_LEVEL,
    AccountRisk,
    RiskMethod,
    RiskQuestion,
    horizon_argument,
    level_argument,
)
from gateway.risk.reading import account_requirements, account_risk
from gateway.risk.requirements import MarginRequirements
from gateway.scalars import BigInt, DateTime, Decimal
from shared.domain import positions
from shared.domain.interest import debt_of
from shared.domain.money import whole_tokens
from shared.events.margin import transition_id
from shared.risk.measurement_policy import RiskMethod as Method


@strawberry.type(
    description=(
        "What an account holds and owes in one asset on one chain. Debt bears interest: it is kept in shares "
        "of the market, and shown as of the latest tick, rounded up as the vault does; null before the first "
        "tick that has the market."
    )
)
class Position:
    chain_id: int
    asset: str
    decimals: int
    collateral_base: BigInt = strawberry.field(description="In base units.")
    debt_shares: BigInt = strawberry.field(description="Shares of the market's debt.")
    debt_base: BigInt | None = strawberry.field(description="In base units.")
    collateral: Decimal = strawberry.field(description="In whole tokens.")
    debt: Decimal | None = strawberry.field(description="In whole tokens.")


@strawberry.type(description="One account's credit line across chains.")
class Account:
    id: strawberry.ID
    version: int = strawberry.field(description="Rises by one per change of positions.")
    as_of: DateTime = strawberry.field(description="When the positions last changed on chain.")
    positions: list[Position]

    @strawberry.field(description="The account at the latest tick.")
    async def margin(self, info: Info) -> Margin:
        margin = await info.context.loaders.margin.load(str(self.id))
        assert margin is not None  # the account was read in this operation
        return margin

    @strawberry.field(description="What it has lent; it is no collateral.")
    async def supplies(self, info: Info) -> list[Supply]:
        return await supplies_of(info, str(self.id))

    @strawberry.field(description="What margin requires and leaves free at the latest tick.")
    async def requirements(self, info: Info) -> MarginRequirements:
        return await account_requirements(info, str(self.id))

    @strawberry.field(description="VaR and expected shortfall of its positions at the latest tick.")
    async def risk(
        self,
        info: Info,
        level: Decimal = DEFAULT_LEVEL,
        horizon_days: int = 1,
        method: RiskMethod = Method.FILTERED,  # type: ignore[valid-type]
    ) -> AccountRisk:
        level_argument(level)
        question = RiskQuestion(str(self.id), Method(method), level, horizon_argument(horizon_days))
        return await account_risk(info, question)

    @strawberry.field(permission_classes=[NeedsAlertsScope], description="Its alerts, newest first.")
    async def alerts(
        self, info: Info, first: int = DEFAULT_PAGE_SIZE, after: str | None = None
    ) -> Connection[Alert]:
        check_page_size(first)
        behind = decode_number_cursor(after)
        # Transitions are numbered and their alerts named after the number: no query is needed, and the
        # alerts of all accounts of a page are read in one call.
        record = await info.context.loaders.margin_record.load(str(self.id))
        latest = record.transitions if record else 0
        top = latest if behind is None else min(latest, behind - 1)
        wanted = [transition_id(str(self.id), n) for n in range(top, max(0, top - first - 1), -1)]
        found = await info.context.loaders.alert.load_many(wanted)
        rows = [transition for transition in found if transition is not None]
        return page(
            rows,
            first=first,
            after=after,
            node=from_transition,
            cursor=lambda transition: encode_cursor(transition.sequence),
        )

    @strawberry.field(
        permission_classes=[NeedsEscrowsScope], description="Escrows that it is a party of, in order of id."
    )
    async def escrows(
        self, info: Info, first: int = DEFAULT_PAGE_SIZE, after: str | None = None
    ) -> Connection[Escrow]:
        check_page_size(first)
        behind = decode_text_cursor(after)
        rows = await info.context.loaders.escrows_of_party.load((str(self.id), behind, first + 1))
        return escrow_page(rows, from_escrow, first=first, after=after)


def from_account(info: Info, account: positions.Account) -> Account:
    """The account of a stored one, its debts as of the latest tick."""
    tick = info.context.live.book.tick
    indexes = {} if tick is None else tick.borrow_indexes
    return Account(
        id=account.account_id,  # type: ignore[arg-type]
        version=account.version,
        as_of=account.as_of,
        positions=[
            _position(position, indexes.get(position.key))
            for _, position in sorted(account.positions.items())
        ],
    )


def _position(position: positions.Position, index: int | None) -> Position:
    debt_base: int | None = 0
    if position.debt_shares:
        debt_base = None if index is None else debt_of(position.debt_shares, index)
    return Position(
        chain_id=position.chain_id,
        asset=position.asset,
        decimals=position.decimals,
        collateral_base=BigInt(position.collateral_base),
        debt_shares=BigInt(position.debt_shares),
        debt_base=None if debt_base is None else BigInt(debt_base),
        collateral=whole_tokens(position.collateral_base, position.decimals),
        debt=None if debt_base is None else whole_tokens(debt_base, position.decimals),
    )
