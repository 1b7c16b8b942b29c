"""Plays a scenario on the local chain and remembers when each price was mined."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto

from local.chain import LocalChain, Transaction, feed_answer, repay
from local.deployment import ASSETS, Deployment
from local.escrows import (
    DvpTerms,
    EscrowTerms,
    approve_escrow,
    create_dvp,
    create_escrow,
    dispute_escrow,
    dvp_address,
    escrow_address,
    pay_dvp,
    propose_arbiter,
    refund_escrow,
    release_escrow,
    resolve_escrow,
    withdraw_escrow,
)
from local.hermes_control import HermesControl
from local.price_data import HERMES
from local.scenario import Breakage, SourceHealth, Step
from local.seed import Client
from shared.chain import abi
from shared.chain.rpc import NodeError, quantity
from shared.domain.escrows import ReleasePolicy

_ARBITER = "0x" + hashlib.sha256(b"arbiter").hexdigest()[:40]
_SECOND_ARBITER = "0x" + hashlib.sha256(b"second arbiter").hexdigest()[:40]
_ESCROW_BASE = 10**17
_DVP_USDC_BASE = 300 * 10**6
_DVP_WITHIN_S = 86_400
_STALE_FOR_S = 7 * 86_400
_BREATH = Decimal("0.0004")
_LATEST_ROUND = abi.selector("latestRoundData()")
_HERMES_FAULTS = {
    SourceHealth.DOWN: {"failing_fraction": 1.0, "cut": 1.0},
    SourceHealth.UP: {"failing_fraction": 0.0, "cut": 0.0},
}


class Ending(Enum):
    """How an escrow of the story ends."""

    RELEASED = auto()
    OPEN = auto()
    RESOLVED = auto()
    DELIVERED_VERSUS_PAYMENT = auto()
    REFUNDED = auto()
    ARBITER_REPLACED = auto()


_ENDINGS = tuple(Ending)


@dataclass
class Story:
    """One market and its people. Reproducible: the same seed plays the same story."""

    chain: LocalChain
    deployment: Deployment
    hermes: HermesControl
    clients: Sequence[Client]
    seed: int
    prices: dict[str, Decimal] = field(default_factory=lambda: {asset.asset: asset.price for asset in ASSETS})
    mined_at: dict[tuple[str, str], float] = field(default_factory=dict)
    """Wall-clock seconds at which a round of a feed was seen mined, by asset and round id."""

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)  # noqa: S311 reproducible, not secret
        self._repaid: set[str] = set()
        self._created = 0
        self.hermes.publish(self.prices)
        self.rounds = self._read_rounds()

    def play(self, step: Step) -> None:
        """Do everything in a step; its pause is the caller's."""
        for source, health in step.sources.items():
            self.set_source(source, health)
        self.move({asset: self.prices[asset] * factor for asset, factor in step.moves.items()})
        for asset, breakage in step.broken.items():
            self.break_feed(asset, breakage)
        if step.escrows:
            self.settle_escrows(step.escrows)
        if step.repayments:
            self.repay_some(step.repayments)

    def move(self, prices: dict[str, Decimal]) -> None:
        """Set prices: the feeds' in one transaction, and at once those of Hermes."""
        if prices:
            self.move_feeds(prices)
            self.move_hermes(prices)

    def move_hermes(self, prices: dict[str, Decimal]) -> None:
        """Let Hermes say these prices."""
        self.hermes.publish(prices)

    def move_feeds(self, prices: dict[str, Decimal]) -> None:
        """Set the feeds' prices in one transaction; these are the prices from now on."""
        self.prices.update(prices)
        mined_at = self.chain.set_prices(self.deployment, prices)
        rounds = self._read_rounds()
        for asset, round_id in rounds.items():
            if self.rounds.get(asset) != round_id:
                self.mined_at[asset, round_id] = mined_at
        self.rounds = rounds

    def breathe(self) -> None:
        """A small move of every coin, so that feeds keep their heartbeat."""
        self.move(
            {
                asset: price * (1 + _BREATH * Decimal(str(round(self._draw.uniform(-1, 1), 3))))
                for asset, price in self.prices.items()
                if asset != "USDC"
            }
            | {"USDC": self.prices["USDC"]}
        )

    def break_feed(self, asset: str, breakage: Breakage) -> None:
        """Give every source of an asset an answer that may not be used."""
        price = {Breakage.ZERO: Decimal(0), Breakage.NEGATIVE: Decimal(-1)}.get(breakage, self.prices[asset])
        age_s = _STALE_FOR_S if breakage is Breakage.STALE else 0
        self.chain.set_round(self.deployment, asset, feed_answer(price), int(time.time()) - age_s)
        self.hermes.publish({asset: price}, age_s=age_s)
        self.rounds = self._read_rounds()

    def set_source(self, source: str, health: SourceHealth) -> None:
        """Let a price source fail, or work again."""
        if source != HERMES:
            raise ValueError(f"only {HERMES} can be told to fail, not {source}")
        self.hermes.set_faults(_HERMES_FAULTS[health])

    def settle_escrows(self, count: int) -> None:
        """Create escrows between clients; one after the other they end in every way that there is."""
        self.chain.set_balances({_ARBITER: 10**18, _SECOND_ARBITER: 10**18})
        for _ in range(count):
            payer, payee = (client.account_id for client in self._draw.sample(self.clients, 2))
            self._created += 1
            ending = _ENDINGS[(self._created - 1) % len(_ENDINGS)]
            if ending is Ending.DELIVERED_VERSUS_PAYMENT:
                self.chain.mine_in_turn([self._trade(payee, payer)])
            else:
                self.chain.mine_in_turn([self._escrow(payer, payee, ending)])

    def _escrow(self, payer: str, payee: str, ending: Ending) -> list[Transaction]:
        policy = ReleasePolicy.TWO_OF_THREE if ending is Ending.ARBITER_REPLACED else ReleasePolicy.PAYER
        terms = EscrowTerms(payer, payee, _ARBITER, self._amount(), self._salt(), policy)
        address = escrow_address(self.chain, self.deployment, terms)
        rest: dict[Ending, list[Transaction]] = {
            Ending.OPEN: [],
            Ending.RELEASED: [
                *approve_escrow(address, payer),
                *release_escrow(address, payee),
                *withdraw_escrow(address, payee),
            ],
            Ending.RESOLVED: [
                *dispute_escrow(address, payee),
                *resolve_escrow(address, _ARBITER, 6_500),
                *withdraw_escrow(address, payer),
                *withdraw_escrow(address, payee),
            ],
            Ending.REFUNDED: [*refund_escrow(address, payee), *withdraw_escrow(address, payer)],
            Ending.ARBITER_REPLACED: [
                *approve_escrow(address, payee),
                *propose_arbiter(address, payer, _SECOND_ARBITER),
                *propose_arbiter(address, payee, _SECOND_ARBITER),
                *approve_escrow(address, _SECOND_ARBITER),
                *approve_escrow(address, payer),
                *release_escrow(address, payee),
            ],
        }
        return create_escrow(self.deployment, terms) + rest[ending]

    def _trade(self, seller: str, buyer: str) -> list[Transaction]:
        head = self.chain.client.call("eth_getBlockByNumber", "latest", False)
        terms = DvpTerms(
            seller,
            buyer,
            self.deployment.tokens["USDC"],
            _DVP_USDC_BASE * self._created,
            self._amount(),
            quantity(head["timestamp"]) + _DVP_WITHIN_S,
            self._salt(),
        )
        address = dvp_address(self.chain, self.deployment, terms)
        return [
            *create_dvp(self.deployment, terms),
            *pay_dvp(address, terms),
            *withdraw_escrow(address, seller),
            *withdraw_escrow(address, buyer),
        ]

    def _amount(self) -> int:
        return _ESCROW_BASE * self._created

    def _salt(self) -> bytes:
        return hashlib.sha256(f"{self.seed}:{self._created}".encode()).digest()

    def repay_some(self, count: int) -> None:
        """Some clients that owe dollars pay two fifths back, each once."""
        able = [
            client
            for client in self.clients
            if client.debt.get("USDC") and client.account_id not in self._repaid
        ]
        chosen = self._draw.sample(able, min(count, len(able)))
        self._repaid |= {client.account_id for client in chosen}
        self.chain.mine_in_turn(
            repay(self.deployment, client.account_id, "USDC", client.debt["USDC"] * 2 // 5)
            for client in chosen
        )

    def _read_rounds(self) -> dict[str, str]:
        feeds = self.deployment.feeds
        answers = self.chain.client.batch(
            [("eth_call", [{"to": feed, "data": _LATEST_ROUND}, "latest"]) for feed in feeds.values()]
        )
        return {
            asset: str(abi.unsigned(abi.words(answer, 5)[0]))
            for asset, answer in zip(feeds, answers, strict=True)
            if not isinstance(answer, NodeError)
        }
