"""Refused sendings: the nodes' own words, and what they mean."""

from __future__ import annotations

import pytest

from shared.chain.send_errors import SendOutcome, classify

# Verbatim, as the named clients say it.
SAID: list[tuple[str, str, SendOutcome]] = [
    ("geth", "already known", SendOutcome.SENT),
    ("geth", "known transaction: b1f2", SendOutcome.SENT),
    ("geth", "replacement transaction underpriced", SendOutcome.SENT),
    ("geth", "INTERNAL_ERROR: replacement transaction underpriced", SendOutcome.SENT),
    ("besu", "Known transaction", SendOutcome.SENT),
    ("besu", "Replacement transaction underpriced", SendOutcome.SENT),
    ("nethermind", "AlreadyKnown", SendOutcome.SENT),
    ("nethermind", "OwnNonceAlreadyUsed", SendOutcome.SENT),
    ("openethereum", "Transaction with the same hash was already imported.", SendOutcome.SENT),
    (
        "openethereum",
        "Transaction gas price 100wei is too low. There is another transaction with same nonce in the queue"
        " with gas price 150wei. Try increasing the gas price or incrementing the nonce.",
        SendOutcome.SENT,
    ),
    ("anvil", "transaction already imported", SendOutcome.SENT),
    ("geth", "nonce too low: address 0xab, tx: 1 state: 2", SendOutcome.NONCE_USED),
    ("anvil", "nonce too low", SendOutcome.NONCE_USED),
    ("nethermind", "OldNonce, Current nonce: 22, nonce of rejected tx: 17", SendOutcome.NONCE_USED),
    ("openethereum", "Transaction nonce is too low. Try incrementing the nonce.", SendOutcome.NONCE_USED),
    ("harmony", "transaction already finalized", SendOutcome.NONCE_USED),
    ("nethermind", "NonceGap, Future nonce. Expected nonce: 10", SendOutcome.NONCE_GAP),
    ("geth", "nonce too high", SendOutcome.NONCE_GAP),
    ("geth", "transaction underpriced", SendOutcome.UNDERPRICED),
    ("anvil", "max fee per gas less than block base fee", SendOutcome.UNDERPRICED),
    (
        "nethermind",
        "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 50, BaseFee: 100, MaxPriorityFeePerGas:2",
        SendOutcome.UNDERPRICED,
    ),
    ("besu", "Gas price below configured minimum gas price", SendOutcome.UNDERPRICED),
    (
        "geth",
        "insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1",
        SendOutcome.UNFUNDED,
    ),
    ("anvil", "Insufficient funds for gas * price + value", SendOutcome.UNFUNDED),
    ("besu", "Upfront cost exceeds account balance", SendOutcome.UNFUNDED),
    ("nethermind", "InsufficientFunds, Account balance: 4, cumulative cost: 5", SendOutcome.UNFUNDED),
    ("geth", "tx fee (1.10 ether) exceeds the configured cap (1.00 ether)", SendOutcome.BUSY),
    ("arbitrum", "queue full", SendOutcome.BUSY),
    ("gateway", "503 Service Unavailable: <html>", SendOutcome.BUSY),
    ("geth", "exceeds block gas limit", SendOutcome.FATAL),
    ("geth", "intrinsic gas too low: gas 20000, minimum needed 21000", SendOutcome.FATAL),
    ("besu", "Intrinsic gas exceeds gas limit", SendOutcome.FATAL),
    ("treasure", "invalid chain id for signer", SendOutcome.FATAL),
    ("a node of before EIP-2718", "unknown transaction type: 2", SendOutcome.FATAL),
    ("a node", "block gas limit exceeded", SendOutcome.FATAL),
    ("nethermind", "ReplacementNotAllowed", SendOutcome.SENT),
    ("nethermind", "NonceTooFarInFuture", SendOutcome.NONCE_GAP),
    ("nethermind of 2026", "nonce too far in future", SendOutcome.NONCE_GAP),
    ("besu", "Transaction nonce is too distant from current sender nonce", SendOutcome.NONCE_GAP),
    ("nobody", "the moon is full", SendOutcome.UNKNOWN),
]


@pytest.mark.parametrize(("client", "message", "outcome"), SAID)
def test_a_node_is_understood(client: str, message: str, outcome: SendOutcome) -> None:
    assert classify(message) is outcome, client
