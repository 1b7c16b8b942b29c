"""An account in custody on the test's chain, and commands for it, sent in as the gateway does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.cloud import firestore

from shared.chain.rpc import RpcClient, quantity
from shared.config import Settings
from shared.domain.network import NATIVE_ASSET
from shared.domain.settlement_commands import Command, CommandKind
from shared.domain.transactions import Transaction
from shared.events import topics
from shared.events.settlement_commands import SettlementCommand, command_message
from shared.runtime import command_intake
from shared.runtime.command_intake import Asked, Intake
from shared.runtime.context import load_network
from shared.signing.local import LocalSigner
from shared.stores import custody, settlement_commands, transactions
from tests.conftest import Project
from tests.eventually import eventually
from tests.functions.conftest import Caller, Market, Outcome
from tests.messages import CHAIN_ID

SUBMIT = "submit_settlement_command"
FOLLOW = "follow_transactions"
ETHER = 10**18


@dataclass(frozen=True)
class Custodian:
    """An account whose key the test's project has."""

    project: Project
    market: Market
    call: Caller
    store: firestore.Client
    account_id: str

    @staticmethod
    def of(project: Project, market: Market, call: Caller, store: firestore.Client) -> Custodian:
        """The account of the project's key, with a thousand native tokens."""
        (key,) = project.settings("SIGNER_KEYS").local_signer_keys
        account_id = LocalSigner(key).address
        market.chain.set_balances({account_id: 1_000 * ETHER})
        custody.put(store, custody.Custody(account_id, None))
        custodian = Custodian(project, market, call, store, account_id)
        custodian.finality(0)
        return custodian

    @property
    def node(self) -> RpcClient:
        """The chain's node."""
        return self.market.chain.client

    def settings(self) -> Settings:
        """The settings of the one that takes commands."""
        return self.project.settings("NETWORK_FILE")

    def send_in(
        self,
        client_key: str,
        kind: CommandKind = CommandKind.VAULT_DEPOSIT,
        *,
        within: timedelta = timedelta(hours=1),
        until: datetime | None = None,
        **arguments: str,
    ) -> Intake:
        """Send a command in, which expires at ``until``; a deposit of one base unit unless told otherwise."""
        deposit = {"asset": NATIVE_ASSET, "amount": "1"} if kind is CommandKind.VAULT_DEPOSIT else {}
        asked = Asked(
            account_id=self.account_id,
            client_key=client_key,
            chain_id=CHAIN_ID,
            kind=kind,
            arguments=tuple((deposit | arguments).items()),
            deadline=until or datetime.now(UTC) + within,
        )
        settings = self.settings()
        return command_intake.take(settings, load_network(settings), asked, datetime.now(UTC))

    def message(self, client_key: str, **options: str) -> SettlementCommand:
        """The announcement of a new command."""
        return command_message(self.send_in(client_key, **options).command)  # type: ignore[arg-type]

    def push(self, message: SettlementCommand) -> Outcome:
        """Deliver a command to the function that submits it."""
        outcome = self.call.push(SUBMIT, topics.SETTLEMENT_COMMANDS, message)
        self._until_mined()
        return outcome

    def _until_mined(self) -> None:
        """anvil answers a sending before it has mined it."""
        if self.node.call("anvil_getAutomine"):
            eventually(lambda: self.pool_count() == self.mined_count())

    def submit(self, client_key: str, **options: str) -> str:
        """Send a command in and have it submitted; its id."""
        message = self.message(client_key, **options)
        assert self.push(message).acknowledged
        return message.event_id

    def follow(self) -> Outcome:
        """Let the scheduler look at the transactions once."""
        outcome = self.call.request(FOLLOW, schedule_time=datetime.now(UTC))
        self._until_mined()
        return outcome

    def command(self, command_id: str) -> Command:
        """A command as it is kept."""
        found = settlement_commands.find(self.store, command_id)
        assert found is not None
        return found[0]

    def transaction(self, command_id: str) -> Transaction:
        """The transaction of a command."""
        identifier = self.command(command_id).transaction_id
        assert identifier is not None
        return transactions.find_many(self.store, [identifier])[identifier]

    def all_transactions(self) -> list[Transaction]:
        """Every transaction, by nonce."""
        found = self.store.collection(transactions.COLLECTION).stream()
        return sorted(
            (transactions.decode(document.to_dict() or {}) for document in found), key=lambda each: each.nonce
        )

    def mined_count(self) -> int:
        """How many of the account's transactions are mined."""
        return quantity(self.node.call("eth_getTransactionCount", self.account_id, "latest"))

    def pool_count(self) -> int:
        """As :meth:`mined_count`, with what waits in the node's pool."""
        return quantity(self.node.call("eth_getTransactionCount", self.account_id, "pending"))

    def deposited(self) -> int:
        """What the vault holds for the account, in base units of the native asset."""
        positions = self.market.chain.positions(self.market.deployment, [self.account_id])
        return positions[self.account_id].get("ETH", (0, 0))[0]

    def mine(self, count: int = 1) -> None:
        """Mine blocks with whatever waits."""
        self.node.call("anvil_mine", hex(count))

    @contextmanager
    def nothing_is_mined(self) -> Iterator[None]:
        """The node keeps transactions in its pool until it is told to mine."""
        self.node.call("evm_setAutomine", False)
        try:
            yield
        finally:
            self.node.call("evm_setAutomine", True)
            self.node.call("anvil_dropAllTransactions")

    def finality(self, count: int) -> None:
        """Let blocks be final only under so many others."""
        network = self.market.deployment.network(start_block=self.market.start_block)
        network["chains"][0]["finality"] = count
        self.project.write_network(network)
