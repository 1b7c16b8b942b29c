"""The committed ABIs, which all Python reads, are what the Solidity sources compile to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

CONTRACTS = Path(__file__).parents[2] / "contracts"
ABI_DIRECTORY = CONTRACTS / "abi"
REMEDY = "run `npm run abi` in contracts/ and commit abi/"

Abi = list[dict[str, Any]]


def _build() -> None:
    if not (CONTRACTS / "node_modules").is_dir():
        pytest.fail(f"{CONTRACTS / 'node_modules'} is missing: run `make contracts`")
    build = subprocess.run(
        ["node", "forge.mjs", "build"],
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if build.returncode != 0:
        pytest.fail(f"forge build failed in {CONTRACTS}:\n{build.stdout}{build.stderr}")


def _compiled_abis(out_directory: Path) -> dict[str, Abi]:
    abis: dict[str, Abi] = {}
    for path in out_directory.glob("*.sol/*.json"):
        artifact = json.loads(path.read_text(encoding="utf-8"))
        ((source, name),) = artifact["metadata"]["settings"]["compilationTarget"].items()
        # forge leaves the artifacts of a source that is gone.
        is_ours = source.startswith("src/") and (CONTRACTS / source).is_file()
        if is_ours and not source.startswith(("src/libraries/", "src/vault/")):
            abis[name] = artifact["abi"]
    return abis


@pytest.fixture(scope="module")
def compiled_abis() -> dict[str, Abi]:
    """ABIs by contract name, of the sources as they are: forge compiles again whatever has changed."""
    _build()
    return _compiled_abis(CONTRACTS / "out")


@pytest.fixture(scope="module")
def committed_texts() -> dict[str, str]:
    """Text of each committed ABI file by contract name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in ABI_DIRECTORY.glob("*.json")}


def test_every_contract_has_a_committed_abi_and_no_other_is_left(
    compiled_abis: dict[str, Abi], committed_texts: dict[str, str]
) -> None:
    assert {"Vault", "EscrowFactory", "Escrow", "AggregatorV3Interface"} <= set(compiled_abis)
    assert sorted(committed_texts) == sorted(compiled_abis), REMEDY


def test_committed_abis_equal_the_compiled_sources(
    compiled_abis: dict[str, Abi], committed_texts: dict[str, str]
) -> None:
    committed = {name: json.loads(text) for name, text in committed_texts.items()}
    changed = [name for name, abi in compiled_abis.items() if committed.get(name) != abi]
    assert not changed, f"ABIs differ from the sources: {changed}; {REMEDY}"


def test_committed_abis_are_formatted_as_exported(committed_texts: dict[str, str]) -> None:
    unstable = [
        name
        for name, text in committed_texts.items()
        if text != json.dumps(json.loads(text), indent=2) + "\n"
    ]
    assert not unstable, f"edited by hand: {unstable}; {REMEDY}"
