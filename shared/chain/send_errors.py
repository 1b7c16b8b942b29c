"""What a node means when it refuses ``eth_sendRawTransaction``.

A refusal rarely means that a transaction cannot happen: the node may have it already, or have mined it. Only
what no node will ever take, at whatever fee, is fatal.

Sources of the texts, each named in its row: go-ethereum ``core/txpool/errors.go`` and ``core/error.go``,
Nethermind ``Nethermind.TxPool/AcceptTxResult.cs``, Besu ``JsonRpcError.java``, OpenEthereum
``rpc/src/v1/helpers/errors.rs``, anvil ``crates/anvil/src/eth/error.rs``; as collected for 22 clients in
chainlink-evm ``pkg/client/errors.go`` (0569f34, 2026).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class SendOutcome(StrEnum):
    """What became of a transaction that was handed to a node."""

    SENT = "sent"
    """The node has it, or a better bid for the same nonce: look for a receipt."""
    NONCE_USED = "nonce_used"
    """Something with this nonce is mined: look for a receipt."""
    NONCE_GAP = "nonce_gap"
    """The node wants an earlier nonce first."""
    UNDERPRICED = "underpriced"
    """The bid is too low for the node to keep it."""
    UNFUNDED = "unfunded"
    """The signer's balance does not cover gas and value."""
    BUSY = "busy"
    """The node has no room, or failed."""
    FATAL = "fatal"
    """No node will take it, however often it is sent."""
    UNKNOWN = "unknown"
    """A refusal that is not in the table."""


@dataclass(frozen=True, slots=True)
class _Row:
    outcome: SendOutcome
    client: str
    texts: tuple[str, ...]


# The first row that matches counts; texts are matched without regard to case, anywhere in the message.
_ROWS = (
    # Before the row with "known transaction", which is in it.
    _Row(SendOutcome.FATAL, "nodes of before EIP-2718", ("unknown transaction type",)),
    _Row(SendOutcome.SENT, "geth, erigon", ("already known", "known transaction", "already_known")),
    _Row(SendOutcome.SENT, "geth, erigon, besu", ("replacement transaction underpriced",)),
    _Row(SendOutcome.SENT, "nethermind, gnosis", ("alreadyknown", "ownnoncealreadyused")),
    _Row(SendOutcome.SENT, "nethermind", ("replacementnotallowed",)),
    _Row(SendOutcome.SENT, "openethereum", ("transaction with the same hash was already imported",)),
    _Row(SendOutcome.SENT, "openethereum", ("there is another transaction with same nonce in the queue",)),
    _Row(SendOutcome.SENT, "klaytn", ("there is another tx which has the same nonce in the tx pool",)),
    _Row(SendOutcome.SENT, "anvil", ("transaction already imported",)),
    _Row(SendOutcome.SENT, "substrate, sei", ("pool(alreadyimported)", "tx already exists in cache")),
    _Row(SendOutcome.SENT, "zksync", ("is already in the system",)),
    _Row(SendOutcome.NONCE_USED, "geth, erigon, besu, anvil", ("nonce too low",)),
    _Row(SendOutcome.NONCE_USED, "openethereum", ("transaction nonce is too low",)),
    _Row(SendOutcome.NONCE_USED, "nethermind", ("oldnonce",)),
    _Row(SendOutcome.NONCE_USED, "substrate, harmony", ("pool(stale)", "transaction already finalized")),
    # Arbitrum says this of a nonce that is too low and of one that is too high; receipts tell.
    _Row(SendOutcome.NONCE_USED, "arbitrum", ("invalid transaction nonce",)),
    _Row(SendOutcome.NONCE_GAP, "geth, erigon, arbitrum", ("nonce too high",)),
    _Row(SendOutcome.NONCE_GAP, "nethermind", ("noncegap", "noncetoofarinfuture", "nonce too far in future")),
    _Row(SendOutcome.NONCE_GAP, "besu", ("nonce is too distant",)),
    _Row(SendOutcome.UNFUNDED, "geth, erigon, anvil", ("insufficient funds for gas", "insufficient funds")),
    _Row(SendOutcome.UNFUNDED, "geth", ("insufficient balance for transfer", "would cause overdraft")),
    _Row(
        SendOutcome.UNFUNDED, "besu, arbitrum", ("upfront cost exceeds account balance", "not enough funds")
    ),
    _Row(SendOutcome.UNFUNDED, "nethermind", ("insufficientfunds",)),
    _Row(SendOutcome.UNFUNDED, "hedera, monad", ("insufficient_payer_balance", "insufficient balance")),
    _Row(SendOutcome.UNDERPRICED, "geth, erigon", ("transaction underpriced", "gas price below minimum")),
    _Row(SendOutcome.UNDERPRICED, "nethermind", ("feetoolow",)),
    _Row(
        SendOutcome.UNDERPRICED,
        "besu, hedera",
        ("gas price below configured minimum", "is below configured minimum"),
    ),
    _Row(SendOutcome.UNDERPRICED, "openethereum, arbitrum", ("gas price is too low", "gas price too low")),
    _Row(
        SendOutcome.UNDERPRICED,
        "arbitrum, zksync, anvil, astar",
        ("max fee per gas less than block base fee", "less than block base fee"),
    ),
    _Row(SendOutcome.UNDERPRICED, "celo", ("gas price minimum floor",)),
    # The operator of the node set this limit; another node, or a lower bid later, may take it.
    _Row(SendOutcome.BUSY, "geth, besu", ("exceeds the configured cap", "transaction fee cap exceeded")),
    _Row(SendOutcome.BUSY, "geth, celo", ("txpool is full", "transaction pool is full")),
    _Row(SendOutcome.BUSY, "openethereum", ("too many transactions in the queue",)),
    _Row(SendOutcome.BUSY, "arbitrum", ("queue full", "sequencer pending tx pool full")),
    _Row(
        SendOutcome.BUSY, "gateways", ("502 bad gateway", "503 service", "408 request timeout", "i/o timeout")
    ),
    # Before the providers' row, whose "limit exceeded" is in it.
    _Row(SendOutcome.FATAL, "nodes", ("gas limit exceeded",)),
    _Row(SendOutcome.BUSY, "providers", ("rate limit", "too many requests", "limit exceeded", "capacity")),
    _Row(SendOutcome.FATAL, "geth, erigon, zksync", ("exceeds block gas limit", "intrinsic gas too low")),
    _Row(SendOutcome.FATAL, "geth, erigon", ("negative value", "oversized data", "gas uint64 overflow")),
    _Row(
        SendOutcome.FATAL,
        "geth, mantle",
        ("invalid sender", "invalid chain id", "max initcode size exceeded"),
    ),
    _Row(
        SendOutcome.FATAL,
        "besu, openethereum",
        (
            "intrinsic gas exceeds gas limit",
            "gas limit exceeds block gas limit",
            "invalid signature",
            "invalid rlp",
            "cost exceeds current gas limit",
            "transaction is too big",
            "is not permitted",
            "banned in local queue",
        ),
    ),
    _Row(SendOutcome.FATAL, "nethermind", ("senderiscontract", "gaslimitexceeded", "failedtoresolvesender")),
    _Row(SendOutcome.FATAL, "arbitrum", ("forbidden sender address", "invalid message format")),
)
_TABLE = tuple((re.compile("|".join(map(re.escape, row.texts)), re.IGNORECASE), row.outcome) for row in _ROWS)


def classify(message: str) -> SendOutcome:
    """What a node's refusal of a raw transaction means."""
    return next((outcome for pattern, outcome in _TABLE if pattern.search(message)), SendOutcome.UNKNOWN)
