"""JSON-RPC over HTTP to the nodes of one chain.

Reading needs no more than JSON and 32-byte words, so it does without web3.py, whose import alone takes
several times longer than the Functions Framework's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import urllib3

from shared.config import Settings
from shared.errors import FusionError, RetryableError

Call = tuple[str, Sequence[Any]]

_TIMEOUT = urllib3.Timeout(connect=2.0, read=5.0)
_ROUNDS = 2
_QUANTITY = re.compile(r"0x[0-9a-fA-F]+")


class NodeError(FusionError):
    """A node answered a call with an error object."""

    def __init__(self, method: str, code: int, message: str) -> None:
        self.method = method
        self.code = code
        self.message = message
        super().__init__(f"{method}: node answered {code}: {message}")


class RpcClient:
    """Calls to one chain's nodes, tried in order of preference."""

    def __init__(self, chain_id: int, urls: Sequence[str]) -> None:
        self.chain_id = chain_id
        self._urls = tuple(urls)
        self._pool = urllib3.PoolManager(maxsize=8, timeout=_TIMEOUT, retries=False)
        self._verified: set[str] = set()

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
            for position, url in enumerate(self._urls):
                try:
                    self._verify(url)
                    return self._post(url, calls)
                except RetryableError as error:
                    failures.append(f"node {position}: {error}")
        raise RetryableError(f"chain {self.chain_id}: no node answered: {'; '.join(failures)}")

    def _verify(self, url: str) -> None:
        """A URL that serves another chain would be believed about everything else."""
        if url in self._verified:
            return
        (answer,) = self._post(url, [("eth_chainId", [])])
        if isinstance(answer, NodeError):
            raise RetryableError(str(answer))
        if quantity(answer) != self.chain_id:
            raise RetryableError(f"serves chain {quantity(answer)}, not {self.chain_id}")
        self._verified.add(url)

    def _post(self, url: str, calls: Sequence[Call]) -> list[Any]:
        body = json.dumps(
            [
                {"jsonrpc": "2.0", "id": index, "method": method, "params": list(params)}
                for index, (method, params) in enumerate(calls)
            ]
        )
        try:
            response = self._pool.request(
                "POST", url, body=body, headers={"Content-Type": "application/json"}
            )
        except urllib3.exceptions.HTTPError as error:
            # The URL may hold a provider's key, and urllib3's text holds the URL.
            raise RetryableError(type(error).__name__) from error
        if response.status != 200:
            raise RetryableError(f"HTTP {response.status}")
        try:
            answers = json.loads(response.data)
        except ValueError as error:
            raise RetryableError("an answer that is not JSON") from error
        return in_order(answers, calls)


def in_order(answers: Any, calls: Sequence[Call]) -> list[Any]:
    """The results of a batch's answers in the order of its calls; a refused call's is a NodeError.

    Raises:
        RetryableError: the answers are not those of a JSON-RPC 2.0 batch.
    """
    if isinstance(answers, dict) and "error" in answers:
        raise RetryableError(f"refused the batch: {answers['error']}")
    if not isinstance(answers, list):
        raise RetryableError("an answer that is not a batch")
    by_id: dict[Any, Any] = {}
    for answer in answers:
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), int) or answer["id"] in by_id:
            raise RetryableError("a malformed batch")
        by_id[answer["id"]] = answer
    results: list[Any] = []
    for index, (method, _) in enumerate(calls):
        answer = by_id.get(index)
        if answer is None:
            raise RetryableError(f"no answer to {method}")
        error = answer.get("error")
        if error is not None and not isinstance(error, dict):
            raise RetryableError(f"an answer to {method} with a malformed error")
        if error is not None:
            results.append(NodeError(method, error.get("code", 0), str(error.get("message", ""))))
        elif "result" not in answer:
            raise RetryableError(f"an answer to {method} without a result")
        else:
            results.append(answer["result"])
    return results


def quantity(value: Any) -> int:
    """An integer from JSON-RPC's ``0x`` notation.

    Raises:
        RetryableError: the node sent something else.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise RetryableError(f"a node sent {value!r} where a quantity was due")
    return int(value, 16)


@lru_cache(maxsize=16)
def connect(settings: Settings, chain_id: int) -> RpcClient:
    """The process's client for a chain."""
    return RpcClient(chain_id, settings.rpc_urls[chain_id])
