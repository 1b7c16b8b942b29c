"""From logs of our contracts to settlement events.

The layouts come from the committed ABIs; a test holds those equal to the compiled sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.chain import escrow_events
from shared.chain.abi import EventLayout, event_layouts
from shared.chain.rpc import quantity
from shared.domain.network import Chain, Token
from shared.domain.positions import PositionAction
from shared.errors import TerminalError
from shared.events.settlement import AnyContractEvent, MarketChanged, PositionChanged, contract_event_id

_ABI_FOLDER = Path(__file__).parents[2] / "contracts" / "abi"
# The numbers of IVault.PositionChange.
_ACTIONS = {
    1: PositionAction.DEPOSIT,
    2: PositionAction.WITHDRAW,
    3: PositionAction.BORROW,
    4: PositionAction.REPAY,
    5: PositionAction.SUPPLY,
    6: PositionAction.REDEEM,
    7: PositionAction.LIQUIDATE_DEBT,
    8: PositionAction.LIQUIDATE_COLLATERAL,
    9: PositionAction.WRITE_OFF,
}
ContractLogEvent = AnyContractEvent


@lru_cache(maxsize=1)
def _layouts() -> dict[str, EventLayout]:
    layouts: dict[str, EventLayout] = {}
    for contract in ("Vault", "EscrowFactory"):
        abi = json.loads((_ABI_FOLDER / f"{contract}.json").read_bytes())
        layouts.update(
            {topic: layout for topic, layout in event_layouts(abi).items() if layout.name in _BUILDERS}
        )
    return layouts


def announced_topics() -> list[str]:
    """First topics of the events that are relayed: the filter of every log request."""
    return sorted(_layouts())


def emitters(chain: Chain) -> tuple[str, ...]:
    """The contracts of a chain that report events; escrows report through their factory."""
    return (chain.vault, chain.escrow_factory)


def decode_log(chain: Chain, log: Mapping[str, Any], block_time: int, revision: int = 0) -> ContractLogEvent:
    """The settlement event of a log, as a node's JSON gives it, announced at the chain's ``revision``.

    Raises:
        TerminalError: the log is not one of our contracts' as this chain's description lists them.
    """
    layout = _layouts().get(log["topics"][0])
    if layout is None:
        raise TerminalError(f"the topic {log['topics'][0]} is not one of our events", field="topics.0")
    fields = layout.decode(log["topics"], log["data"])
    block_hash, log_index = log["blockHash"], quantity(log["logIndex"])
    place: dict[str, Any] = {
        "event_id": contract_event_id(chain.chain_id, block_hash, log_index),
        "chain_id": chain.chain_id,
        "block_number": quantity(log["blockNumber"]),
        "block_hash": block_hash,
        "block_time": datetime.fromtimestamp(block_time, UTC),
        "transaction_hash": log["transactionHash"],
        "log_index": log_index,
        "revision": revision,
        "contract": log["address"].lower(),
    }
    try:
        return _BUILDERS[layout.name](chain, place, fields)
    except ValidationError as error:
        raise TerminalError(f"{layout.name} at {place['event_id']}: {error}") from error


def _token(chain: Chain, address: str) -> Token:
    token = chain.tokens.get(address)
    if token is None:
        raise TerminalError(
            f"token {address} of chain {chain.chain_id} is not in the network description: add it",
            field="asset",
        )
    return token


# As dictionaries, since most logs are of these two: with every field as an argument they take half as long
# again.
def _position_changed(chain: Chain, place: dict[str, Any], fields: dict[str, Any]) -> PositionChanged:
    token = _token(chain, fields["asset"])
    return PositionChanged.model_validate(
        {
            **place,
            "account_id": fields["account"],
            "asset": token.asset,
            "asset_address": token.address,
            "decimals": token.decimals,
            "sequence": fields["sequence"],
            "action": escrow_events.named(_ACTIONS, fields["kind"], "kind"),
            "amount_base": fields["amount"],
            "collateral_base": fields["collateralAfter"],
            "debt_shares": fields["debtSharesAfter"],
            "debt_base": fields["debtAfter"],
            "supply_shares": fields["supplySharesAfter"],
            "supplied_base": fields["suppliedAfter"],
            "borrow_index": fields["borrowIndex"],
        }
    )


def _market_changed(chain: Chain, place: dict[str, Any], fields: dict[str, Any]) -> MarketChanged:
    token = _token(chain, fields["asset"])
    return MarketChanged.model_validate(
        {
            **place,
            "asset": token.asset,
            "asset_address": token.address,
            "decimals": token.decimals,
            "sequence": fields["sequence"],
            "cash_base": fields["cash"],
            "supply_shares": fields["supplyShares"],
            "debt_shares": fields["debtShares"],
            "borrow_index": fields["borrowIndex"],
            "pending_reserves_base": fields["pendingReserves"],
            "reserves_base": fields["reserves"],
            "rate_per_second": fields["ratePerSecond"],
            "reserve_factor_bps": fields["reserveFactorBps"],
        }
    )


_BUILDERS: Mapping[str, escrow_events.Builder] = {
    "PositionChanged": _position_changed,
    "MarketChanged": _market_changed,
    **escrow_events.BUILDERS,
}
