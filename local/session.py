"""A running platform with a clientele: what the demo, the smoke test, chaos and the benchmarks play on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import urllib3
from google.cloud import firestore

from local.chain import LocalChain
from local.deployment import Deployment
from local.environment import CUSTODY_ACCOUNT
from local.gateway_client import GatewayClient
from local.hermes_control import HermesControl
from local.latency import LatencyProbe
from local.platform import Platform, PlatformOptions
from local.price_data import CHAINLINK, HERMES
from local.seed import Client, add_api_key, add_contacts, add_custody, fund, lend, make_clients
from local.story import Story
from shared.errors import FusionError
from shared.events.prices import PriceTick
from shared.stores import accounts, margin_progress, margin_states, ticks

SETTLED_WITHIN_S = 180.0
_POLL_S = 0.25
_PYTH_PRECISION = Decimal("1e-7")
_ACCOUNTS_PER_LOOK = 50


class NotSettledError(FusionError):
    """The platform did not reach a state within its time; the message says what is missing."""


@dataclass
class Session:
    """Everything that a story needs."""

    platform: Platform
    chain: LocalChain
    deployment: Deployment
    clients: Sequence[Client]
    story: Story
    api_key: str
    database: firestore.Client
    gateway: GatewayClient
    probe: LatencyProbe

    @property
    def account_ids(self) -> list[str]:
        """The clients' accounts."""
        return [client.account_id for client in self.clients]

    def wait(self, missing: Callable[[], str | None], *, within_s: float = SETTLED_WITHIN_S) -> None:
        """Wait until ``missing`` says None; it gets no more of the machine than what it waits for.

        Raises:
            NotSettledError: with what it said last.
            PartDiedError: a part of the platform died meanwhile.
        """
        deadline = time.monotonic() + within_s
        while True:
            asked = time.monotonic()
            said = missing()
            if said is None:
                return
            self.platform.check()
            if time.monotonic() > deadline:
                raise NotSettledError(f"after {within_s:.0f} s: {said}")
            time.sleep(max(_POLL_S, 2 * (time.monotonic() - asked)))

    def wait_projected(self, *, within_s: float = SETTLED_WITHIN_S) -> None:
        """Wait until every account's positions are the contract's and evaluated; nobody may act meanwhile."""
        on_chain = self.chain.positions(self.deployment, self.account_ids)

        def unprojected() -> str | None:
            # Those that were found settled once need not be looked at again.
            while on_chain:
                next_ids = list(on_chain)[:_ACCOUNTS_PER_LOOK]
                missing = self._unprojected({account_id: on_chain[account_id] for account_id in next_ids})
                if missing is not None:
                    return missing
                for account_id in next_ids:
                    del on_chain[account_id]
            return None

        self.wait(unprojected, within_s=within_s)

    def _unprojected(self, on_chain: Mapping[str, Mapping[str, tuple[int, int]]]) -> str | None:
        known = accounts.find_many(self.database, on_chain)
        records = {
            account_id: record
            for account_id, (record, _) in margin_states.find_many(self.database, on_chain).items()
        }
        for account_id, expected in on_chain.items():
            account = known.get(account_id)
            held = {
                position.asset: (position.collateral_base, position.debt_shares)
                for position in (account.positions.values() if account else ())
                if position.collateral_base or position.debt_shares
            }
            if held != expected:
                return f"{account_id} holds {expected} on chain, {held} here"
            if account is None:
                continue
            record = records.get(account_id)
            if record is None or record.position_version < account.version:
                return f"{account_id} is not evaluated at version {account.version}"
        return None

    def unticked(self) -> str | None:
        """Which feed's latest round is not yet in a published tick; None if all are."""
        latest = ticks.find_latest(self.database)
        if latest is None:
            return "there is no tick"
        rounds = {
            mark.asset: quote.reference
            for mark in latest.marks
            for quote in mark.quotes
            if quote.source == CHAINLINK and not quote.is_carried
        }
        for asset, round_id in self.story.rounds.items():
            if rounds.get(asset) != round_id:
                return (
                    f"{asset} is at round {round_id} on chain, {rounds.get(asset)} in tick {latest.sequence}"
                )
        return None

    def unheard(self) -> str | None:
        """Which price Hermes has not yet said in a published tick; None if all are."""
        latest = ticks.find_latest(self.database)
        if latest is None:
            return "there is no tick"
        heard = {
            mark.asset: quote.price
            for mark in latest.marks
            for quote in mark.quotes
            if quote.source == HERMES and not quote.is_carried
        }
        for asset, price in self.story.prices.items():
            said = heard.get(asset)
            if said is None or abs(said - price) > _PYTH_PRECISION:
                return f"Hermes says {price} of {asset}, tick {latest.sequence} has {said}"
        return None

    def unpriced(self) -> str | None:
        """Which feed's latest round is not yet in a tick that the book was evaluated at; None if all are."""
        missing = self.unticked()
        if missing is not None:
            return missing
        latest = ticks.find_latest(self.database)
        evaluated = margin_progress.find_evaluated(self.database)
        if latest is not None and (evaluated is None or evaluated < latest.sequence):
            return f"tick {latest.sequence} is not evaluated"
        return None

    def read_ticks(self) -> list[PriceTick]:
        """Every tick of the story, in order."""
        found: list[PriceTick] = []
        latest = ticks.find_latest(self.database)
        end = 0 if latest is None else latest.sequence + 1
        while page := ticks.list_between(self.database, found[-1].sequence if found else 0, end):
            found += page
        return found

    def read_receipts(self) -> None:
        """Tell the probe what the mail and webhook sinks have received."""
        mail = read_sink(self.platform.urls.mailbox)
        hooks = read_sink(self.platform.urls.webhooks)
        self.probe.received(
            {message["message_id"]: message["received_at_ms"] / 1000 for message in reversed(mail)}
        )
        self.probe.received(
            {message["webhook_id"]: message["received_at_ms"] / 1000 for message in reversed(hooks)}
        )


