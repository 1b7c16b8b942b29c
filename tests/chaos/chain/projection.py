"""The events as they were delivered, through the deployed handler, against what the contracts have."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from functions.settlement.apply_settlement_event import apply_settlement_event
from shared.domain.escrows import EscrowStatus
from shared.events.settlement import EventRetracted
from shared.runtime.relay.announcing import ordering_key
from shared.stores import accounts, escrows, projection
from tests.chaos.chain.stage import Stage

_SUBJECTS_AT_ONCE = 16
# What is deployed, without the trigger around it.
_handle = inspect.unwrap(apply_settlement_event)


def apply_all(stage: Stage, messages: Sequence[Any]) -> None:
    """Hand every message to the handler, each account's, market's and escrow's in the order of delivery."""
    by_subject: dict[str, list[Any]] = defaultdict(list)
    for message in messages:
        reported = message.retracted if isinstance(message, EventRetracted) else message
        by_subject[ordering_key(reported)].append(message)

    def apply(of_subject: list[Any]) -> None:
        for message in of_subject:
            _handle(message, stage.context)

    with ThreadPoolExecutor(_SUBJECTS_AT_ONCE) as subjects:
        list(subjects.map(apply, by_subject.values()))


def differences(stage: Stage, escrow_addresses: Sequence[str]) -> list[str]:
    """What is projected otherwise than the contracts have it.

    Args:
        escrow_addresses: the escrows that stand on the chain; they were created, and no more.
    """
    found: list[str] = []
    documents = projection.list_documents(stage.database, accounts.COLLECTION)
    kept = {document.id: accounts.decode(document.fields) for document in documents}
    truth = stage.chain.positions(stage.deployment, kept)
    for account_id, account in kept.items():
        positions = {
            position.asset: (position.collateral_base, position.debt_shares)
            for position in account.positions.values()
            if position.collateral_base or position.debt_shares
        }
        if positions != truth[account_id]:
            found.append(f"account {account_id}: {positions} is kept, the vault has {truth[account_id]}")
    projected = {
        document.fields["address"]: document.fields["status"]
        for document in projection.list_documents(stage.database, escrows.COLLECTION)
        if document.fields["status"] is not None
    }
    expected = dict.fromkeys(escrow_addresses, EscrowStatus.CREATED.value)
    if projected != expected:
        odd = sorted(set(projected.items()) ^ set(expected.items()))
        found.append(f"{len(odd)} escrows are projected otherwise, {odd[:3]} among them")
    return found
