"""The switch that makes a sink refuse what it is sent, for tests of what happens then."""

from __future__ import annotations

import threading

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class FailureSwitch:
    """``PUT {"status": 451, "remaining": 3}`` refuses the next three; ``null`` refuses until ``DELETE``."""

    def __init__(self, *, lowest: int, highest: int) -> None:
        self._range = (lowest, highest)
        self._lock = threading.Lock()
        self._status: int | None = None
        self._remaining: int | None = None

    def take(self) -> int | None:
        """The status to refuse this one with, or None to accept it."""
        with self._lock:
            status = self._status
            if status is not None and self._remaining is not None:
                self._remaining -= 1
                if self._remaining == 0:
                    self._status = self._remaining = None
            return status

    async def put(self, request: Request) -> Response:
        """Begin to refuse."""
        wanted = await request.json()
        status, remaining = wanted.get("status"), wanted.get("remaining")
        lowest, highest = self._range
        if not isinstance(status, int) or not lowest <= status <= highest:
            return JSONResponse({"error": f"status must be from {lowest} to {highest}"}, 422)
        if remaining is not None and (not isinstance(remaining, int) or remaining < 1):
            return JSONResponse({"error": "remaining must be at least 1, or null"}, 422)
        with self._lock:
            self._status, self._remaining = status, remaining
        return JSONResponse({"status": status, "remaining": remaining})

    async def delete(self, _request: Request) -> Response:
        """Accept again."""
        with self._lock:
            self._status = self._remaining = None
        return JSONResponse({"status": None, "remaining": None})

    def routes(self) -> list[Route]:
        """Where the switch is set."""
        return [
            Route("/api/failure", self.put, methods=["PUT"]),
            Route("/api/failure", self.delete, methods=["DELETE"]),
        ]
