"""The plots of a report: ROC, precision-recall, score densities, confusion matrix, reliability.

Every function draws one PNG, 1,000 px wide and readable at 600, and writes it whole or not at all. Figures are made
without pyplot, so nothing here touches a caller's matplotlib state. Blue and vermillion are from the Okabe-Ito palette,
which people with any colour vision can tell apart; shapes and direct labels say the same without colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import MissingExtraError
from facetell.evaluation import metrics
from facetell.evaluation.densities import clipped_log_odds, density
from facetell.files import whole_file
from facetell.reporting.glyphs import make_readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

__all__ = [
    "FAINT",
    "FAKE",
    "INK",
    "REAL",
    "confusion_matrix",
    "label_axes",
    "new_figure",
    "precision_recall",
    "reliability",
    "roc",
    "roc_overlay",
    "save_figure",
    "score_densities",
    "unit_square",
]

REAL, FAKE, INK, FAINT = "#0072B2", "#D55E00", "#222222", "#8A8A8A"

_WIDTH, _HEIGHT, _DPI = 6.0, 5.0, 1000 / 6
_GRID = 512  # points of a density curve

Floats = NDArray[np.float64]


def new_figure(height: float = _HEIGHT) -> Figure:
    """An empty figure, 6 inches wide. Raises ``MissingExtraError`` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plots", "report") from error
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def label_axes(axes: Axes, title: str, xlabel: str, ylabel: str, pad: float = 10) -> None:
    """Give axes their title, labels and the look all plots share."""
    # A file's name is in some titles: it is no formula, whatever dollar signs it has.
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=pad, parse_math=False)
    axes.set_xlabel(xlabel, fontsize=11, color=INK)
    axes.set_ylabel(ylabel, fontsize=11, color=INK)
    axes.tick_params(labelsize=10, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)


def save_figure(figure: Figure, path: Path, comment: str | None = None) -> None:
    """Write a PNG whole or not at all."""
    make_readable(figure)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", metadata={"Comment": comment} if comment else None)


def _facts(labels: ArrayLike, scores: ArrayLike) -> str:
    area = metrics.auroc(labels, scores)
    shown = "not defined" if np.isnan(area) else f"{area:.3f}"
    return f"n = {np.size(np.asarray(labels)):,}, AUROC {shown}"


def unit_square(axes: Axes) -> None:
    """Both axes from 0 to 1, with room for lines that run along the edge."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.03)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))


def _notes(axes: Axes, lines: list[str], *, top_left: bool = False, top_right: bool = False) -> None:
    """Write lines into a corner of the unit square: bottom right unless said otherwise."""
    x, side = (0.01, "left") if top_left else (0.99, "right")
    first = 0.97 if top_left or top_right else 0.05 + 0.07 * (len(lines) - 1)
    plate = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
    for k, line in enumerate(lines):
        axes.text(x, first - 0.07 * k, line, ha=side, va="center", fontsize=10.5, color=INK, bbox=plate, zorder=6)


def roc(labels: ArrayLike, scores: ArrayLike, threshold: float, path: Path) -> None:
    """Draw the ROC curve with the operating point and the equal error rate; (N,) labels and scores of both classes."""
    figure = new_figure()
    axes = figure.subplots()
    fpr, tpr, _ = metrics.roc_curve(labels, scores)
    matrix, equal = metrics.confusion(labels, scores, threshold), metrics.eer(labels, scores)
    label_axes(
        axes, f"ROC  ({_facts(labels, scores)})", "false positive rate (real called fake)", "recall (fake found)"
    )
    unit_square(axes)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(fpr, tpr, color=FAKE, alpha=0.08, linewidth=0)
    axes.plot(fpr, tpr, color=FAKE, linewidth=2, solid_joinstyle="round", clip_on=False)
    axes.plot(matrix.fpr, matrix.recall, "o", color=INK, markersize=8, clip_on=False, zorder=5)
    axes.plot(equal, 1 - equal, "D", color="white", markeredgecolor=INK, markersize=7, clip_on=False, zorder=4)
    lines = [
        f"●  threshold {threshold:.3g}: recall {matrix.recall:.3f}, FPR {matrix.fpr:.3f}",
        f"◇  equal error rate {equal:.3f}",
    ]
    # The corner that the curve leaves empty: below the diagonal, unless the detector is worse than chance.
    _notes(axes, lines, top_left=metrics.auroc(labels, scores) < 0.5)
    save_figure(figure, path)


def precision_recall(labels: ArrayLike, scores: ArrayLike, threshold: float, path: Path) -> None:
    """Draw precision over recall with the operating point; the dashed line is the share of fakes (chance)."""
    figure = new_figure()
    axes = figure.subplots()
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    matrix = metrics.confusion(labels, scores, threshold)
    share = float(np.mean(np.asarray(labels)))
    title = f"Precision–recall  ({_facts(labels, scores)})"
    label_axes(axes, title, "recall (share of fakes found)", "precision (called fake and is fake)")
    unit_square(axes)
    axes.axhline(share, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.step(recall, precision, where="post", color=FAKE, linewidth=2, clip_on=False)
    if not np.isnan(matrix.precision):
        axes.plot(matrix.recall, matrix.precision, "o", color=INK, markersize=8, clip_on=False, zorder=5)
    shown = "–" if np.isnan(matrix.precision) else f"{matrix.precision:.3f}"
    area = metrics.average_precision(labels, scores)
    lines = [
        f"●  threshold {threshold:.3g}: precision {shown}, recall {matrix.recall:.3f}",
        f"average precision {area:.3f}",
        f"- -  share of fakes {share:.3f}",
    ]
    # A poor curve runs along the bottom, a good one along the top.
    _notes(axes, lines, top_right=area < 0.7)
    save_figure(figure, path)


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
    figure = new_figure(5.1 + 0.22 * len(detectors))
    axes = figure.subplots()
    size = len(metrics.checked(labels, detectors[0]["scores"])[0])
    label_axes(axes, f"ROC  (n = {size:,})", "false positive rate (real called fake)", "recall (fake found)")
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


_SCORE_TICKS = {
    0.5: "0.5",
    0.1: "0.1",
    0.9: "0.9",
    0.01: "0.01",
    0.99: "0.99",
    1e-4: "10⁻⁴",
    1 - 1e-4: "1−10⁻⁴",
    1e-6: "10⁻⁶",
    1 - 1e-6: "1−10⁻⁶",
}  # from the middle outward: where space is short the outer ones win, see _score_ticks


def _score_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Places (log-odds) and names of the ticks between ``low`` and ``high``, none close enough to touch another."""
    places: dict[float, str] = {}
    ticks = [(float(clipped_log_odds(score)), name) for score, name in _SCORE_TICKS.items()]
    inside = [tick for tick in ticks if low <= tick[0] <= high]
    for place, name in [*inside[:1], *inside[:0:-1]]:  # 0.5 first, then from the ends inward
        if all(abs(place - other) > 0.11 * (high - low) for other in places):
            places[place] = name
    return list(places), list(places.values())


