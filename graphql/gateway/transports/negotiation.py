"""Which media type a response has (RFC 9110, section 12.5.1)."""

from __future__ import annotations

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"


def _ranges(accept: str) -> list[tuple[str, float]]:
    ranges: list[tuple[str, float]] = []
    for entry in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if media_range:
            ranges.append((media_range, quality))
    return ranges


def _quality(ranges: list[tuple[str, float]], media_type: str) -> float:
    family = media_type.partition("/")[0] + "/*"
    for wanted in (media_type, family, "*/*"):
        for media_range, quality in ranges:
            if media_range == wanted:
                return quality
    return 0.0


def accepts(accept: str | None, media_type: str, *, implicit: bool = True) -> bool:
    """Whether a client takes a media type.

    Args:
        implicit: whether a wildcard, or no header at all, counts.
    """
    if accept is None:
        return implicit
    ranges = _ranges(accept)
    if not implicit:
        ranges = [(media_range, quality) for media_range, quality in ranges if media_range == media_type]
    return _quality(ranges, media_type) > 0


def preferred(accept: str | None) -> str | None:
    """The media type of a GraphQL response; None where the client takes none of ours.

    ``application/json`` where the client has no preference, as the specification asks for clients that
    are older than it.
    """
    if accept is None:
        return JSON
    ranges = _ranges(accept)
    explicit = {media_range for media_range, _ in ranges}
    offered = [JSON, GRAPHQL_RESPONSE, EVENT_STREAM]
    best = max(offered, key=lambda media_type: (_quality(ranges, media_type), media_type in explicit))
    return best if _quality(ranges, best) > 0 else None
