"""The ROC curves of several detectors on the same faces, in one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from facetell.evaluation import metrics
from facetell.reporting.plots import FAINT, INK, dressed, figure_of, save_figure, unit_square

__all__ = ["roc_overlay"]

# Okabe-Ito, the reference in ink; the dashes tell the same without colour.
_COLOURS = (INK, "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", "-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
_LONGEST = 44  # characters of a name that fit beside its numbers


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2 - 1]}…{name[-(_LONGEST // 2) :]}"


def roc_overlay(labels: ArrayLike, detectors: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the ROC curve of each of ``detectors`` on faces with ``labels`` (N,) of both classes.

    Each has a ``name``, ``scores`` (N,), ``threshold`` and ``auroc`` (value, low, high), which the legend shows; a dot
    is where its threshold puts it. Raises ``MissingExtraError`` without matplotlib.
    """
    figure = figure_of(5.1 + 0.22 * len(detectors))
    axes = figure.subplots()
    size = len(metrics.checked(labels, detectors[0]["scores"])[0])
    dressed(axes, f"ROC  (n = {size:,})", "false positive rate (real called fake)", "recall (fake found)")
    unit_square(axes)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    lines, names = [], []
    for place, one in enumerate(detectors):
        colour, dash = _COLOURS[place % len(_COLOURS)], _DASHES[place % len(_DASHES)]
        fpr, tpr, _ = metrics.roc_curve(labels, one["scores"])
        # The reference lies on top and is thinner, so that a curve that is the same shows beside it.
        width, height = (1.5, 4) if place == 0 else (2.4, 3)
        lines += axes.plot(
            fpr,
            tpr,
            color=colour,
            linewidth=width,
            linestyle=dash,
            solid_joinstyle="round",
            clip_on=False,
            zorder=height,
        )
        found = metrics.confusion(labels, one["scores"], one["threshold"])
        axes.plot(
            found.fpr, found.recall, "o", color=colour, markeredgecolor="white", markersize=9, clip_on=False, zorder=5
        )
        area = one["auroc"]
        names.append(f"{area['value']:.3f} ({area['low']:.3f}–{area['high']:.3f})   {_short(one['name'])}")
    legend = figure.legend(
        lines,
        names,
        title="AUROC (95% interval) of each; the dot is its own threshold",
        loc="outside lower left",
        fontsize=10,
        title_fontsize=10,
        alignment="left",
        frameon=False,
        handlelength=3.2,
        labelcolor=INK,
    )
    for label in legend.get_texts():
        label.set_parse_math(False)
    save_figure(figure, path)