def score_densities(
    labels: ArrayLike, scores: ArrayLike, threshold: float, path: Path, ideal: Mapping[str, Any] | None = None
) -> None:
    """Draw how the scores of real and of fake faces are spread, with the threshold.

    ``ideal``: of :func:`~facetell.evaluation.densities.ideal_thresholds`; draws the densities' crossing and the ROC's
    ideal threshold with their intervals below the curves.

    The axis shows the score on a log-odds scale (the calibrated logit), so that neither end is squeezed. Bars are a
    histogram, lines a Gaussian kernel density; both have area 1 per class.
    """
    y = np.asarray(labels).astype(bool)
    x = clipped_log_odds(scores)
    cut = float(clipped_log_odds(np.clip(threshold, 0, 1)))
    low, high = min(float(x.min()), cut), max(float(x.max()), cut)
    margin = max(0.08 * (high - low), 1.0)
    grid = np.linspace(low - margin, high + margin, _GRID)
    figure = new_figure()
    axes = figure.subplots()
    label_axes(
        axes, f"Scores  ({_facts(labels, scores)})", "score: probability of fake (log-odds scale)", "density", pad=32
    )
    axes.grid(visible=False, axis="x")
    bins = np.linspace(grid[0], grid[-1], int(np.clip(np.sqrt(y.size), 12, 40)) + 1).tolist()
    top = 0.0
    for name, members, colour, style in (("real", ~y, REAL, "-"), ("fake", y, FAKE, (0, (6, 2)))):
        if not members.any():
            continue
        curve = density(x[members], grid)
        heights, _, _ = axes.hist(x[members], bins=bins, density=True, color=colour, alpha=0.22)
        axes.plot(grid, curve, color=colour, linewidth=2.2, linestyle=style, label=f"{name} (n = {members.sum():,})")
        top = max(top, float(curve.max()), float(np.max(heights)))
    axes.set_ylim(0, top * 1.15)
    axes.set_xlim(grid[0], grid[-1])
    axes.axvline(cut, color=INK, linewidth=1.5, ymax=0.93)
    side = "left" if cut < (grid[0] + grid[-1]) / 2 else "right"
    axes.text(cut, top * 1.08, f" threshold {threshold:.3g} ", ha=side, va="bottom", fontsize=10.5, color=INK)
    if ideal is not None:
        _draw_ideal(axes, ideal, top)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=2, fontsize=11, frameon=False, borderpad=0.2)
    axes.set_xticks(*_score_ticks(grid[0], grid[-1]))
    save_figure(figure, path)


