"""The project's own files, as the repository tests see them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"shared": ROOT / "shared", "functions": ROOT / "functions", "gateway": ROOT / "graphql/gateway"}


@lru_cache(maxsize=1)
def _ignored() -> tuple[str, ...]:
    return tuple(line for line in (ROOT / ".gitignore").read_text().splitlines() if line)


def _is_ignored(path: Path) -> bool:
    place = path.relative_to(ROOT).as_posix() + ("/" if path.is_dir() else "")
    return any(
        path.match(pattern.rstrip("/")) if "/" not in pattern.rstrip("/") else place == pattern
        for pattern in _ignored()
        if path.is_dir() or not pattern.endswith("/")
    )


def project_files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file below a folder that is not ignored by git."""
    for path in sorted(folder.iterdir()):
        if path.name == ".git" or _is_ignored(path):
            continue
        if path.is_dir():
            yield from project_files(path)
        else:
            yield path


@dataclass(frozen=True)
class Module:
    """One of our modules, parsed. ``name`` is what it is imported as."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""


def modules(package: str) -> list[Module]:
    """Every module of ``shared``, ``functions`` or ``gateway``."""
    folder = PACKAGES[package]
    found = []
    for path in project_files(folder):
        if path.suffix != ".py":
            continue
        parts = (package, *path.relative_to(folder).with_suffix("").parts)
        found.append(Module(".".join(part for part in parts if part != "__init__"), path))
    return found


def all_modules() -> list[Module]:
    """Every module that may be deployed."""
    return [module for package in PACKAGES for module in modules(package)]
