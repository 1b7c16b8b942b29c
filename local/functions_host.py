"""Every function in one process, each behind ``/functions/<name>``, served as the Functions Framework does.

Each function is made by the framework's own ``create_app``, so that the decoding of pushes and CloudEvents
is what production runs, and is served by gunicorn's threads, as the framework itself serves. Like Cloud Run,
it answers 429 when a function has as many requests in hand as its instances may take together.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import functions_framework
import gunicorn.app.base  # type: ignore[import-untyped]

from local.dead_lettering import ACKNOWLEDGING_STATUSES, DeadLettering, PublishError, publisher_to
from local.tethered import tether
from shared.manifest import Function, load_manifest

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

THREADS = 48
"""Scheduled functions hold a thread for their whole window, pushes for milliseconds."""

# What create_app leaves in the environment, and would take for the next function's.
_FRAMEWORK_VARIABLES = ("FUNCTION_TARGET", "FUNCTION_SIGNATURE_TYPE", "FUNCTION_SOURCE")


class Host:
    """Gives each request to the function that its path names, without redirects, which lose the body.

    The function sees the rest of the path: ``/functions/f/projects/p/topics/t`` is ``/projects/p/topics/t``.
    """

    def __init__(
        self, apps: Mapping[str, WsgiApp], functions: Mapping[str, Function], dead_lettering: DeadLettering
    ) -> None:
        self._apps = apps
        self._functions = functions
        self._dead_lettering = dead_lettering
        self._in_hand = {
            name: threading.BoundedSemaphore(functions[name].concurrency * functions[name].max_instances)
            for name in apps
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request (WSGI)."""
        prefix, _, rest = environ["PATH_INFO"].removeprefix("/").partition("/")
        name, _, path = rest.partition("/")
        if prefix == "ready":
            return _answer(start_response, "200 OK", " ".join(self._apps))
        if prefix != "functions" or name not in self._apps:
            return _answer(start_response, "404 Not Found", f"no function is called {name!r}")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ.update(
            {"SCRIPT_NAME": f"/functions/{name}", "PATH_INFO": f"/{path}", "wsgi.input": BytesIO(body)}
        )
        if self._in_hand[name].acquire(blocking=False):
            try:
                status, headers, content = _call(self._apps[name], environ)
            finally:
                self._in_hand[name].release()
        else:
            status, headers, content = "429 Too Many Requests", [], b"Rate exceeded.\n"
        try:
            if self._dead_lettering.is_given_up(
                self._functions[name], path, body, acknowledged=int(status[:3]) in ACKNOWLEDGING_STATUSES
            ):
                return _answer(start_response, "200 OK", "forwarded to the dead-letter topic")
        except PublishError as error:
            return _answer(start_response, "503 Service Unavailable", str(error))
        start_response(status, headers)
        return [content]


def _call(app: WsgiApp, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """An application's whole answer: a function's work is done when it has answered."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Callable[..., Any]:
        begun.append((status, headers))
        return lambda _data: None

    chunks = app(environ, start_response)
    try:
        content = b"".join(chunks)
    finally:
        # What the framework opened for the request ends with it (PEP 3333).
        getattr(chunks, "close", lambda: None)()
    status, headers = begun[-1]
    return status, headers, content


def _answer(start_response: Callable[..., Any], status: str, text: str) -> list[bytes]:
    body = f"{text}\n".encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def load(names: Iterable[str], source: Path) -> dict[str, WsgiApp]:
    """The framework's application of each function, by name.

    Raises:
        ConfigurationError: a function's settings are not complete; the message names them.
    """
    apps: dict[str, WsgiApp] = {}
    for name in names:
        for variable in _FRAMEWORK_VARIABLES:
            os.environ.pop(variable, None)
        apps[name] = functions_framework.create_app(  # type: ignore[no-untyped-call]
            target=name, source=str(source)
        )
    return apps


class _Server(gunicorn.app.base.BaseApplication):  # type: ignore[misc]
    """gunicorn with the framework's choice of worker, and this process's own application."""

    def __init__(self, app: WsgiApp, port: int) -> None:
        self._app = app
        self._port = port
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options."""
        options = {
            "bind": f"127.0.0.1:{self._port}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": THREADS,
            # Scheduled functions run for a minute; each function has a limit of its own.
            "timeout": 0,
            "graceful_timeout": 1,
            "keepalive": 30,
            "limit_request_line": 0,
            "loglevel": "error",
            "control_socket_disable": True,
            # The supervisor's tether ends the master, and this the worker with it.
            "post_fork": lambda _arbiter, _worker: tether(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> WsgiApp:
        """The application."""
        return self._app


def main() -> None:
    """Serve every function of a manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True, help="the file whose attributes are functions")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    manifest = load_manifest(options.manifest)
    apps = load(manifest.functions, options.source)
    # Where there is no Pub/Sub nothing is pushed, and nothing to forward.
    publish = publisher_to(os.environ.get("PUBSUB_EMULATOR_HOST", ""))
    dead_lettering = DeadLettering(manifest, publish, time.monotonic)
    _Server(Host(apps, manifest.functions, dead_lettering), options.port).run()


if __name__ == "__main__":
    main()
