"""What the manifest lets Firestore delete is a moment that the stores write into every document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.domain.webhook_deliveries import RETENTION, new_delivery
from shared.manifest import Expiration, load_manifest
from shared.stores import webhook_deliveries, webhook_registrations
from tests.repository.sources import ROOT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DELIVERY = new_delivery("whe_1", "event", "position_changed", b"{}", NOW)
REGISTRATION = webhook_registrations.Registration("whe_1", "hash")
WRITTEN: Mapping[str, tuple[list[dict[str, Any]], datetime]] = {
    webhook_deliveries.COLLECTION: (
        [webhook_deliveries.encode(DELIVERY), webhook_deliveries.encode_plan(DELIVERY)],
        NOW + RETENTION,
    ),
    webhook_registrations.COLLECTION: (
        [webhook_registrations.encode(REGISTRATION, NOW)],
        NOW + webhook_registrations.KEPT_FOR,
    ),
}
EXPIRATIONS = load_manifest(ROOT / "functions.yaml").expirations


@pytest.mark.parametrize("expiration", EXPIRATIONS, ids=lambda expiration: expiration.collection)
def test_every_document_that_may_expire_says_when(expiration: Expiration) -> None:
    documents, expected = WRITTEN[expiration.collection]
    assert [document[expiration.field] for document in documents] == [expected] * len(documents)


def test_every_collection_that_is_to_expire_is_in_the_manifest() -> None:
    assert {expiration.collection for expiration in EXPIRATIONS} == set(WRITTEN)
