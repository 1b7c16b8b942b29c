"""The whole platform on this machine, started in parallel and stopped without a trace.

::

    with Platform(PlatformOptions(state_folder=Path(".state/mine"))) as platform:
        platform.urls.gateway, platform.project, platform.environment()

Each part starts as soon as what it needs is there: contracts need the chain node, topics Pub/Sub, functions
the network description, and so on. The clock comes last, because it starts the work.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from local.chain import LocalChain
from local.deployment import Deployment
from local.emulators import EmulatorHosts, EmulatorName, answers, emulator_parts
from local.environment import HERMES_API_KEY, ROOT, Intervals, Places, process_environment, settings
from local.ports import free_ports
from local.provision import provision_messaging, provision_warehouse
from local.supervisor import Part, PartDiedError, Supervisor
from local.webhook_sink import SECRET_VARIABLE
from shared.manifest import load_manifest

OWN_PARTS = ("functions", "gateway", "clock")
"""The processes that run our code as production would; chaos kills these."""

# More than there are parts: each waits in a thread of its own for what it needs.
_PARALLEL_STARTS = 24
# Short, because nothing of ours may depend on a clean end.
_STOP_GRACE_S = 2.0
_PORT_NAMES = (
    *("firestore", "pubsub", "bigquery", "anvil"),
    *("smtp", "mailbox", "webhooks", "chain_proxy", "push_proxy", "functions", "gateway", "hermes"),
)


@dataclass(frozen=True)
class PlatformOptions:
    """How a copy of the platform is set up.

    Args:
        state_folder: logs, the network description and what the sinks received; emptied at the start.
        project: the Google Cloud project that everything is in.
        intervals: how often the scheduled functions tick.
        block_interval_s: seconds between the chain's blocks; None mines one per transaction.
        disturbed: True puts the fault proxies in the path (still, until told otherwise) and starts our own
            processes again when they are killed.
        seed: of the proxies' decisions.
        with_gateway: False starts everything but the gateway.
        margin_shards: into how many shards the margin book is cut.
        log_level: of our own processes.
        report: told what is going on, a short line at a time.
    """

    state_folder: Path
    project: str = "fusion-local"
    intervals: Intervals = field(default_factory=Intervals)
    block_interval_s: float | None = None
    disturbed: bool = False
    seed: int = 1
    with_gateway: bool = True
    margin_shards: int = 1
    log_level: str = "INFO"
    report: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True)
class Urls:
    """Where everything of a copy is served."""

    gateway: str
    functions: str
    mailbox: str
    webhooks: str
    rpc: str
    bigquery: str
    chain_proxy: str
    push_proxy: str
    hermes: str


class Platform:
    """One copy of the platform; a context manager that starts and stops it.

    Args:
        options: how it is set up.

    Raises (on entering):
        PrerequisiteError: something that must be on the machine is not.
        PartDiedError: a part did not start; the message names it, with the tail of its log.
    """

    def __init__(self, options: PlatformOptions) -> None:
        self.options = options
        self.project = options.project
        self.webhook_secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
        self._folder = options.state_folder.resolve()
        self._ports = dict(zip(_PORT_NAMES, free_ports(len(_PORT_NAMES)), strict=True))
        self._manifest_file = ROOT / "functions.yaml"
        self._manifest = load_manifest(self._manifest_file)
        self._deployment: Deployment | None = None
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._supervisor = Supervisor(self._folder, self._on_death, stop_grace_s=_STOP_GRACE_S)
        try:
            self._start()
        except BaseException:
            self._supervisor.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.supervisor.stop()

    @property
    def supervisor(self) -> Supervisor:
        """What owns the processes."""
        if self._supervisor is None:
            raise RuntimeError("the platform is not started: enter it first")
        return self._supervisor

    @property
    def hosts(self) -> EmulatorHosts:
        """Where the emulators listen."""
        names: tuple[EmulatorName, ...] = ("firestore", "pubsub", "bigquery", "anvil")
        return EmulatorHosts({name: self._ports[name] for name in names})

    @property
    def urls(self) -> Urls:
        """Where everything is served."""
        return Urls(
            gateway=self._url("gateway"),
            functions=self._url("functions"),
            mailbox=self._url("mailbox"),
            webhooks=self._url("webhooks"),
            rpc=self._url("anvil"),
            bigquery=self._url("bigquery"),
            chain_proxy=self._url("chain_proxy"),
            push_proxy=self._url("push_proxy"),
            hermes=self._url("hermes"),
        )

    @property
    def chain(self) -> LocalChain:
        """A client of the chain node itself, past the proxy."""
        return LocalChain(self.urls.rpc)

    @property
    def deployment(self) -> Deployment:
        """The contracts on the chain."""
        if self._deployment is None:
            raise RuntimeError("the contracts are not deployed yet")
        return self._deployment

    @property
    def network_file(self) -> Path:
        """The network description that every process reads."""
        return self._folder / "network.json"

    @property
    def part_names(self) -> tuple[str, ...]:
        """Every process, in the order of their start."""
        return self.supervisor.names

    def environment(self) -> dict[str, str]:
        """The settings of a process beside the platform (tests, seeding)."""
        disturbed = self.options.disturbed
        places = Places(
            hosts=self.hosts,
            rpc_url=self.urls.chain_proxy if disturbed else self.urls.rpc,
            smtp_port=self._ports["smtp"],
            network_file=self.network_file,
            dataset=self._manifest.warehouse.dataset,
            hermes_url=self.urls.hermes,
        )
        return settings(
            self.project,
            places,
            self.options.intervals,
            log_level=self.options.log_level,
            margin_shards=self.options.margin_shards,
        )

    def kill(self, name: str) -> None:
        """SIGKILL a part and everything in its process group."""
        self.supervisor.kill(name)

    def restart(self, name: str) -> None:
        """Stop a part cleanly and start it again; returns when it is ready."""
        self.supervisor.restart(name)

    def wait_ready(self, name: str) -> None:
        """Return when a part answers."""
        self.supervisor.wait_ready(name)

    def check(self) -> None:
        """Raise :class:`PartDiedError` if a part died for good."""
        self.supervisor.check()

    def log_tail(self, name: str, lines: int = 20) -> str:
        """The last lines of a part's log."""
        text = self.supervisor.log(name).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _start(self) -> None:
        """Start each part as soon as what it needs is there."""
        with ThreadPoolExecutor(_PARALLEL_STARTS) as pool:

            def begin(work: Callable[[], None], *needed: Future[None]) -> Future[None]:
                def run() -> None:
                    for each in needed:
                        each.result()
                    work()

                return pool.submit(run)

            emulators = {part.name: begin(partial(self._launch, part)) for part in self._emulators()}
            sinks = [begin(partial(self._launch, part)) for part in self._sinks()]
            contracts = begin(self._deploy, emulators["anvil"])
            topics = begin(self._create_topics, emulators["pubsub"])
            tables = begin(self._create_tables, emulators["bigquery"])
            functions = begin(partial(self._launch, self._functions()), contracts)
            gateway = [begin(partial(self._launch, each), contracts, topics) for each in self._gateway()]
            everything = [*emulators.values(), *sinks, topics, tables, functions, *gateway]
            clock = begin(partial(self._launch, self._clock()), *everything)
            for each in (*everything, clock):
                each.result()

    def _launch(self, part: Part) -> None:
        self.supervisor.start([part])
        self.options.report(f"{part.name} is ready")

    def _create_topics(self) -> None:
        provision_messaging(
            self._manifest,
            project=self.project,
            pubsub_host=self.hosts.pubsub,
            push_base_url=self.urls.push_proxy if self.options.disturbed else self.urls.functions,
        )
        self.options.report("topics and subscriptions are created")

    def _create_tables(self) -> None:
        provision_warehouse(
            self._manifest,
            project=self.project,
            bigquery_url=self.hosts.bigquery,
            dataset=self._manifest.warehouse.dataset,
        )
        self.options.report("tables are created")

    def _deploy(self) -> None:
        self._deployment = self.chain.deploy()
        written = self.network_file.with_suffix(".new")
        written.write_text(json.dumps(self._deployment.network(with_hermes=True), indent=2))
        written.replace(self.network_file)
        self.options.report("contracts are deployed")

    def _emulators(self) -> list[Part]:
        return emulator_parts(self.hosts.ports, self._folder, block_interval_s=self.options.block_interval_s)

    def _sinks(self) -> list[Part]:
        parts = [
            self._part(
                "smtp_sink",
                ["-m", "local.smtp_sink"],
                {
                    "--smtp-port": self._ports["smtp"],
                    "--http-port": self._ports["mailbox"],
                    "--journal": self._folder / "mailbox.jsonl",
                },
                ready=f"{self.urls.mailbox}/api/messages",
            ),
            self._part(
                "webhook_sink",
                ["-m", "local.webhook_sink"],
                {"--port": self._ports["webhooks"], "--journal": self._folder / "webhooks.jsonl"},
                ready=f"{self.urls.webhooks}/api/messages",
                environment={SECRET_VARIABLE: self.webhook_secret},
            ),
            self._part(
                "hermes",
                ["-m", "local.hermes_server"],
                {"--port": self._ports["hermes"], "--api-key": HERMES_API_KEY},
                ready=f"{self.urls.hermes}/control",
            ),
        ]
        if self.options.disturbed:
            parts += [
                self._proxy("chain_proxy", "local.fault_proxy", self.urls.rpc),
                self._proxy("push_proxy", "local.delivery_disturber", self.urls.functions),
            ]
        return parts

    def _proxy(self, name: str, module: str, upstream: str) -> Part:
        return self._part(
            name,
            ["-m", module],
            {"--port": self._ports[name], "--upstream": upstream, "--seed": self.options.seed},
            ready=f"{self._url(name)}/control",
        )

    def _functions(self) -> Part:
        return self._part(
            "functions",
            ["-m", "local.functions_host"],
            {
                "--manifest": self._manifest_file,
                "--source": ROOT / "main.py",
                "--port": self._ports["functions"],
            },
            ready=f"{self.urls.functions}/ready",
            environment=self.environment(),
            # gunicorn's quick end: a scheduled function would hold a graceful one up for its whole window.
            stop_signal=signal.SIGQUIT,
        )

    def _gateway(self) -> list[Part]:
        if not self.options.with_gateway:
            return []
        gateway = self._part(
            "gateway",
            ["-m", "gateway"],
            {"--port": self._ports["gateway"]},
            ready=f"{self.urls.gateway}/health",
            environment=self.environment(),
        )
        return [gateway]

    def _clock(self) -> Part:
        return self._part(
            "clock",
            ["-m", "local.clock"],
            {"--manifest": self._manifest_file, "--functions-url": self.urls.functions},
            ready=None,
            environment=self.environment(),
        )

    def _part(
        self,
        name: str,
        command: list[str],
        options: Mapping[str, object],
        *,
        ready: str | None,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Part:
        words = [word for option, value in options.items() for word in (option, str(value))]
        return Part(
            name=name,
            command=[sys.executable, *command, *words],
            environment=process_environment(environment or {}),
            # The clock serves nothing: its log tells what it does.
            is_ready=(lambda: True) if ready is None else (lambda: answers(ready)),
            restarts=self.options.disturbed and name in OWN_PARTS,
            stop_signal=stop_signal,
        )

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def _on_death(self, death: PartDiedError) -> None:
        self.options.report(str(death))


def state_folder(name: str) -> Path:
    """A folder of this run's own in ``.state``, so that copies beside each other do not share one."""
    return ROOT / ".state" / f"{name}-{os.getpid()}"