def _draw_ideal(axes: Axes, ideal: Mapping[str, Any], top: float) -> None:
    """Two rows below the curves: a mark and a bar for the crossing and for Youden's threshold."""
    axes.set_ylim(-0.24 * top, top * 1.15)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    left, right = axes.get_xlim()
    for row, (name, mark, word) in enumerate((("crossing", "X", "densities cross"), ("youden", "D", "ROC's ideal"))):
        found = ideal[name]
        if found["value"] is None:
            continue
        height = -(0.075 + 0.1 * row) * top
        x = float(clipped_log_odds(found["value"]))
        if found["low"] is not None:
            ends = np.clip(clipped_log_odds([found["low"], found["high"]]), left, right)
            axes.plot(ends, [height, height], color=INK, linewidth=2, alpha=0.45, solid_capstyle="butt")
            said = f"{word} {found['value']:.3f} ({found['low']:.3f}–{found['high']:.3f})"
        else:
            said = f"{word} {found['value']:.3f}"
        axes.plot([x], [height], mark, color=INK, markersize=7)
        here = x > (left + right) / 2
        reach = [x, *(ends if found["low"] is not None else [])]
        axes.text(
            min(reach) if here else max(reach),
            height,
            f"{said}   " if here else f"   {said}",
            ha="right" if here else "left",
            va="center",
            fontsize=9.5,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top * 1.15])


def confusion_matrix(labels: ArrayLike, scores: ArrayLike, threshold: float, path: Path) -> None:
    """Draw the four counts, each shaded by its share of its row (real or fake)."""
    matrix = metrics.confusion(labels, scores, threshold)
    counts = np.array([[matrix.tn, matrix.fp], [matrix.fn, matrix.tp]])
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = new_figure(4.4)
    axes = figure.subplots()
    label_axes(axes, f"Decisions at threshold {threshold:.3g}  ({_facts(labels, scores)})", "decision", "")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    words = (("correct", "false alarm"), ("missed", "found"))
    for row, colour in enumerate((REAL, FAKE)):
        for column in range(2):
            share = shares[row, column]
            axes.add_patch(_cell(column, row, colour, share))
            ink = "white" if row == 0 and share > 0.9 else INK  # dark text reads better on any shade of vermillion
            axes.text(column, row - 0.08, f"{counts[row, column]:,}", ha="center", color=ink, fontsize=22, va="center")
            note = f"{share:.1%} {words[row][column]}" if totals[row, 0] else "no face"
            axes.text(column, row + 0.22, note, ha="center", va="center", color=ink, fontsize=11)
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(1.5, -0.5)
    axes.set_xticks([0, 1], ["real", "fake"], fontsize=12)
    axes.set_yticks([0, 1], [f"real\n{totals[0, 0]:,}", f"fake\n{totals[1, 0]:,}"], fontsize=12)
    save_figure(figure, path)


def _cell(column: int, row: int, colour: str, share: float) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=0.08 + 0.82 * share, linewidth=0)


def _compact(count: int) -> str:
    """At most five characters, to fit above a narrow bar."""
    return str(count) if count < 10_000 else f"{count / 1e3:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def reliability(
    labels: ArrayLike, scores: ArrayLike, path: Path, bins: int = 15, *, before: ArrayLike | None = None
) -> None:
    """Draw the observed share of fakes over the predicted probability, and below it the faces per bin.

    ``before``: the scores (N,) before calibration, drawn as open marks.
    """
    found = metrics.reliability_bins(labels, scores, bins)
    figure = new_figure(5.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[3.2, 1], sharex=True)
    title = f"Reliability  ({_facts(labels, scores)}, ECE {metrics.ece(labels, scores, bins):.3f})"
    label_axes(upper, title, "", "observed share of fakes")
    unit_square(upper)
    upper.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    if before is not None:
        old = metrics.reliability_bins(labels, before, bins)
        shown = old.counts > 0
        said = f"before calibration, ECE {metrics.ece(labels, before, bins):.3f}"
        upper.plot(old.predicted[shown], old.observed[shown], "o-", color=FAINT, markerfacecolor="white", markersize=5,
                   linewidth=0.8, label=said)  # fmt: skip
        upper.legend(loc="upper left", fontsize=10, frameon=False)
    filled = found.counts > 0
    x, y = found.predicted[filled], found.observed[filled]
    upper.plot(x, y, color=FAKE, linewidth=1.2, alpha=0.35)
    upper.vlines(x, x, y, color=FAKE, linewidth=1.5, alpha=0.5)
    area = 12 + 90 * found.counts[filled] / found.counts.max()
    upper.scatter(x, y, s=area, color=FAKE, clip_on=False, zorder=4)
    upper.set_xlabel("below the diagonal: too sure of fake · above: too sure of real", fontsize=9.5, color=INK)
    label_axes(lower, "", "predicted probability of fake", "faces")
    middles = (found.edges[1:] + found.edges[:-1]) / 2
    lower.bar(middles, found.counts, width=0.9 / bins, color=FAINT)
    lower.grid(visible=False, axis="x")
    lower.set_ylim(0, max(1, found.counts.max()) * 1.3)
    for place, count in zip(middles[filled], found.counts[filled], strict=True):
        lower.text(place, count, _compact(int(count)), ha="center", va="bottom", fontsize=8, color=INK)
    save_figure(figure, path)
