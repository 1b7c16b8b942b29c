"""Every function in one process, each behind ``/functions/<name>``, served as the Functions Framework does.

Each function is made by the framework's own ``create_app``, so that the decoding of pushes and CloudEvents
is what production runs, and is served by gunicorn's threads, as the framework itself serves. Like Cloud Run,
it answers 429 when a function has as many requests in hand as its instances may take together.
"""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import functions_framework
import gunicorn.app.base  # type: ignore[import-untyped]

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

    def __init__(self, apps: Mapping[str, WsgiApp], functions: Mapping[str, Function]) -> None:
        self._apps = apps
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
        if not self._in_hand[name].acquire(blocking=False):
            return _answer(start_response, "429 Too Many Requests", "Rate exceeded.")
        try:
            environ["SCRIPT_NAME"] = f"/functions/{name}"
            environ["PATH_INFO"] = f"/{path}"
            # Read here, while it counts as in hand: a function's work is done when it has answered.
            return list(self._apps[name](environ, start_response))
        finally:
            self._in_hand[name].release()


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
    functions = load_manifest(options.manifest).functions
    _Server(Host(load(functions, options.source), functions), options.port).run()


if __name__ == "__main__":
    main()
