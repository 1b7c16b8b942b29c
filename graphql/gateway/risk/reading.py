"""Accounts as stored, at the latest tick."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.context import Info
from gateway.errors import AccountNotFoundError, LimitExceededError
from gateway.live.hub import LiveHub
from gateway.permissions import account_argument, visible_accounts
from gateway.risk.measures import AccountRisk, RiskQuestion
from gateway.risk.requirements import MarginRequirements
from shared.domain.market import Holder, Market
from shared.domain.network import Network
from shared.runtime import clock

MAX_ACCOUNTS = 100


def latest_market(info: Info) -> Market:
    """The marks that may be used now."""
    return present_market(info.context.network, info.context.live)


def present_market(network: Network, live: LiveHub) -> Market:
    """The marks of the latest tick that may be used now."""
    tick, now = live.book.tick, clock.now()
    return Market.at(
        network,
        {} if tick is None else tick.usable_marks_at(now, network.tick_max_age_s),
        indexes={} if tick is None else tick.borrow_indexes,
        tick_sequence=None if tick is None else tick.sequence,
        as_of=now if tick is None else tick.as_of,
    )


async def find_holder(info: Info, account_id: str) -> Holder | None:
    """An account that the key may see, or None."""
    account = await info.context.loaders.account.load(account_id)
    if account is None:
        return None
    return Holder.of(account, await info.context.loaders.margin_record.load(account_id))


async def account_requirements(info: Info, account_id: str) -> MarginRequirements:
    """The requirements of an account that was read in this operation, valued together with others of it."""
    found = await info.context.loaders.requirements.load(account_id)
    assert found is not None
    return found


async def account_risk(info: Info, question: RiskQuestion) -> AccountRisk:
    """The risk of an account that was read in this operation, measured together with others of it.

    Raises:
        BadUserInputError: naming the level, where its tail is empty.
        RetryableError: BigQuery did not answer.
    """
    found = await info.context.loaders.risk.load(question)
    assert found is not None
    return found


async def read_holders(info: Info, account_ids: Sequence[str], argument: str) -> list[Holder]:
    """Accounts given as an argument, each once.

    Raises:
        AccountNotFoundError: naming the first that does not exist, or that the key may not see.
        LimitExceededError: for more than 100.
    """
    if len(account_ids) > MAX_ACCOUNTS:
        raise LimitExceededError(
            "accounts_per_stress_test", MAX_ACCOUNTS, len(account_ids), argument=argument
        )
    wanted = visible_accounts(info, account_ids, argument)
    given = [account_argument(account_id, argument) for account_id in account_ids]
    accounts = await info.context.loaders.account.load_many(list(wanted))
    records = await info.context.loaders.margin_record.load_many(list(wanted))
    holders: list[Holder] = []
    for account_id, account, record in zip(wanted, accounts, records, strict=True):
        if account is None:
            raise AccountNotFoundError(account_id, f"{argument}.{given.index(account_id)}")
        holders.append(Holder.of(account, record))
    return holders
