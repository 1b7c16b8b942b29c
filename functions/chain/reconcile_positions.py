"""Compares every account's positions with what the vaults have, and tells operators what differs.

Trigger: every five minutes by Cloud Scheduler; an hour after a pass over all accounts began, the next begins.
Reads: each chain's vault at its last final block; ``chain_cursors``, ``accounts``, ``reconciliations``,
``position_differences``.
Writes: ``reconciliations``, ``position_differences``.
Publishes: ``alerts.operations.v1`` when a difference stands, and when one of those is gone.

Each page of accounts is one request to a node and one commit, conditioned on the pass as it was read: what
a crash or the end of the window leaves is gone on with, and of two at once one stops. What differed is looked
at again at every call; it is announced once it has stood still for longer than a message may be on its way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.chain import rpc, vault_positions
from shared.chain.vault_positions import StateUnavailableError
from shared.domain import reconciliation
from shared.domain.margin import Severity
from shared.domain.network import Chain
from shared.domain.reconciliation import PositionDifference, Reconciliation, Verdict
from shared.errors import ConflictError, RetryableError
from shared.events import topics
from shared.events.operations import OperationsAlert, OperationsAlertKind
from shared.messaging import publisher
from shared.runtime import clock
from shared.runtime.context import Context
from shared.runtime.triggers import Request, Response, http_function
from shared.stores import accounts, chain_cursors, database, outbox, position_differences, reconciliations

MOST_DIFFERENCES = 200
"""With so many open on a chain, no more are looked for: their cause is one, and operators know of it."""

_log = logging.getLogger(__name__)


@http_function(uses=("firestore", "pubsub"), settings=("NETWORK_FILE", "RPC_URLS", "WINDOW_S"))
def reconcile_positions(_request: Request, context: Context) -> Response:
    """Look at what differed, then at the next accounts, until the window ends."""
    chains = list(context.network.chains.values())
    ends_at = clock.monotonic() + context.settings.window_s
    done: dict[str, Any] = {}
    failures: list[str] = []
    for index, chain in enumerate(chains):
        now = clock.monotonic()
        share_s = max(0.0, ends_at - now) / (len(chains) - index)
        try:
            done[chain.name] = _reconcile(context, chain, now + share_s)
        except ConflictError:
            _log.info("another reconciliation was faster", extra={"chain": chain.name})
        except RetryableError as error:
            failures.append(f"{chain.name}: {error}")
    if failures:
        raise RetryableError("; ".join(failures))
    return Response({"chains": done})


@dataclass(frozen=True, slots=True)
class _Place:
    """A chain at the block that is compared."""

    context: Context
    chain: Chain
    nodes: rpc.RpcClient
    client: database.Client
    number: int
    hash: str


def _reconcile(context: Context, chain: Chain, ends_at: float) -> dict[str, Any]:
    client = database.connect(context.settings)
    known = chain_cursors.find(client, chain.chain_id)
    if known is None or known[0].halted is not None or known[0].final_number < chain.start_block:
        # Nothing is final yet, or it is in doubt what is.
        return {"block": None}
    progress, _ = known
    final_hash = progress.hash_of(progress.final_number)
    if final_hash is None:
        raise RetryableError(f"the hash of the final block {progress.final_number} is not kept")
    nodes = rpc.connect(context.settings, chain.chain_id, clock)
    final = _Place(context, chain, nodes, client, progress.final_number, final_hash)
    open_now = position_differences.list_of_chain(client, chain.chain_id, limit=MOST_DIFFERENCES)
    _look_again(final, [each for each in open_now if each[0].account_id is not None])
    if len(open_now) == MOST_DIFFERENCES:
        _log.error("so much differs that no more is compared", extra={"chain": chain.name})
        return {"block": None, "differences": len(open_now)}
    pass_ = _go_on(final, ends_at, room=MOST_DIFFERENCES - len(open_now))
    return {
        "block": pass_.block_number,
        "accounts": pass_.accounts,
        "ahead": pass_.ahead,
        "is_complete": pass_.is_complete,
    }


def _go_on(final: _Place, ends_at: float, room: int) -> Reconciliation:
    """The next accounts of the pass that is under way, or of a new one where one is due.

    Ends as well where ``room`` new differences have been found.
    """
    known = reconciliations.find(final.client, final.chain.chain_id)
    as_of = final.context.as_of
    if known is None:
        pass_ = Reconciliation(final.chain.chain_id, final.number, final.hash, as_of)
        read_at = None
    else:
        pass_, read_at = known
        if pass_.is_complete:
            if as_of - pass_.began_at < reconciliation.BETWEEN_PASSES:
                return pass_
            pass_ = pass_.begun_again(final.number, final.hash, as_of)
    while True:
        try:
            place = replace(final, number=pass_.block_number, hash=pass_.block_hash)
            pass_, read_at, new = _compare_page(place, pass_, read_at, room)
            room -= new
        except StateUnavailableError:
            if pass_.block_hash == final.hash:
                raise
            # Nodes keep the state of some hundred blocks: the pass took longer, and begins again.
            pass_ = pass_.begun_again(final.number, final.hash, as_of)
            continue
        if pass_.is_complete or room == 0 or clock.monotonic() >= ends_at:
            return pass_


def _compare_page(
    place: _Place, pass_: Reconciliation, read_at: Any, room: int
) -> tuple[Reconciliation, Any, int]:
    """Compare the next accounts; the pass after them, complete where they were the last, and how many new
    differences were kept."""
    limit = vault_positions.accounts_per_request(place.chain)
    page = accounts.list_page(place.client, after=pass_.after, limit=limit)
    held = vault_positions.read_accounts(
        place.nodes, place.chain, place.hash, [account.account_id for account in page]
    )
    found: list[PositionDifference] = []
    ahead = 0
    for account in page:
        compared = reconciliation.compare(
            place.chain,
            account.account_id,
            account,
            held[account.account_id],
            block_number=place.number,
            as_of=place.context.as_of,
        )
        found += compared.differences
        ahead += compared.ahead
    pass_ = pass_.advanced(held, ahead)
    commit = database.Commit(place.client, traceparent=place.context.traceparent)
    if len(page) < limit:
        pass_ = pass_.completed(place.context.as_of)
        _judge_totals(place, pass_, commit)
    known = position_differences.find_many(place.client, (each.difference_id for each in found))
    new = [each for each in found if each.difference_id not in known][:room]
    for each in new:
        _settle(place, commit, None, each)
    index = commit.replace(
        reconciliations.path(place.chain.chain_id), reconciliations.encode(pass_), read_at=read_at
    )
    _apply(place, commit)
    return pass_, commit.update_time(index), len(new)


def _judge_totals(place: _Place, pass_: Reconciliation, commit: database.Commit) -> None:
    totals = vault_positions.read_totals(place.nodes, place.chain, place.hash)
    found = {each.difference_id: each for each in pass_.unknown(totals, place.context.as_of)}
    possible = [
        PositionDifference.id_of(place.chain.chain_id, None, token.asset)
        for token in place.chain.tokens.values()
    ]
    known = position_differences.find_many(place.client, possible)
    for difference_id in sorted(found.keys() | known.keys()):
        _settle(place, commit, known.get(difference_id), found.get(difference_id))


def _look_again(place: _Place, known: Sequence[tuple[PositionDifference, Any]]) -> None:
    """Judge what differed, at the last final block."""
    by_account: dict[str, list[tuple[PositionDifference, Any]]] = {}
    for each in known:
        by_account.setdefault(str(each[0].account_id), []).append(each)
    for account_ids in _pages(sorted(by_account), vault_positions.accounts_per_request(place.chain)):
        held = vault_positions.read_accounts(place.nodes, place.chain, place.hash, account_ids)
        stored = accounts.find_many(place.client, account_ids)
        commit = database.Commit(place.client, traceparent=place.context.traceparent)
        for account_id in account_ids:
            compared = reconciliation.compare(
                place.chain,
                account_id,
                stored.get(account_id),
                held[account_id],
                block_number=place.number,
                as_of=place.context.as_of,
            )
            found = {each.asset: each for each in compared.differences}
            for before in by_account[account_id]:
                _settle(place, commit, before, found.get(before[0].asset))
        _apply(place, commit)


def _pages(account_ids: Sequence[str], limit: int) -> Iterable[Sequence[str]]:
    return (account_ids[start : start + limit] for start in range(0, len(account_ids), limit))


def _settle(
    place: _Place,
    commit: database.Commit,
    known: tuple[PositionDifference, Any] | None,
    found: PositionDifference | None,
) -> None:
    """Write what a look says of a difference, and announce it where operators must hear of it."""
    before, read_at = known if known is not None else (None, None)
    match reconciliation.judge(before, found, place.context.as_of):
        case Verdict.NEW | Verdict.MOVED if found is not None:
            path = position_differences.path(found.difference_id)
            commit.replace(path, position_differences.encode(found), read_at=read_at)
        case Verdict.CONFIRMED if found is not None and before is not None:
            told = replace(found, found_at=before.found_at, is_announced=True)
            path = position_differences.path(told.difference_id)
            commit.replace(path, position_differences.encode(told), read_at=read_at)
            commit.announce(topics.OPERATIONS_ALERTS, _differs(place, told))
        case Verdict.GONE if before is not None:
            commit.delete(position_differences.path(before.difference_id), read_at=read_at)
            if before.is_announced:
                commit.announce(topics.OPERATIONS_ALERTS, _agrees(place, before))


def _apply(place: _Place, commit: database.Commit) -> None:
    commit.apply()
    outbox.publish(place.client, publisher.connect(place.context.settings), commit.announced)


def _differs(place: _Place, difference: PositionDifference) -> OperationsAlert:
    vault, stored = difference.vault, difference.stored
    if difference.account_id is None:
        ours = "what the accounts that we know have of it"
    else:
        ours = f"what we keep as of the account's event {difference.stored_sequence}"
    return _alert(
        place,
        difference,
        OperationsAlertKind.POSITION_DIFFERS,
        Severity.CRITICAL,
        f"{_whose(place, difference)} differs at block {difference.block_number}: the vault has collateral "
        f"of {vault.collateral_base} and {vault.debt_shares} shares of debt, {ours} is "
        f"{stored.collateral_base} and {stored.debt_shares}.",
    )


def _agrees(place: _Place, difference: PositionDifference) -> OperationsAlert:
    return _alert(
        place,
        difference,
        OperationsAlertKind.POSITION_AGREES,
        Severity.INFO,
        f"{_whose(place, difference)} no longer differs from the vault.",
    )


def _whose(place: _Place, difference: PositionDifference) -> str:
    return f"{difference.asset} of {difference.account_id or 'all accounts'} on {place.chain.name}"


def _alert(
    place: _Place,
    difference: PositionDifference,
    kind: OperationsAlertKind,
    severity: Severity,
    message: str,
) -> OperationsAlert:
    return OperationsAlert(
        # The moment is the difference's own: the same condition may come again at the same block.
        event_id=f"{kind}:{difference.difference_id}:{difference.found_at:%Y%m%dT%H%M%S%f}",
        kind=kind,
        subject=difference.difference_id,
        severity=severity,
        message=message,
        details={
            "chain_id": str(difference.chain_id),
            "account_id": difference.account_id or "",
            "asset": difference.asset,
            "block": str(difference.block_number),
            "vault_sequence": str(difference.vault_sequence),
            "vault_collateral_base": str(difference.vault.collateral_base),
            "vault_debt_shares": str(difference.vault.debt_shares),
            "stored_sequence": str(difference.stored_sequence),
            "stored_collateral_base": str(difference.stored.collateral_base),
            "stored_debt_shares": str(difference.stored.debt_shares),
        },
        as_of=place.context.as_of,
    )
