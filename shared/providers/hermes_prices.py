"""Hermes's price updates, as both its answers and its stream carry them."""

from __future__ import annotations

from typing import Any

from shared.domain.quotes import SourceAnswer


def parse_prices(document: Any) -> dict[str, SourceAnswer]:
    """The prices of a v2 update by id; one that is malformed is left out.

    Raises:
        ValueError: it is no price update.
    """
    parsed = document.get("parsed") if isinstance(document, dict) else None
    if not isinstance(parsed, list):
        raise ValueError("there is no list of parsed prices")
    found: dict[str, SourceAnswer] = {}
    for entry in parsed:
        try:
            price = entry["price"]
            numbers = (
                int(price["price"]),
                int(price["expo"]),
                int(price["conf"]),
                int(price["publish_time"]),
            )
            found[str(entry["id"]).removeprefix("0x").lower()] = SourceAnswer(*numbers, str(numbers[3]))
        except (KeyError, TypeError, ValueError):
            continue
    return found
