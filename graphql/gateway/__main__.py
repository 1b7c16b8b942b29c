"""Starts the gateway: ``python -m gateway --port 8000`` with the repository and ``graphql`` on the path."""

from __future__ import annotations

import argparse
import gc
import sys

from gateway.settings import load_settings
from shared.errors import ConfigurationError
from shared.manifest import ManifestError


def main() -> int:
    """Run until stopped; 1 where the settings refuse."""
    parser = argparse.ArgumentParser(prog="gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        # Seconds of imports, which a process that may not start does without.
        import uvicorn  # noqa: PLC0415

        from gateway.app import create_app  # noqa: PLC0415
        from gateway.server import server_config  # noqa: PLC0415

        app = create_app(settings)
    except (ConfigurationError, ManifestError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # What the imports and the schema made lives as long as the process: without it, each full collection,
    # which a fan-out's short-lived messages bring about, walks over it for nothing.
    gc.collect()
    gc.freeze()
    server = uvicorn.Server(server_config(app, host=arguments.host, port=arguments.port))
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
