"""Holds a network description's feeds against the registries of their publishers, and brings it up to date.

    python -m local.refresh_feeds NETWORK_FILE [--from SOURCE=URL_OR_FILE]... [--write]

Each source with a ``registry`` is looked up there, or where ``--from`` says (a registry that wants a key is
saved with another client and given as a file). Prints every field that differs and ends with 1, or, with
``--write``, writes the description and ends with 0. An address that changes is a person's to judge: read the
difference before it is committed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.domain.feed_registry import FeedChange, FeedRegistryError, parse_registry, refreshed
from shared.domain.fields import NetworkError
from shared.domain.network import parse_prices
from shared.providers.feed_registry import read_registry


def refresh(text: str, places: Mapping[str, str]) -> tuple[str, list[FeedChange]]:
    """A network description, complete or before its deployment, as its sources' registries have it, and what
    differs.

    Args:
        places: instead of the description's, by source id.

    Raises:
        FeedRegistryError: a registry does not answer, or not with what is looked for.
        NetworkError: the description is wrong, before or after.
    """
    sources, _ = parse_prices(text)
    unknown = sorted(set(places) - set(sources))
    if unknown:
        raise FeedRegistryError(f"{unknown[0]} is not among the price_sources")
    document: dict[str, Any] = json.loads(text)
    changes: list[FeedChange] = []
    for source in sources.values():
        place = places.get(source.source_id, source.registry)
        if place is None:
            continue
        listed = parse_registry(source.kind, read_registry(place))
        document, found = refreshed(document, source.source_id, listed)
        changes += found
    updated = json.dumps(document, indent=2) + "\n"
    parse_prices(updated)
    return updated, changes


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", type=Path)
    parser.add_argument("--from", dest="places", action="append", default=[], metavar="SOURCE=PLACE")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    places: dict[str, str] = {}
    for given in options.places:
        source, separator, place = given.partition("=")
        if not separator:
            parser.error(f"--from {given}: must be SOURCE=URL_OR_FILE")
        places[source] = place
    try:
        updated, changes = refresh(options.network.read_text(), places)
    except (FeedRegistryError, NetworkError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for change in changes:
        print(change)
    if changes and options.write:
        options.network.write_text(updated)
        return 0
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
