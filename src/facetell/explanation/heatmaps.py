"""Maps drawn over faces: rows of faces, a column for each kind of map, and below each column what its colours mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from facetell.explanation.maps import Kind, enlarged
from facetell.reporting.pictures import MAPPED_SIDE, face_with_map
from facetell.reporting.plots import FAKE, INK, REAL, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Row", "draw_maps"]

_CELL, _LINE, _REST = 1.75, 0.17, 1.05
"""Inches: a picture, a line of its caption, and title, column titles and scales together."""
_GAP = 4
_ATTENTION = "#6A3D9A"
_DPI = 130
EVEN = 1.0
"""Attention that a place gets where all get the same."""


@dataclass(frozen=True)
class Row:
    """One face: pixels uint8 (S, S, 3), a caption of any number of lines, and its maps (h, w) by kind."""

    pixels: npt.NDArray[np.uint8]
    caption: str
    maps: Mapping[str, npt.NDArray[np.float32]]


def draw_maps(rows: Sequence[Row], kinds: Mapping[str, Kind], title: str, path: Path) -> None:
    """Write a PNG; a column has one scale for all of its rows. Without matplotlib it has no words, and each map its own scale."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        _draw_plainly(rows, kinds, path)
        return
    columns = 1 + len(kinds)
    lines = [row.caption.count("\n") + 1 if row.caption else 0 for row in rows]
    size = (_CELL * columns, sum(_CELL + _LINE * number for number in lines) + _REST)
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


def _draw_plainly(rows: Sequence[Row], kinds: Mapping[str, Kind], path: Path) -> None:
    """Each face beside its signed maps, in the order of ``kinds``."""
    signed = [key for key, kind in kinds.items() if kind.signed]
    pairs = [[face_with_map(row.pixels, row.maps[key]) for key in signed] for row in rows]
    width, height = pairs[0][0].size
    beside = width - MAPPED_SIDE
    sheet = Image.new("RGB", (MAPPED_SIDE + beside * len(signed), (height + _GAP) * len(rows) - _GAP), "white")
    for down, row in enumerate(pairs):
        for along, pair in reversed(list(enumerate(row))):  # of all but the first only the map stays to be seen
            sheet.paste(pair, (beside * along, down * (height + _GAP)))
        sheet.paste(row[0].crop((0, 0, MAPPED_SIDE, height)), (0, down * (height + _GAP)))
    sheet.save(path)


def _column(axes: Any, faces: list[npt.NDArray[np.uint8]], maps: list[npt.NDArray[np.float32]], kind: Kind) -> None:
    limit = max(float(np.abs(values).max()) for values in maps) or 1.0
    if not kind.signed:
        limit = max(limit, EVEN + 0.01)
    for place, face, values in zip(axes, faces, maps, strict=False):
        _bare(place)
        grey = face.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        # Lightened, so that both colours show on dark faces too.
        place.imshow(255 - (255 - grey) * 0.7, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        place.imshow(_coloured(enlarged(values[None], face.shape[0])[0], limit, kind), interpolation="bilinear")
    bar = axes[-1]
    low = -limit if kind.signed else EVEN
    scale = np.linspace(low, limit, 256, dtype=np.float32)[None]
    bar.imshow(_coloured(scale, limit, kind), aspect="auto", extent=(low, limit, 0, 1))
    bar.set_yticks([])
    bar.tick_params(labelsize=8, colors=INK, length=2)
    bar.spines[:].set_visible(False)
    if kind.signed:
        bar.set_xticks([-limit, 0, limit], [f"−{limit:.2g}", "0", f"+{limit:.2g}"])
        bar.set_xlabel("← real   fake →", fontsize=8.5, color=INK)
    else:
        bar.set_xticks([EVEN, limit], ["1", f"{limit:.3g}"])
        bar.set_xlabel("times its even share", fontsize=8.5, color=INK)
    for label, side in zip(bar.get_xticklabels(), ("left", *("center",) * kind.signed, "right"), strict=True):
        label.set_horizontalalignment(side)


def _coloured(values: npt.NDArray[np.float32], limit: float, kind: Kind) -> npt.NDArray[np.float32]:
    """Values (h, w) as RGBA: the colour says the sign, the opacity how much; of attention, what exceeds an even share."""
    from matplotlib.colors import to_rgb

    colour = np.where(values[..., None] < 0, to_rgb(REAL), to_rgb(FAKE if kind.signed else _ATTENTION))
    strength = np.abs(values) / limit if kind.signed else (values - EVEN).clip(0) / (limit - EVEN)
    opacity = 0.85 * strength
    return np.concatenate((colour, opacity[..., None]), axis=2).astype(np.float32)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