def read_sink(url: str) -> list[dict[str, Any]]:
    """Every message that a sink has received, oldest first."""
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        response = urllib3.request("GET", f"{url}/api/messages?after={after}", timeout=10.0)
        page = json.loads(response.data)["messages"]
        if not page:
            return sorted(found, key=lambda message: int(message["number"]))
        found += page
        after = max(int(message["number"]) for message in page)


@contextmanager
def running_session(
    options: PlatformOptions,
    *,
    n_accounts: int,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Session]:
    """Start the platform, put the clientele on it, and wait until every account is evaluated."""
    with Platform(options) as platform:
        yield populate(platform, n_accounts=n_accounts, seed=seed, progress=progress)


def populate(platform: Platform, *, n_accounts: int, seed: int, progress: Callable[[str], None]) -> Session:
    """Put a clientele on a running platform: collateral, loans, contacts, an API key."""
    # Google's client libraries find their emulators in the environment.
    os.environ.update(platform.environment())
    chain = platform.chain
    deployment = platform.deployment
    clients = make_clients(n_accounts, seed)
    database = firestore.Client(project=platform.project)
    progress(f"adding contacts of {n_accounts} accounts")
    add_contacts(
        database,
        [client.account_id for client in clients],
        webhook_url=platform.urls.webhooks,
        webhook_secret=platform.webhook_secret,
    )
    add_custody(database, CUSTODY_ACCOUNT)
    api_key = add_api_key(database, "demo")
    story = Story(chain, deployment, HermesControl(platform.urls.hermes), clients, seed)
    session = Session(
        platform=platform,
        chain=chain,
        deployment=deployment,
        clients=clients,
        story=story,
        api_key=api_key,
        database=database,
        gateway=GatewayClient(f"{platform.urls.gateway}/graphql", api_key),
        probe=LatencyProbe(database, story.mined_at, platform.environment()["MAIL_FROM"]),
    )
    progress("clients deposit collateral")
    fund(chain, deployment, clients)
    session.wait_projected()
    progress("clients borrow")
    lend(chain, deployment, clients)
    session.wait_projected()
    return session
