"""Reading what a signer's next transaction needs to know, and handing transactions to nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shared.chain.rpc import Call, NodeError, Provider, RpcClient, quantity
from shared.chain.send_errors import SendOutcome, classify
from shared.chain.settlement_calls import ContractCall
from shared.domain.fees import FeeMarket
from shared.domain.network import FinalityTag
from shared.domain.transactions import Mined
from shared.errors import FusionError, RetryableError

_REVERT_CODE = 3
"""geth's code of a call that reverted (``internal/ethapi/errors.go``); others only say it in words."""

_REVERTED = re.compile(r"revert", re.IGNORECASE)
_GAS_RESERVE_PCT = 20
_MOST_CALLS = 100
"""Calls in one request: geth takes 1,000 (``node/defaults.go``), some providers fewer."""


class CallRevertedError(FusionError):
    """The contract refuses the call as things are now; the message is the node's."""


class CallUnfundedError(FusionError):
    """The signer's balance does not cover the call's value and gas; the message is the node's."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one node says of a signer at one moment."""

    head_number: int
    latest_count: int
    pending_count: int
    market: FeeMarket


@dataclass(frozen=True, slots=True)
class Refusal:
    """How the nodes of a chain took a transaction, and their words where none did."""

    outcome: SendOutcome
    message: str | None = None


def _standing_calls(signer: str) -> list[Call]:
    return [
        ("eth_getBlockByNumber", ["latest", False]),
        ("eth_getTransactionCount", [signer, "latest"]),
        ("eth_getTransactionCount", [signer, "pending"]),
        ("eth_maxPriorityFeePerGas", []),
    ]


def _standing(answers: Sequence[Any]) -> Standing:
    block, latest, pending, tip = (_answered(answer) for answer in answers)
    if not isinstance(block, dict) or "baseFeePerGas" not in block:
        raise RetryableError("a node sent a newest block without a base fee")
    return Standing(
        head_number=quantity(block["number"]),
        latest_count=quantity(latest),
        pending_count=quantity(pending),
        market=FeeMarket(quantity(block["baseFeePerGas"]), quantity(tip)),
    )


def _answered(answer: Any) -> Any:
    if isinstance(answer, NodeError):
        raise RetryableError(str(answer))
    return answer


def read_for_call(client: RpcClient, signer: str, call: ContractCall) -> tuple[Standing, int]:
    """A signer's standing, and the gas limit for a call on top of what waits in the node's pool.

    What waits may never happen, and then the call may use more gas than it would after it (a first deposit
    writes a word that a second one only changes): the limit covers both.

    Raises:
        CallRevertedError: the contract refuses the call.
        CallUnfundedError: the signer cannot pay for it.
        RetryableError: no node answered, or it could not tell.
    """
    fields = {"from": signer, "to": call.to, "data": call.data, "value": hex(call.value_base)}
    *standing, gas, gas_alone = client.batch(
        [
            *_standing_calls(signer),
            ("eth_estimateGas", [fields, "pending"]),
            ("eth_estimateGas", [fields, "latest"]),
        ]
    )
    known = _standing(standing)
    if isinstance(gas, NodeError):
        if gas.code == _REVERT_CODE or _REVERTED.search(gas.message):
            raise CallRevertedError(gas.message)
        if classify(gas.message) is SendOutcome.UNFUNDED:
            raise CallUnfundedError(gas.message)
        raise RetryableError(str(gas))
    most = max(quantity(gas), 0 if isinstance(gas_alone, NodeError) else quantity(gas_alone))
    return known, most * (100 + _GAS_RESERVE_PCT) // 100


@dataclass(frozen=True, slots=True)
class SignerSight:
    """A signer's standing, from one node in one request, and the receipts of its transactions."""

    standing: Standing
    final_number: int
    final_count: int
    receipts: Mapping[str, Mined]


def read_for_following(
    client: RpcClient, signer: str, hashes: Sequence[str], *, finality: int | FinalityTag
) -> SignerSight:
    """What has become of a signer's transactions.

    Args:
        hashes: of every attempt that is not concluded.
        finality: how many blocks make the one below them final, or the tag of the newest final block.

    Raises:
        RetryableError: no node answered, or its answers contradict each other.
    """
    final_number = _final_number(client, finality)
    *standing, final_count = client.batch(
        [*_standing_calls(signer), ("eth_getTransactionCount", [signer, hex(final_number)])]
    )
    return SignerSight(
        _standing(standing), final_number, quantity(_answered(final_count)), _receipts(client.batch, hashes)
    )


