"""The local chain: transactions on anvil, development feeds that move, and accounts that act.

anvil signs for every account (``--auto-impersonate``), so an account is nothing but an address.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from eth_abi.abi import encode

from local.deployment import ASSETS, CHAIN_ID, DEPLOYER, Deployment, run_deployment, take_deployment
from shared.chain import abi
from shared.chain.rpc import NodeError, RpcClient, quantity
from shared.domain.network import NATIVE_ASSET
from shared.errors import FusionError

FEED_DECIMALS = 8

_BATCH = 100
_GAS = 3_000_000
_RECEIPTS_WITHIN_S = 60.0
_ONE_ETHER = 10**18


class ChainError(FusionError):
    """The local chain did not do what it was told."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A call to be mined. ``value`` is native base units."""

    sender: str
    to: str | None
    data: str
    value: int = 0
    gas: int = _GAS


def calldata(signature: str, *values: Any) -> str:
    """A call of ``name(type,…)`` with these values; the types may be any of the ABI's."""
    types = signature[signature.index("(") + 1 : -1]
    return abi.selector(signature) + encode(_split(types), values).hex()


def _split(types: str) -> list[str]:
    """The types of a list, tuples kept whole."""
    found: list[str] = []
    depth, start = 0, 0
    for position, character in enumerate(types + ","):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            if position > start:
                found.append(types[start:position])
            start = position + 1
    return found


class LocalChain:
    """Sends transactions to one anvil and waits until they are mined."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = RpcClient(CHAIN_ID, (url,))

    def mine_in_turn(self, sequences: Iterable[Sequence[Transaction]]) -> None:
        """Mine many sequences side by side, each in its own order.

        Raises:
            ChainError: a transaction was refused or reverted; says which and why.
        """
        waiting = [list(sequence) for sequence in sequences]
        while any(waiting):
            self.mine([sequence.pop(0) for sequence in waiting if sequence])

    def mine(self, transactions: Sequence[Transaction]) -> list[dict[str, Any]]:
        """Send transactions that do not build on each other and wait for all; their receipts.

        Raises:
            ChainError: one was refused or reverted; says which and why.
        """
        receipts: list[dict[str, Any]] = []
        for start in range(0, len(transactions), _BATCH):
            chunk = transactions[start : start + _BATCH]
            # anvil works on the calls of a batch at once, so it may not choose the nonces.
            nonces = self._nonces(chunk)
            hashes = self.client.batch(
                [
                    ("eth_sendTransaction", [{**_fields(item), "nonce": hex(nonce)}])
                    for item, nonce in zip(chunk, nonces, strict=True)
                ]
            )
            for item, answer in zip(chunk, hashes, strict=True):
                if isinstance(answer, NodeError):
                    raise ChainError(f"{item.sender} to {item.to}: {answer.message}")
            receipts += self._receipts(chunk, hashes)
        return receipts

    def _nonces(self, chunk: Sequence[Transaction]) -> list[int]:
        senders = list(dict.fromkeys(item.sender for item in chunk))
        counts = self.client.batch([("eth_getTransactionCount", [sender, "pending"]) for sender in senders])
        following = {sender: quantity(count) for sender, count in zip(senders, counts, strict=True)}
        nonces: list[int] = []
        for item in chunk:
            nonces.append(following[item.sender])
            following[item.sender] += 1
        return nonces

    def _receipts(self, sent: Sequence[Transaction], hashes: Sequence[str]) -> list[dict[str, Any]]:
        deadline = time.monotonic() + _RECEIPTS_WITHIN_S
        while True:
            # anvil gives receipts of a block a moment before its head is that block.
            head, *found = self.client.batch(
                [("eth_blockNumber", []), *(("eth_getTransactionReceipt", [item]) for item in hashes)]
            )
            if all(found) and quantity(head) >= max(quantity(each["blockNumber"]) for each in found):
                break
            if time.monotonic() > deadline:
                raise ChainError(f"{found.count(None)} transactions are not mined: is anvil mining?")
            time.sleep(0.02)
        for item, receipt in zip(sent, found, strict=True):
            if quantity(receipt["status"]) != 1:
                raise ChainError(f"{item.sender} to {item.to}: reverted: {self._reason(item, receipt)}")
        return found

    def _reason(self, item: Transaction, receipt: Mapping[str, Any]) -> str:
        try:
            self.client.call("eth_call", _fields(item), receipt["blockNumber"])
        except NodeError as error:
            return error.message
        return "for a reason that is gone"

    def deploy(self) -> Deployment:
        """Put every contract on the chain as ``contracts/networks/local.json`` says, and supply loans.

        Raises:
            DeploymentError: the deployment script failed; says what it said.
        """
        self.set_balances({DEPLOYER: 10**9 * _ONE_ETHER})
        # A chain that has had contracts gets new ones: feeds and accounts start afresh.
        salt = str(quantity(self.client.call("eth_blockNumber")))
        name = f"local-{uuid.uuid4().hex}"
        run_deployment(self.url, "local", name=name, salt=salt)
        deployment = take_deployment(name)
        self._wait_for_code(deployment.vault)
        self._supply(deployment)
        return deployment

    def _wait_for_code(self, address: str) -> None:
        deadline = time.monotonic() + _RECEIPTS_WITHIN_S
        while self.client.call("eth_getCode", address, "latest") == "0x":
            if time.monotonic() > deadline:
                raise ChainError(f"{address} has no code: the deployment is not on this chain")
            time.sleep(0.02)

    def _supply(self, deployment: Deployment) -> None:
        """Let the owner lend the vault ten billion dollars' worth of every asset."""
        for asset in ASSETS:
            amount = int(Decimal(10**10) / asset.price) * 10**asset.decimals
            token = deployment.tokens[asset.asset]
            supply = calldata("supply(address,uint256)", token, amount)
            value = amount if token == NATIVE_ASSET else 0
            funding = _fund(deployment, deployment.owner, token, amount)
            self.mine_in_turn(
                [[*funding, Transaction(deployment.owner, deployment.vault, supply, value=value)]]
            )

    def set_balances(self, balances: Mapping[str, int]) -> None:
        """Give addresses native balances, in base units."""
        items = list(balances.items())
        for start in range(0, len(items), _BATCH):
            self.client.batch(
                [
                    ("anvil_setBalance", [address, hex(amount)])
                    for address, amount in items[start : start + _BATCH]
                ]
            )

    def set_prices(self, deployment: Deployment, prices: Mapping[str, Decimal]) -> float:
        """Move feeds in one transaction; the wall-clock time (seconds) at which it was seen mined."""
        assets = list(prices)
        move = calldata(
            "updateAnswers(address[],int256[])",
            [deployment.feeds[asset] for asset in assets],
            [feed_answer(prices[asset]) for asset in assets],
        )
        self.mine([Transaction(deployment.owner, deployment.market_setter, move)])
        return time.time()

    def set_round(self, deployment: Deployment, asset: str, answer: int, updated_at: int) -> None:
        """Give a feed any round at all: stale, zero or negative ones too."""
        data = calldata(
            "updateRound(address,int256,uint64,uint64)",
            *(deployment.feeds[asset], answer, updated_at, updated_at),
        )
        self.mine([Transaction(deployment.owner, deployment.market_setter, data)])

    def positions(
        self, deployment: Deployment, accounts: Iterable[str]
    ) -> dict[str, dict[str, tuple[int, int]]]:
        """What the vault keeps: (collateral in base units, shares of debt) by account and asset; zeros left
        out."""
        wanted = [(account, asset) for account in accounts for asset in deployment.tokens]
        found: dict[str, dict[str, tuple[int, int]]] = {account: {} for account, _ in wanted}
        for start in range(0, len(wanted), _BATCH):
            chunk = wanted[start : start + _BATCH]
            answers = self.client.batch(
                [
                    (
                        "eth_call",
                        [
                            {
                                "to": deployment.vault,
                                "data": calldata(
                                    "positionShares(address,address)", account, deployment.tokens[asset]
                                ),
                            },
                            "latest",
                        ],
                    )
                    for account, asset in chunk
                ]
            )
            for (account, asset), answer in zip(chunk, answers, strict=True):
                if isinstance(answer, NodeError):
                    raise ChainError(f"position of {account} in {asset}: {answer.message}")
                collateral, debt = (abi.unsigned(word) for word in abi.words(answer, 3)[:2])
                if collateral or debt:
                    found[account][asset] = (collateral, debt)
        return found


