"""What a vault has of accounts at one block, through Multicall3 in one request.

The calls are pinned to the block's hash (EIP-1898, https://eips.ethereum.org/EIPS/eip-1898), so that a node
on another fork refuses instead of answering about another block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.chain import abi, multicall
from shared.chain.provider_errors import RefusalKind
from shared.chain.rpc import ProviderError, RpcClient
from shared.domain.network import Chain
from shared.domain.reconciliation import VaultAccount, VaultBalance
from shared.errors import RetryableError, TerminalError

_SEQUENCE = abi.selector("accountSequence(address)")
_POSITION = abi.selector("positionShares(address,address)")
_COLLATERAL_TOTAL = abi.selector("collateralTotalOf(address)")
_MARKET = abi.selector("marketOf(address)")
_POSITION_WORDS, _MARKET_WORDS = 3, 10
_DEBT_SHARES = 2
"""The place of a market's debt shares among its words (``LendingMarket.Market``)."""

MAX_CALLS = 1_000
"""Calls that one request may have: some ten million gas, below what nodes allow a call."""


class StateUnavailableError(RetryableError):
    """No provider has the state at that block (any more): a later block must be asked about."""


def accounts_per_request(chain: Chain) -> int:
    """How many accounts one request can be about."""
    return MAX_CALLS // (1 + len(chain.tokens))


def read_accounts(
    client: RpcClient, chain: Chain, block_hash: str, account_ids: Sequence[str]
) -> dict[str, VaultAccount]:
    """The accounts in the chain's vault at a block, in the order given, in one request.

    Args:
        account_ids: at most :func:`accounts_per_request`.

    Raises:
        StateUnavailableError: no provider has the block's state.
        RetryableError: no provider gave a whole answer.
    """
    tokens = list(chain.tokens.values())
    calls = [
        (chain.vault, data)
        for account_id in account_ids
        for data in (
            _SEQUENCE + _word(account_id),
            *(_POSITION + _word(account_id) + _word(token.address) for token in tokens),
        )
    ]
    answers = iter(_call(client, chain, block_hash, calls))
    found: dict[str, VaultAccount] = {}
    for account_id in account_ids:
        (sequence,) = _numbers(next(answers), 1, "accountSequence")
        balances: dict[str, VaultBalance] = {}
        for token in tokens:
            collateral, debt_shares, _ = _numbers(next(answers), _POSITION_WORDS, "positionShares")
            balances[token.asset] = VaultBalance(collateral, debt_shares)
        found[account_id] = VaultAccount(sequence, balances)
    return found


def read_totals(client: RpcClient, chain: Chain, block_hash: str) -> Mapping[str, VaultBalance]:
    """What all accounts together have in the chain's vault at a block, by asset.

    An asset that the vault does not list has nothing.

    Raises:
        StateUnavailableError: no provider has the block's state.
        RetryableError: no provider gave a whole answer.
    """
    tokens = list(chain.tokens.values())
    calls = [
        (chain.vault, selector + _word(token.address))
        for token in tokens
        for selector in (_COLLATERAL_TOTAL, _MARKET)
    ]
    answers = iter(_call(client, chain, block_hash, calls))
    totals: dict[str, VaultBalance] = {}
    for token in tokens:
        (collateral,) = _numbers(next(answers), 1, "collateralTotalOf")
        market = next(answers)
        shares = 0 if market is None else _numbers(market, _MARKET_WORDS, "marketOf")[_DEBT_SHARES]
        totals[token.asset] = VaultBalance(collateral, shares)
    return totals


def _call(
    client: RpcClient, chain: Chain, block_hash: str, calls: Sequence[tuple[str, str]]
) -> list[bytes | None]:
    at_block = {"blockHash": block_hash, "requireCanonical": True}
    request = ("eth_call", [{"to": chain.multicall, "data": multicall.encode(calls)}, at_block])
    failures: list[str] = []
    kinds: set[RefusalKind] = set()
    for provider in client.usable():
        try:
            (answer,) = provider.results([request])
            return multicall.decode(str(answer), len(calls))
        except ProviderError as error:
            kinds.add(error.kind)
            failures.append(f"{provider.name}: {error}")
        except TerminalError as error:
            kinds.add(RefusalKind.OTHER)
            failures.append(f"{provider.name}'s multicall at {chain.multicall}: {error.reason}")
    told = "; ".join(failures) or "every node asked to be left alone for a while"
    reason = f"vault of chain {chain.chain_id} at block {block_hash}: {told}"
    if kinds and kinds <= {RefusalKind.PRUNED, RefusalKind.UNKNOWN_BLOCK}:
        raise StateUnavailableError(reason)
    raise RetryableError(reason)


def _word(address: str) -> str:
    return f"{address.removeprefix('0x'):0>64}"


def _numbers(answer: bytes | None, count: int, function: str) -> list[int]:
    if answer is None or len(answer) != count * abi.WORD:
        raise RetryableError(f"the vault does not answer {function}: compare its address and its ABI")
    return [abi.unsigned(answer[start : start + abi.WORD]) for start in range(0, len(answer), abi.WORD)]
