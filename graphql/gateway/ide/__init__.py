"""The explorer: one self-contained page, so that it works offline."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources


@lru_cache(maxsize=1)
def explorer_page() -> str:
    """The page's HTML."""
    return resources.files("gateway.ide").joinpath("explorer.html").read_text(encoding="utf-8")
