"""Maps drawn over faces: rows of faces, a column for each kind of map, and below each column what its colours mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facetell.errors import MissingExtraError
from facetell.explaining.explainer import Kind, enlarged
from facetell.reporting.plots import FAKE, INK, REAL, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = ["Row", "draw_maps"]

_CELL, _BAR = 1.75, 0.62
_ATTENTION = "#6A3D9A"
_DPI = 130


@dataclass(frozen=True)
class Row:
    """One face: pixels uint8 (S, S, 3), up to three lines beside it, and its maps (h, w) by kind."""

    pixels: npt.NDArray[np.uint8]
    caption: str
    maps: Mapping[str, npt.NDArray[np.float32]]


def draw_maps(rows: Sequence[Row], kinds: Mapping[str, Kind], title: str, path: Path) -> None:
    """Write a PNG; a column has one scale for all of its rows. Raises ``MissingExtraError`` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("pictures of maps", "explain") from error
    columns = 1 + len(kinds)
    size = (_CELL * columns, _CELL * len(rows) + 0.5 * len(rows) + _BAR + 0.62)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=INK, parse_math=False)
    grid = figure.subplots(
        len(rows) + 1, columns, squeeze=False, height_ratios=[*(1.0 for _ in rows), 0.05], gridspec_kw={"hspace": 0.06}
    )
    for axes, row in zip(grid[:, 0], rows, strict=False):
        _bare(axes)
        axes.imshow(row.pixels, interpolation="nearest")
        axes.set_xlabel(row.caption, fontsize=8.5, color=INK, parse_math=False)
    grid[0, 0].set_title("face", fontsize=9.5, color=INK)
    _bare(grid[-1, 0])
    for column, (key, kind) in enumerate(kinds.items(), start=1):
        grid[0, column].set_title(kind.title, fontsize=9.5, color=INK)
        _column(grid[:, column], [row.pixels for row in rows], [row.maps[key] for row in rows], kind)
    save_figure(figure, path)


def _column(axes: Any, faces: list[npt.NDArray[np.uint8]], maps: list[npt.NDArray[np.float32]], kind: Kind) -> None:
    limit = max(float(np.abs(values).max()) for values in maps) or 1.0
    low = -limit if kind.signed else 0.0
    colours = _colours(kind.signed)
    for place, face, values in zip(axes, faces, maps, strict=False):
        _bare(place)
        grey = face.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        # Lightened, so that both colours show on dark faces too.
        place.imshow(255 - (255 - grey) * 0.75, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        grown = enlarged(values[None], face.shape[0])[0]
        strength = np.abs(grown) / limit
        place.imshow(grown, cmap=colours, vmin=low, vmax=limit, alpha=0.8 * strength**0.75, interpolation="bilinear")
    bar = axes[-1]
    bar.imshow(np.linspace(low, limit, 256)[None], cmap=colours, aspect="auto", extent=(low, limit, 0, 1))
    bar.set_yticks([])
    bar.tick_params(labelsize=8, colors=INK, length=2)
    bar.spines[:].set_visible(False)
    if kind.signed:
        bar.set_xticks([-limit, 0, limit], [f"−{limit:.2g}", "0", f"+{limit:.2g}"])
        bar.set_xlabel("← real   fake →", fontsize=8.5, color=INK)
    else:
        bar.set_xticks([0, limit], ["0", f"{limit:.2g}"])
        bar.set_xlabel("even share = 1", fontsize=8.5, color=INK)
    for label, side in zip(bar.get_xticklabels(), ("left", *("center",) * kind.signed, "right"), strict=True):
        label.set_horizontalalignment(side)


def _colours(signed: bool) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    ends = [REAL, "white", FAKE] if signed else ["white", _ATTENTION]
    return LinearSegmentedColormap.from_list("facetell", ends)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
