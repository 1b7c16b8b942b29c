"""JSON-RPC over HTTP to the nodes of one chain.

Reading needs no more than JSON and 32-byte words, so it does without web3.py, whose import alone takes
several times longer than the Functions Framework's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
import urllib3

from shared.chain.provider_errors import RefusalKind, classify
from shared.chain.provider_health import Clock, ProviderHealth
from shared.config import Settings
from shared.errors import FusionError, RetryableError

Call = tuple[str, Sequence[Any]]

_TIMEOUT = urllib3.Timeout(connect=2.0, read=10.0)
_ROUNDS = 2
_ATTEMPTS = 3
_QUANTITY = re.compile(r"0x[0-9a-fA-F]+")


class NodeError(FusionError):
    """A node answered a call with an error object."""

    def __init__(self, method: str, code: int, message: str) -> None:
        self.method = method
        self.code = code
        self.message = message
        super().__init__(f"{method}: node answered {code}: {message}")


class ProviderError(RetryableError):
    """One provider gave no usable answer; another may.

    ``kind`` says what the provider asked for; ``timed_out`` that it did not answer in time. ``block_count``
    is the longest range that it says would work, ``retry_after`` the header of that name.
    """

    def __init__(
        self,
        reason: str,
        *,
        kind: RefusalKind = RefusalKind.OTHER,
        timed_out: bool = False,
        block_count: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        self.kind = kind
        self.retry_after = retry_after
        self.timed_out = timed_out
        self.block_count = block_count
        super().__init__(reason)

    @staticmethod
    def of(error: NodeError) -> ProviderError:
        """The failure that a refused call is."""
        refusal = classify(error.message, methods=[error.method])
        return ProviderError(str(error), kind=refusal.kind, block_count=refusal.block_count)


class Provider:
    """One URL of a chain. ``name`` never shows the URL, which may hold a provider's key."""

    def __init__(
        self,
        chain_id: int,
        url: str,
        name: str,
        pool: urllib3.PoolManager,
        clock: Clock | None,
    ) -> None:
        self.chain_id = chain_id
        self.name = name
        self.health = ProviderHealth(clock)
        self._url = url
        self._pool = pool
        self._verified = False
        self._lock = threading.Lock()

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls, in one request; a refused call's is a NodeError.

        Raises:
            ProviderError: no whole answer, or the URL serves another chain.
        """
        self._verify()
        return self._post(calls)

    def answers(self, calls: Sequence[Call]) -> list[Any]:
        """As :meth:`batch`, tried again at once, or after the pause that a rate limit asks for.

        Raises:
            ProviderError: no whole answer after a few attempts, or one that another attempt will not mend.
        """
        attempts = _ATTEMPTS
        while True:
            attempts -= 1
            try:
                answers = self.batch(calls)
                for answer in answers:
                    if isinstance(answer, NodeError):
                        error = ProviderError.of(answer)
                        if error.kind is RefusalKind.RATE_LIMIT:
                            raise error
            except ProviderError as error:
                limited = error.kind is RefusalKind.RATE_LIMIT
                if limited:
                    self.health.rate_limited(error.retry_after)
                if not attempts or error.timed_out or not (limited or error.kind is RefusalKind.OTHER):
                    raise
                if limited and not self.health.wait():
                    raise
            else:
                return answers

    def results(self, calls: Sequence[Call]) -> list[Any]:
        """As :meth:`answers`, where none of the calls may be refused.

        Raises:
            ProviderError: no whole answer, or a call was refused.
        """
        answers = self.answers(calls)
        for answer in answers:
            if isinstance(answer, NodeError):
                raise ProviderError.of(answer)
        return answers

    def _verify(self) -> None:
        """A URL that serves another chain would be believed about everything else."""
        with self._lock:
            if self._verified:
                return
            (answer,) = self._post([("eth_chainId", [])])
            if isinstance(answer, NodeError):
                raise ProviderError.of(answer)
            if quantity(answer) != self.chain_id:
                self.health.failed()
                raise ProviderError(f"serves chain {quantity(answer)}, not {self.chain_id}")
            self._verified = True

    def _post(self, calls: Sequence[Call]) -> list[Any]:
        body = orjson.dumps(
            [
                {"jsonrpc": "2.0", "id": index, "method": method, "params": list(params)}
                for index, (method, params) in enumerate(calls)
            ]
        )
        with self.health.request():
            try:
                response = self._pool.request(
                    "POST", self._url, body=body, headers={"Content-Type": "application/json"}
                )
            except urllib3.exceptions.HTTPError as error:
                timed_out = isinstance(error, urllib3.exceptions.TimeoutError)
                if timed_out:
                    self.health.timed_out()
                # The URL may hold a provider's key, and urllib3's text holds the URL.
                raise ProviderError(type(error).__name__, timed_out=timed_out) from error
            if response.status != 200:
                raise _refusal(response, calls)
            try:
                answers = orjson.loads(response.data)
            except ValueError as error:
                raise ProviderError("an answer that is not JSON") from error
            return in_order(answers, calls)


def _refusal(response: urllib3.BaseHTTPResponse, calls: Sequence[Call]) -> ProviderError:
    text = response.data[:2_000].decode("utf-8", "replace")
    refusal = classify(text, methods=[method for method, _ in calls], http_status=response.status)
    return ProviderError(
        f"HTTP {response.status}",
        kind=refusal.kind,
        block_count=refusal.block_count,
        retry_after=response.headers.get("Retry-After"),
    )


class RpcClient:
    """Calls to one chain's nodes, in order of preference.

    Args:
        chain_id: what every URL must serve.
        urls: the nodes, the preferred one first.
        clock: for rate limits and latencies; without one, nothing waits.
        timeout_s: the most that connecting, and each wait for a node's bytes, may take.
    """

    def __init__(
        self,
        chain_id: int,
        urls: Sequence[str],
        clock: Clock | None = None,
        *,
        timeout_s: float | None = None,
    ) -> None:
        self.chain_id = chain_id
        timeout = _TIMEOUT if timeout_s is None else urllib3.Timeout(connect=timeout_s, read=timeout_s)
        pool = urllib3.PoolManager(maxsize=16, timeout=timeout, retries=False)
        self.providers = tuple(
            Provider(chain_id, url, f"node {position}", pool, clock) for position, url in enumerate(urls)
        )

    def call(self, method: str, *params: Any) -> Any:
        """One call's result.

        Raises:
            NodeError: the node refused it.
            RetryableError: no node gave an answer.
        """
        (result,) = self.batch([(method, params)])
        if isinstance(result, NodeError):
            raise result
        return result

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls, from one node in one request; a refused call's is a NodeError.

        Raises:
            RetryableError: no node gave a whole answer; says what each one did.
        """
        failures: list[str] = []
        for _ in range(_ROUNDS):
            for provider in self.providers:
                try:
                    return provider.batch(calls)
                except RetryableError as error:
                    failures.append(f"{provider.name}: {error}")
        raise RetryableError(f"chain {self.chain_id}: no node answered: {'; '.join(failures)}")

    def usable(self) -> list[Provider]:
        """The providers that are not paused by a rate limit, those that answer best first."""
        open_now = [provider for provider in self.providers if provider.health.open]
        return sorted(open_now, key=lambda provider: -round(provider.health.score, 1))


