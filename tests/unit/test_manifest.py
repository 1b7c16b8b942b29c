"""The manifest is read whole, with its defaults, and what is wrong in it is named."""

from __future__ import annotations

import pytest

from shared.manifest import (
    HttpTrigger,
    IndexField,
    ManifestError,
    MessageRetry,
    load_manifest,
    parse_manifest,
    subscription_id,
)
from tests.conftest import ROOT

FILE = ROOT / "functions.yaml"


def test_defaults_are_filled_in_and_overridden() -> None:
    manifest = load_manifest(FILE)
    evaluate = manifest.functions["evaluate_margin"]
    assert evaluate.topics[:2] == ("market.prices.v1", "positions.changed.v1")
    assert (evaluate.memory_mb, evaluate.timeout_s) == (2048, 60)
    assert evaluate.retry == MessageRetry(min_backoff_s=1, max_backoff_s=60, max_delivery_attempts=10)
    archive = manifest.functions["archive_events"]
    assert (archive.topics, archive.schedules) == ((), ("* * * * *",))
    assert "settlement.events.v1" in archive.pulls
    assert manifest.functions["record_dead_letter"].receives_dead_letters
    assert manifest.functions["health"].triggers == (HttpTrigger("operator"),)
    assert manifest.functions["health"].http_access == "operator"
    assert evaluate.http_access is None


def test_short_notations_are_taken_apart() -> None:
    manifest = load_manifest(FILE)
    index = next(each for each in manifest.indexes if each.collection == "alerts")
    assert index.fields == (IndexField("account_id", "asc"), IndexField("created_at", "desc"))
    marks = manifest.warehouse.tables["marks"]
    price = next(column for column in marks.columns if column.name == "price")
    assert (price.type, price.mode) == ("NUMERIC", "NULLABLE")
    assert (marks.partition, marks.cluster) == ("as_of", ("asset",))
    assert manifest.schedules["margin_sweep"].body == {"event_id": "sweep"}


def test_names_that_follow_from_others() -> None:
    topic = load_manifest(FILE).topics["market.prices.v1"]
    assert topic.dead_letter == "market.prices.v1.dead"
    assert subscription_id("evaluate_margin", topic.name) == "evaluate_margin--market.prices.v1"


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        (
            "{topic: market.prices.v1}",
            "{topic: market.v1}",
            "evaluate_margin.triggers: 'market.v1' is not among",
        ),
        (
            "      - settlement.events.v1",
            "      - settlement.v1",
            "pulls: 'settlement.v1' is not among the topics",
        ),
        ("memory_mb: 2048", "memory_gb: 2", "functions.evaluate_margin.memory_gb: "),
        ("memory_mb: 2048", "memory_mb: two", "functions.evaluate_margin.memory_mb: "),
        ("{http: operator}", "{http: everyone}", "functions.resolve_finality_violation.triggers.0.http: "),
        (
            "{http: operator}",
            "{cron: daily}",
            "functions.resolve_finality_violation.triggers.0: must be one of",
        ),
        ("event_id: STRING REQUIRED", "event_id: TEXT REQUIRED", "warehouse.tables.events.columns.0.type: "),
        ("event_id: STRING REQUIRED", "event_id: STRING", "'event_id STRING' must be <name> <type> <mode>"),
        ("cluster: [asset]", "cluster: [coin]", "warehouse.tables.marks: 'coin' is not among the columns"),
        ("topic: margin.sweeps.v1\n", "topic: sweeps.v1\n", "schedules.margin_sweep.topic: 'sweeps.v1'"),
        ("purpose: Delivers", "purpos: Delivers", "functions.notify.purpose: "),
        ("functions:\n", "function:\n", "functions: must be a mapping"),
        ("topics:\n", "topics: [\n", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(written: str, instead: str, problem: str) -> None:
    text = FILE.read_text()
    assert written in text
    with pytest.raises(ManifestError) as refusal:
        parse_manifest(text.replace(written, instead, 1))
    assert problem in str(refusal.value)


@pytest.mark.parametrize("text", ["", "[]", "just words"])
def test_what_is_no_manifest_at_all_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="must be a mapping"):
        parse_manifest(text)
