"""The plots of ``stress``: curves over strength, a panel for each corruption, and one face under every condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facetell.reporting.plots import FAKE, INK, REAL, label_axes, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_curves", "draw_sample"]

_COLUMNS = 2
_PANEL = 2.0
"""Inches high."""
_LINES: tuple[tuple[str, str, str, Any, str], ...] = (
    ("auroc", "AUROC", INK, "-", "o"),
    ("recall", "recall (fakes found)", FAKE, (0, (6, 2)), "s"),
    ("fpr", "FPR (reals called fake)", REAL, (0, (2, 1.5)), "^"),
)


def draw_curves(found: Mapping[str, Any], path: Path) -> None:
    """Draw AUROC with its interval, recall and FPR over the strength of each corruption of ``stress.json``.

    The faint line of each colour is the level on untouched faces. Raises ``MissingExtraError`` without matplotlib.
    """
    entries = found["corruptions"]
    rows = -(-len(entries) // _COLUMNS)
    figure = new_figure(_PANEL * rows + 0.7)
    grid = np.atleast_2d(figure.subplots(rows, _COLUMNS, sharey=True))
    places = grid.ravel()
    for axes, entry in zip(places, entries, strict=False):
        _panel(axes, entry, found["clean"])
    for axes in places[len(entries) :]:
        axes.set_visible(False)
    handles, names = places[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=3, fontsize=10, frameon=False, labelcolor=INK,
                  handlelength=2.6, columnspacing=1.4, title=_title(found), title_fontsize=11.5, alignment="left")  # fmt: skip
    save_figure(figure, path)


def _title(found: Mapping[str, Any]) -> str:
    survives, counts = found["summary"]["robustness"], found["counts"]
    shown = "not defined" if survives is None else f"{survives:.2f}"
    area = found["clean"]["auroc"]["value"]
    return f"Robustness {shown}  (n = {counts['n']:,}, AUROC on untouched faces {area:.3f})"


def _panel(axes: Axes, entry: Mapping[str, Any], clean: Mapping[str, Any]) -> None:
    strengths = entry["strengths"]
    label_axes(axes, entry["title"], entry["unit"], "", pad=4)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_xlim(-0.2, len(strengths) + 0.2)
    axes.set_xticks(range(len(strengths) + 1), ["none", *(f"{one['value']:g}" for one in strengths)])
    places = np.arange(len(strengths) + 1)
    for key, name, colour, dash, mark in _LINES:
        points = [clean[key], *(one[key] for one in strengths)]
        values = [point["value"] for point in points]
        axes.axhline(values[0], color=colour, linewidth=0.9, alpha=0.4, linestyle=(0, (4, 3)))
        if all(point["low"] is not None for point in points):
            lows, highs = ([point[end] for point in points] for end in ("low", "high"))
            axes.fill_between(places, lows, highs, color=colour, alpha=0.12, linewidth=0)
        axes.plot(places, values, color=colour, linewidth=1.8, linestyle=dash, marker=mark, markersize=4.5,
                  clip_on=False, zorder=3, label=name)  # fmt: skip


_CELL = 1.55
"""Inches: a crop of 224 px is shown about pixel for pixel."""


def draw_sample(
    entries: Sequence[Mapping[str, Any]], sample: Mapping[tuple[str, int], NDArray[np.uint8]], path: Path
) -> None:
    """Draw one face under every condition, a row for each corruption, untouched on the left.

    ``sample``: crops uint8 (H, W, 3) by (corruption, strength). Raises ``MissingExtraError`` without matplotlib.
    """
    columns = 1 + len(entries[0]["strengths"])
    figure = new_figure((_CELL + 0.42) * len(entries) + 0.1)
    figure.set_figwidth(_CELL * columns)
    grid = figure.subplots(len(entries), columns, squeeze=False)
    for row, entry in zip(grid, entries, strict=True):
        conditions = [("none", 0), *((entry["name"], one["strength"]) for one in entry["strengths"])]
        for axes, condition in zip(row, conditions, strict=True):
            axes.imshow(sample[condition], interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        row[0].set_title(f"{entry['title']}: {entry['unit']}", loc="left", fontsize=12, color=INK, pad=5)
        row[0].set_xlabel("none", fontsize=11, color=INK, labelpad=3)
        for axes, one in zip(row[1:], entry["strengths"], strict=True):
            axes.set_xlabel(f"{one['value']:g}", fontsize=11, color=INK, labelpad=3)
    save_figure(figure, path)
