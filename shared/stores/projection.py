"""Everything that ``apply_settlement_event`` writes, as documents: to compare one projection with another."""

from __future__ import annotations

from google.cloud import firestore

from shared.stores import accounts, database, dvp_escrows, escrows, markets, supplies

COLLECTIONS = (
    accounts.COLLECTION,
    escrows.COLLECTION,
    dvp_escrows.COLLECTION,
    markets.COLLECTION,
    markets.CHANGES,
    supplies.COLLECTION,
)


def list_documents(client: firestore.Client, collection: str) -> list[database.Document]:
    """Every document of a collection, in the order in which they were written last."""
    return list(database.query_in_pages(client, collection, client.collection(collection), "updated_at"))
