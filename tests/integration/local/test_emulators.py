"""The emulators start together and beside other copies, and do what the platform relies on."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local import bigquery_emulator
from local.emulators import CHAIN_ID, EmulatorHosts, running_emulators
from local.prerequisites import PrerequisiteError
from tests.eventually import eventually
from tests.integration.local.conftest import ask, ask_json


def rpc(url: str, method: str, *parameters: object) -> object:
    """The result of a JSON-RPC call."""
    answer = ask_json(url, {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)})
    assert "error" not in answer, answer
    return answer["result"]


def test_two_copies_side_by_side_share_nothing(tmp_path: Path) -> None:
    def start(name: str) -> tuple[object, EmulatorHosts]:
        copy = running_emulators(tmp_path / name, ("pubsub", "anvil"))
        return copy, copy.__enter__()

    with ThreadPoolExecutor() as pool:
        (first, one), (second, two) = pool.map(start, ["one", "two"])
    try:
        topic = "/v1/projects/shared/topics/orders"
        ask_json(f"http://{one.pubsub}{topic}", {}, method="PUT")
        assert ask(f"http://{one.pubsub}{topic}")[0] == 200
        assert ask(f"http://{two.pubsub}{topic}")[0] == 404
        rpc(one.rpc, "anvil_mine", "0x5")
        assert rpc(one.rpc, "eth_blockNumber") == "0x5"
        assert rpc(two.rpc, "eth_blockNumber") == "0x0"
    finally:
        first.__exit__(None, None, None)  # type: ignore[attr-defined]
        second.__exit__(None, None, None)  # type: ignore[attr-defined]
    for host in (one.pubsub, two.pubsub):
        with pytest.raises(OSError, match="refused"):
            ask(f"http://{host}{topic}")


def test_only_what_was_started_has_a_host() -> None:
    hosts = EmulatorHosts({"pubsub": 8085})
    assert hosts.environment() == {"PUBSUB_EMULATOR_HOST": "127.0.0.1:8085"}
    with pytest.raises(LookupError, match="the firestore emulator was not started; these were: pubsub"):
        _ = hosts.firestore


def test_the_chain_signs_for_every_account(emulators: EmulatorHosts) -> None:
    stranger, friend = "0x" + "51" * 20, "0x" + "f7" * 20
    rpc(emulators.rpc, "anvil_setBalance", stranger, hex(2 * 10**18))
    transfer = {"from": stranger, "to": friend, "value": hex(10**18)}
    rpc(emulators.rpc, "eth_sendTransaction", transfer)
    # The answer may come before the block.
    eventually(lambda: rpc(emulators.rpc, "eth_getBalance", friend, "latest") == hex(10**18))
    assert int(str(rpc(emulators.rpc, "eth_getBalance", stranger, "latest")), 16) < 10**18
    assert rpc(emulators.rpc, "eth_chainId") == hex(CHAIN_ID)


def test_bigquery_keeps_amounts_exact_and_times_in_utc(emulators: EmulatorHosts) -> None:
    client = bigquery.Client(
        project=f"test-{uuid.uuid4().hex[:12]}",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": emulators.bigquery},
    )
    client.create_dataset("history")
    table = bigquery.Table(
        f"{client.project}.history.marks",
        [
            bigquery.SchemaField("as_of", "TIMESTAMP", "REQUIRED"),
            bigquery.SchemaField("price", "NUMERIC", "REQUIRED"),
        ],
    )
    client.create_table(table)
    exact = "12345678901234567890123456789.123456789"
    row = {"as_of": "2026-03-01T05:06:07.123456+03:00", "price": exact}
    assert client.insert_rows_json(table, [row]) == []
    (found,) = client.query_and_wait("SELECT as_of, price, DATE(as_of) AS day FROM history.marks")
    assert found["price"] == Decimal(exact)
    assert found["as_of"] == datetime(2026, 3, 1, 2, 6, 7, 123456, tzinfo=UTC)
    assert str(found["day"]) == "2026-03-01"
    client.close()  # type: ignore[no-untyped-call]


def test_a_bigquery_emulator_that_is_not_as_pinned_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bigquery_emulator.is_installed()
    stamp = tmp_path / "installed"
    stamp.write_text("another lock")
    monkeypatch.setattr(bigquery_emulator, "STAMP", stamp)
    with pytest.raises(PrerequisiteError, match=r"-m local\.bigquery_emulator install"):
        bigquery_emulator.command(port=9050, data_folder=tmp_path)
