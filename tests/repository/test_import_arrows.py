"""What import-linter cannot say: which library each package may name, and what importing may not do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.repository.sources import ROOT, Module, all_modules

OURS = ("shared", "functions", "gateway")

# Longest prefix counts. A name allows the modules below it.
LIBRARIES: dict[str, set[str]] = {
    # Not scipy.stats: importing it costs as much as the rest of the gateway's own.
    "shared.risk": {"numpy", "scipy.sparse", "scipy.special"},
    "shared.domain": {"numpy"},
    "shared.errors": set(),
    "shared.combining": set(),
    "shared.racing": set(),
    "shared.config": set(),
    "shared.setting_values": set(),
    "shared.events": {"pydantic"},
    "shared.messaging": {"google.cloud.pubsub_v1", "google.api_core", "google.protobuf"},
    "shared.stores": {"google.cloud.firestore", "google.api_core"},
    "shared.warehouse": {"google.cloud.bigquery", "google.api_core", "google.auth"},
    "shared.chain": {"urllib3", "Crypto", "pydantic", "orjson", "websockets"},
    "shared.providers": {"urllib3", "orjson", "standardwebhooks"},
    "shared.providers.guarded_http": set(),
    "shared.signing": {"coincurve", "google.cloud.kms_v1", "google.api_core"},
    "shared.runtime": {"flask", "functions_framework", "cloudevents", "pydantic"},
    "shared.manifest": {"yaml", "pydantic"},
    "functions": {"pydantic"},
    "gateway": {"strawberry", "graphql", "starlette", "uvicorn", "orjson", "numpy", "pydantic", "websockets"},
}
NETWORK = {"socket", "ssl", "http", "urllib", "ftplib", "smtplib", "poplib", "imaplib", "xmlrpc", "telnetlib"}
SPEAKS = {
    "shared.providers": {"smtplib"},
    # It connects to the address that it has checked, which no library above sockets lets one name.
    "shared.providers.guarded_http": {"http.client", "socket", "ssl"},
}
"""Which standard modules that open connections a package may name; parsing a URL opens none."""

CLOCKS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "monotonic"),
    ("time", "perf_counter"),
    ("time", "sleep"),
}
ENVIRONMENT = {"environ", "environb", "getenv"}
CHANCE = {"random", "secrets", "uuid"}
CLOCK_MODULE = "shared.runtime.clock"


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _package(module: Module, table: dict[str, set[str]]) -> str | None:
    fitting = [prefix for prefix in table if f"{module.name}.".startswith(f"{prefix}.")]
    return max(fitting, key=len, default=None)


def _names(imported: str, allowed: set[str]) -> bool:
    return any(f"{imported}.".startswith(f"{name}.") for name in allowed)


every_module = pytest.mark.parametrize("module", all_modules(), ids=lambda module: module.name)


def test_every_module_is_under_a_rule() -> None:
    assert [module.name for module in all_modules() if _package(module, LIBRARIES) is None] == ["shared"]


@every_module
def test_a_package_names_only_its_own_libraries(module: Module) -> None:
    package = _package(module, LIBRARIES)
    allowed = LIBRARIES[package] if package is not None else set()
    spoken = SPEAKS.get(package or "", set()) | {"urllib.parse", "http.HTTPStatus"}
    foreign = [
        imported
        for imported in _imports(module.tree)
        if (root := imported.partition(".")[0]) not in OURS
        and not _names(imported, allowed)
        and (root not in sys.stdlib_module_names or (root in NETWORK and not _names(imported, spoken)))
    ]
    assert not foreign, f"{module.name} may name {sorted(allowed)} beside the standard library"


@every_module
def test_only_the_configuration_reads_the_environment(module: Module) -> None:
    reads = [
        node.lineno
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and node.names[0].name in ENVIRONMENT)
    ]
    assert module.name == "shared.config" or not reads, f"{module.path}: lines {reads}"


@every_module
def test_only_the_clock_reads_time_and_draws_chance(module: Module) -> None:
    if module.name == CLOCK_MODULE or module.name.startswith("gateway"):
        # The gateway is a shell of its own: its sockets' deadlines are its business.
        return
    tree = module.tree
    calls = [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in CLOCKS
    ]
    drawn = [imported for imported in _imports(tree) if imported.partition(".")[0] in CHANCE]
    assert not calls + drawn, f"{module.name}: take the moment from the context or {CLOCK_MODULE}"


@every_module
def test_no_client_is_made_at_import(module: Module) -> None:
    made = [
        ast.unparse(call.func)
        for call in _calls_at_import(module.tree)
        if ast.unparse(call.func).endswith(("Client", "PoolManager", "Thread", "Executor", "connect", "open"))
    ]
    assert not made


def _calls_at_import(tree: ast.Module) -> Iterator[ast.Call]:
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)


_WATCH = """
import sys
from importlib import import_module

ROOTS = tuple(sys.argv[1].split("|"))
WATCHED = {"open", "socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.putenv",
           "_thread.start_new_thread"}
seen = []


def watch(event, arguments):
    if event not in WATCHED:
        return
    if event == "open" and str(arguments[0]).startswith((sys.prefix, sys.base_prefix)):
        return  # a library looking for its plugins
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return  # the import system reading some module
        if name.startswith(ROOTS):
            seen.append(f"{name}:{frame.f_lineno} {event} {arguments[:1]}")
            return
        frame = frame.f_back


sys.addaudithook(watch)
for name in sys.argv[2:]:
    import_module(name)
print("\\n".join(seen))
"""


def test_importing_opens_no_file_no_connection_and_no_thread() -> None:
    names = [module.name for module in all_modules() if not module.name.endswith("__main__")]
    roots = "|".join(str(ROOT / folder) for folder in ("shared", "functions", "graphql"))
    watched = subprocess.run(
        [sys.executable, "-c", _WATCH, roots, *names],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'graphql'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout.split() == []