def _fields(item: Transaction) -> dict[str, str]:
    fields = {"from": item.sender, "data": item.data, "value": hex(item.value), "gas": hex(item.gas)}
    if item.to is not None:
        fields["to"] = item.to
    return fields


def feed_answer(price: Decimal) -> int:
    """A price in USD as our feeds give it, with 8 decimals."""
    return int(price.scaleb(FEED_DECIMALS))


def _fund(deployment: Deployment, account: str, token: str, amount_base: int) -> list[Transaction]:
    """Mint a token to an account and let the vault take it; nothing for the native asset."""
    if token == NATIVE_ASSET:
        return []
    return [
        Transaction(deployment.owner, token, calldata("mint(address,uint256)", account, amount_base)),
        Transaction(account, token, calldata("approve(address,uint256)", deployment.vault, amount_base)),
    ]


def deposit(deployment: Deployment, account: str, asset: str, amount_base: int) -> list[Transaction]:
    """What it takes, in turn, to deposit collateral; a token is minted to the account first."""
    token = deployment.tokens[asset]
    data = calldata("deposit(address,uint256)", token, amount_base)
    value = amount_base if token == NATIVE_ASSET else 0
    return [
        *_fund(deployment, account, token, amount_base),
        Transaction(account, deployment.vault, data, value=value),
    ]


def withdraw(deployment: Deployment, account: str, asset: str, amount_base: int) -> list[Transaction]:
    """What an account sends to take collateral out."""
    data = calldata("withdraw(address,uint256)", deployment.tokens[asset], amount_base)
    return [Transaction(account, deployment.vault, data)]


def borrow(deployment: Deployment, account: str, asset: str, amount_base: int) -> list[Transaction]:
    """What an account sends to borrow."""
    data = calldata("borrow(address,uint256)", deployment.tokens[asset], amount_base)
    return [Transaction(account, deployment.vault, data)]


def repay(deployment: Deployment, account: str, asset: str, amount_base: int) -> list[Transaction]:
    """What it takes, in turn, to pay a debt back; the account holds what it borrowed."""
    token = deployment.tokens[asset]
    data = calldata("repay(address,uint256)", token, amount_base)
    if token == NATIVE_ASSET:
        return [Transaction(account, deployment.vault, data, value=amount_base)]
    return [
        Transaction(account, token, calldata("approve(address,uint256)", deployment.vault, amount_base)),
        Transaction(account, deployment.vault, data),
    ]
