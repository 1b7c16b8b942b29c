"""A picture of each benchmark's ratios: ``python -m benchmarks.plots`` draws the committed results."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl

from benchmarks.results import RESULTS, Row, read

_BETTER, _WORSE = "#4a7c59", "#b5651d"
_RATES = ("accounts/s", "messages/s", "events/s", "events/CPU-s")
"""Units of which more is better; of all others less is."""


def draw(name: str, rows: Sequence[Row]) -> None:
    """Write ``benchmarks/results/<name>.svg``: a bar per row that has a reference, on a logarithmic scale."""
    compared = [row for row in rows if row.ratio is not None and row.ratio > 0 and math.isfinite(row.ratio)]
    if not compared:
        return
    mpl.use("Agg")
    # Text stays text and ids stay the same, so that a picture changes only with its figures.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name})
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    ratios = [row.ratio or math.nan for row in compared]
    better = [(ratio >= 1) == (row.unit in _RATES) for ratio, row in zip(ratios, compared, strict=True)]
    figure, axes = plt.subplots(figsize=(11, 0.9 + 0.3 * len(compared)), layout="constrained")
    places = range(len(compared))
    axes.barh(
        places,
        [ratio - 1 for ratio in ratios],
        left=1,
        color=[_BETTER if each else _WORSE for each in better],
    )
    axes.set_yticks(places, [f"{row.metric}\nagainst {row.reference}" for row in compared], fontsize=7)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    for place, (ratio, row) in enumerate(zip(ratios, compared, strict=True)):
        axes.annotate(
            f" {ratio:.3g} × ({row.value:.3g} {row.unit})", (max(ratio, 1), place), fontsize=7, va="center"
        )
    axes.set_xlabel("value / reference; green is on the better side")
    axes.set_title(name)
    axes.margins(x=0.3)
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw every committed result."""
    for path in sorted(RESULTS.glob("*.json")):
        draw(path.stem, read(path.stem))


if __name__ == "__main__":
    main()
