"""A drift watch as a folder.

::

    watch.json     every number
    watch.md       the same for people, the conclusion first
    watch.png      scores and share of unsure over the batches (needs matplotlib)
    cluster-1.png  faces of a suspected new cluster, where faces were looked at

The folder appears whole or not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facetell.errors import MissingExtraError
from facetell.files import whole_folder
from facetell.reporting.pages import markdown_page
from facetell.reporting.pictures import contact_sheet
from facetell.reporting.plots import FAKE, INK, REAL, label_axes, new_figure, save_figure
from facetell.reporting.result_folder import check_folder, plain, save_json
from facetell.reporting.watch_findings import ALPHA

if TYPE_CHECKING:
    from facetell.detector.look import Faces

__all__ = ["WATCH_FORMAT", "WATCH_VERSION", "check_watch_destination", "write_watch"]

WATCH_FORMAT = "facetell-watch"
WATCH_VERSION = 1

_SIDES = {"face": (REAL, -0.12), "video": (FAKE, 0.12)}
"""Colour of a kind, and where it is drawn beside the other."""

_FILES = ("watch.json", "watch.md", "watch.png", *(f"cluster-{number}.png" for number in range(1, 10)))


def check_watch_destination(out: Path) -> None:
    """Raise :class:`~facetell.errors.UsageError` unless a watch may be written to ``out``: nothing, or an earlier one."""
    check_folder(out, "watch", "watch.json", WATCH_FORMAT, _FILES)


def write_watch(result: dict[str, Any], out: Path, clusters: Sequence[Faces] = ()) -> None:
    """Write what :func:`facetell.watch` found to the folder ``out``; ``clusters`` are faces of its clusters, at most 9."""
    check_watch_destination(out)
    with whole_folder(out) as fresh:
        pictures = []
        with contextlib.suppress(MissingExtraError):
            _draw(result, fresh / "watch.png")
            pictures.append("watch.png")
        for number, faces in enumerate(clusters, start=1):
            contact_sheet(faces).save(fresh / f"cluster-{number}.png")
            pictures.append(f"cluster-{number}.png")
        save_json(fresh / "watch.json", plain(result))
        (fresh / "watch.md").write_text(_page(result, pictures), "utf-8")


def _page(result: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """``watch.md``; ``pictures`` are files beside it."""
    batches = result["batches"]
    rows = [*batches, {**result["whole"], "name": "all"}] if len(batches) > 1 else batches
    more = {
        "pictures": pictures,
        "rows": rows,
        "tested": [(row["name"], test) for row in rows for test in row["tests"]],
        "alpha": ALPHA,
    }
    return markdown_page("watch", {**result, **more})


def _draw(result: dict[str, Any], path: Path) -> None:
    """Quantiles of the scores, and below them the shares called fake and unsure, over the batches."""
    batches = result["batches"]
    figure = new_figure(6.0)
    above, below = figure.subplots(2, 1, sharex=True)
    sides = {kind: side for kind, side in _SIDES.items() if any(kind in batch["quantiles"] for batch in batches)}
    of = " of faces (left) and videos (right)" if len(sides) == 2 else ""
    label_axes(above, f"Scores{of}: 5, 25, 50, 75 and 95%", "", "score")
    for kind, (colour, apart) in sides.items():
        side = apart if len(sides) == 2 else 0.0
        for at, batch in enumerate(batches):
            if kind in batch["quantiles"]:
                least, low, middle, high, most = batch["quantiles"][kind].values()
                above.plot([at + side] * 2, [least, most], color=colour, linewidth=1.2)
                above.plot([at + side] * 2, [low, high], color=colour, linewidth=5, alpha=0.6)
                above.plot(at + side, middle, "o", color=INK, markersize=4)
    above.set_ylim(-0.02, 1.02)
    label_axes(below, "Share of the judged files, with 95% interval", "batch", "share")
    for name, colour, mark, side in (("fake", FAKE, "o", -0.12), ("unsure", INK, "s", 0.12)):
        shares = [(at + side, batch["shares"][name]) for at, batch in enumerate(batches) if batch["shares"][name]]
        for x, share in shares:
            below.plot([x, x], [share["low"], share["high"]], color=colour, linewidth=1.5)
        if shares:
            values = [share["value"] for _, share in shares]
            label = "called fake" if name == "fake" else name
            below.plot([x for x, _ in shares], values, mark, color=colour, markersize=5, label=label)
    if sides:
        below.legend(frameon=False, fontsize=9)
    below.set_ylim(bottom=0)
    step = -(-len(batches) // 12)
    below.set_xticks(range(0, len(batches), step), [str(at + 1) for at in range(0, len(batches), step)])
    save_figure(figure, path)
