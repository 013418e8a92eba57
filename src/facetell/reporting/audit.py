"""An audit as a folder.

::

    audit.json             every number
    audit.md               the same for people, findings first
    shortcuts.png          AUROC of each family with its interval (needs matplotlib)
    near-duplicates.png    the pairs across splits that look most alike, if there are any

The folder appears whole or not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facetell.detector.shortcut_warnings import suspicious
from facetell.errors import MissingExtraError
from facetell.evaluation.shortcuts import SOME, STRONG
from facetell.faceset.inspection import pair_sheet
from facetell.faceset.table import FaceSet
from facetell.files import whole_folder
from facetell.reporting.audit_page import findings, render
from facetell.reporting.folder import check_folder, plain, save_json
from facetell.reporting.plots import FAINT, FAKE, INK, REAL, dressed, figure_of, save_figure

__all__ = ["AUDIT_FORMAT", "AUDIT_VERSION", "check_audit_destination", "findings", "write_audit"]

AUDIT_FORMAT = "facetell-audit"
AUDIT_VERSION = 1

_FILES = ("audit.json", "audit.md", "shortcuts.png", "near-duplicates.png")


def check_audit_destination(out: Path) -> None:
    """Raise :class:`~facetell.errors.UsageError` unless an audit may be written to ``out``: nothing, or an earlier one."""
    check_folder(out, "audit", "audit.json", AUDIT_FORMAT, _FILES)


def write_audit(audit: dict[str, Any], faceset: FaceSet, out: Path) -> None:
    """Write what :func:`facetell.audit` found to the folder ``out``."""
    check_audit_destination(out)
    with whole_folder(out) as fresh:
        pictures = []
        if audit["shortcuts"]["families"]:
            with contextlib.suppress(MissingExtraError):
                _draw(audit["shortcuts"], fresh / "shortcuts.png")
                pictures.append("shortcuts.png")
        pairs = audit["leaks"]["near"]["examples"]
        if pairs:
            pair_sheet(faceset, [(_captions(pair), [row["row"] for row in pair["rows"]]) for pair in pairs],
                       fresh / "near-duplicates.png")  # fmt: skip
            pictures.append("near-duplicates.png")
        save_json(fresh / "audit.json", plain(audit))
        (fresh / "audit.md").write_text(render(audit, pictures), "utf-8")


def _captions(pair: dict[str, Any]) -> list[str]:
    rows = [f"{row['split']}, {row['label']}: {row['path']}" for row in pair["rows"]]
    return [*rows, f"difference {pair['difference']:.3f}"]


def _draw(shortcuts: dict[str, Any], path: Path) -> None:
    families: Sequence[dict[str, Any]] = sorted(shortcuts["families"], key=lambda one: one["auroc"])
    figure = figure_of(1.4 + 0.42 * len(families))
    axes = figure.subplots()
    title = f"What tells real from fake without a face  (n = {families[0]['n']:,})"
    dressed(axes, title, "AUROC of this alone, with 95% interval", "")
    for at, one in enumerate(families):
        colour = FAKE if one in suspicious(families) else REAL
        axes.barh(at, one["auroc"] - 0.5, left=0.5, height=0.55, color=colour, alpha=0.35, linewidth=0)
        axes.plot([one["low"], one["high"]], [at, at], color=INK, linewidth=2)
        axes.plot(one["auroc"], at, "o", color=INK, markersize=6)
    plate = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for line, word in ((SOME, "some"), (STRONG, "strong")):
        axes.axvline(line, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(line, len(families) - 0.35, word, ha="center", va="bottom", fontsize=9, color=FAINT, bbox=plate)
    axes.set_yticks(range(len(families)), [one["family"] for one in families])
    axes.set_ylim(-0.6, len(families) - 0.05)
    axes.set_xlim(min(0.4, *(one["low"] for one in families)), 1.01)
    save_figure(figure, path)
