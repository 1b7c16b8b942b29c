"""The gateway's settings, and nothing that is slow to import: a process that lacks one says so at once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.config import Settings, load
from shared.manifest import Gateway, load_manifest

MANIFEST = Path(__file__).parents[2] / "functions.yaml"


def load_settings() -> Settings:
    """The settings that the manifest's ``gateway:`` entry names, from the environment.

    Raises:
        ConfigurationError: naming every variable that is missing or contradictory.
    """
    declared = _declared()
    return load(uses=declared.uses, settings=declared.settings)


@cache
def _declared() -> Gateway:
    return load_manifest(MANIFEST).gateway