def _receipts(batch: Callable[[Sequence[Call]], list[Any]], hashes: Sequence[str]) -> dict[str, Mined]:
    """The receipts that there are."""
    found: dict[str, Mined] = {}
    for start in range(0, len(hashes), _MOST_CALLS):
        asked = hashes[start : start + _MOST_CALLS]
        answers = batch([("eth_getTransactionReceipt", [each]) for each in asked])
        for each, answer in zip(asked, answers, strict=True):
            receipt = _answered(answer)
            if receipt is not None:
                found[each] = _mined(receipt, each)
    return found


def read_receipts(client: RpcClient, hashes: Sequence[str]) -> dict[str, Mined]:
    """The receipts that any node of a chain has: one of them may have lost its own.

    Raises:
        RetryableError: a node gave no answer, and the others have none of the receipts.
    """
    found: dict[str, Mined] = {}
    failures: list[str] = []
    for provider in client.providers:
        try:
            found |= _receipts(provider.batch, hashes)
        except RetryableError as error:
            failures.append(f"{provider.name}: {error}")
    if failures and not found:
        raise RetryableError(f"chain {client.chain_id}: {'; '.join(failures)}")
    return found


def _final_number(client: RpcClient, finality: int | FinalityTag) -> int:
    tag = "latest" if isinstance(finality, int) else finality.value
    (block,) = client.batch([("eth_getBlockByNumber", [tag, False])])
    if not isinstance(_answered(block), dict):
        raise RetryableError(f"a node does not have the block {tag}")
    number = quantity(block["number"])
    return max(0, number - finality) if isinstance(finality, int) else number


def _mined(receipt: Any, wanted: str) -> Mined:
    if not isinstance(receipt, dict) or receipt.get("transactionHash") != wanted:
        raise RetryableError(f"a node sent another receipt than that of {wanted}")
    return Mined(
        wanted,
        block_number=quantity(receipt["blockNumber"]),
        block_hash=receipt["blockHash"],
        succeeded=quantity(receipt["status"]) == 1,
    )


# Of what several nodes said, the first of these counts: a node that has a transaction passes it on, and only
# what every node refuses for good is fatal. A node that gave no answer may be one that would take it.
_BY_WEIGHT = (
    SendOutcome.SENT,
    SendOutcome.NONCE_USED,
    SendOutcome.UNDERPRICED,
    SendOutcome.NONCE_GAP,
    SendOutcome.UNFUNDED,
    SendOutcome.UNKNOWN,
    SendOutcome.BUSY,
    SendOutcome.FATAL,
)


def send(client: RpcClient, raw: str) -> Refusal:
    """Hand a signed transaction to every node of its chain at once: one that is cut off, or censors, must not
    be the only one that knows of it. What counts is the most hopeful answer.

    Raises:
        RetryableError: no node answered; one may have it all the same.
    """
    with ThreadPoolExecutor(len(client.providers)) as nodes:
        said = list(nodes.map(lambda provider: _send_to(provider, raw), client.providers))
    failures = [f"{each.node}: {each.failure}" for each in said if each.failure is not None]
    if len(failures) == len(said):
        raise RetryableError(f"chain {client.chain_id}: no node answered: {'; '.join(failures)}")
    best = min(said, key=lambda each: _BY_WEIGHT.index(each.outcome)).outcome
    if best is SendOutcome.SENT:
        return Refusal(SendOutcome.SENT)
    words = [f"{each.node}: {each.failure or f'{each.outcome}: {each.message}'}" for each in said]
    return Refusal(best, "; ".join(words) if len(said) > 1 else said[0].message)


@dataclass(frozen=True, slots=True)
class _Said:
    """What one node made of a transaction; ``failure`` where it gave no answer."""

    node: str
    outcome: SendOutcome
    message: str | None = None
    failure: str | None = None


def _send_to(provider: Provider, raw: str) -> _Said:
    try:
        (answer,) = provider.batch([("eth_sendRawTransaction", [raw])])
    except RetryableError as error:
        return _Said(provider.name, SendOutcome.BUSY, failure=str(error))
    if isinstance(answer, NodeError):
        return _Said(provider.name, classify(answer.message), answer.message)
    return _Said(provider.name, SendOutcome.SENT)
