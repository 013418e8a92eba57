"""The plot of an embedding as it was learned: one panel of validation faces for each epoch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from facetell.reporting.plots import FAKE, REAL, label_axes, new_figure, save_figure

__all__ = ["draw_embedding"]

MAX_PANELS = 6


def draw_embedding(points: Path, path: Path) -> None:
    """Draw the table ``points`` (epoch, label, x, y) to the PNG ``path``: up to six epochs, the last among them.

    All panels have the same scale, and neither axis shows less than 0.1, so a collapsed embedding is seen as one spot.
    Raises ``MissingExtraError`` without matplotlib.
    """
    table = np.loadtxt(points, delimiter=",", skiprows=1, ndmin=2)
    epochs = np.unique(table[:, 0])
    shown = epochs[np.unique(np.linspace(0, len(epochs) - 1, min(MAX_PANELS, len(epochs))).round().astype(int))]
    columns = min(3, len(shown))
    figure = new_figure(5.0 if len(shown) == 1 else 2.5 * math.ceil(len(shown) / columns))
    grid = figure.subplots(math.ceil(len(shown) / columns), columns, squeeze=False, sharex=True, sharey=True)
    panels = list(grid.flat)
    reach = max(0.1, 1.05 * float(np.abs(table[np.isin(table[:, 0], shown), 2:]).max()))
    for axes, epoch in zip(panels, shown, strict=False):
        label_axes(axes, f"epoch {epoch:.0f}", "", "", pad=4)
        for label, name, colour, mark in ((0, "real", REAL, "o"), (1, "fake", FAKE, "x")):
            _, _, x, y = table[(table[:, 0] == epoch) & (table[:, 1] == label)].T
            axes.plot(x, y, mark, color=colour, markersize=3.5, alpha=0.6, label=name, linestyle="none")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    for axes in panels[len(shown) :]:
        axes.remove()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("Validation faces on the two principal axes of the embedding", fontsize=12, x=0.02, ha="left")
    save_figure(figure, path)