def in_order(answers: Any, calls: Sequence[Call]) -> list[Any]:
    """The results of a batch's answers in the order of its calls; a refused call's is a NodeError.

    Raises:
        ProviderError: the answers are not those of a JSON-RPC 2.0 batch.
    """
    if isinstance(answers, dict) and "error" in answers:
        refusal = classify(str(answers["error"]), methods=[method for method, _ in calls])
        raise ProviderError(f"refused the batch: {answers['error']}", kind=refusal.kind)
    if not isinstance(answers, list):
        raise ProviderError("an answer that is not a batch")
    by_id: dict[Any, Any] = {}
    for answer in answers:
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), int) or answer["id"] in by_id:
            raise ProviderError("a malformed batch")
        by_id[answer["id"]] = answer
    results: list[Any] = []
    for index, (method, _) in enumerate(calls):
        answer = by_id.get(index)
        if answer is None:
            raise ProviderError(f"no answer to {method}")
        error = answer.get("error")
        if error is not None and not isinstance(error, dict):
            raise ProviderError(f"an answer to {method} with a malformed error")
        if error is not None:
            results.append(NodeError(method, error.get("code", 0), str(error.get("message", ""))))
        elif "result" not in answer:
            raise ProviderError(f"an answer to {method} without a result")
        else:
            results.append(answer["result"])
    return results


def quantity(value: Any) -> int:
    """An integer from JSON-RPC's ``0x`` notation.

    Raises:
        ProviderError: the node sent something else.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ProviderError(f"a node sent {value!r} where a quantity was due")
    return int(value, 16)


@lru_cache(maxsize=16)
def connect(settings: Settings, chain_id: int, clock: Clock | None = None) -> RpcClient:
    """The process's client for a chain."""
    return RpcClient(chain_id, settings.rpc_urls[chain_id], clock)
