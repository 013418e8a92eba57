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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facetell.detector.shortcut_warnings import EXPLAINS, suspicious
from facetell.errors import MissingExtraError
from facetell.evaluation.shortcuts import SOME, STRONG
from facetell.faceset.inspection import pair_sheet
from facetell.faceset.table import FaceSet
from facetell.files import whole_folder
from facetell.reporting.pages import markdown_page
from facetell.reporting.plots import FAINT, FAKE, INK, REAL, label_axes, new_figure, save_figure
from facetell.reporting.result_folder import check_folder, plain, save_json

__all__ = ["AUDIT_FORMAT", "AUDIT_VERSION", "check_audit_destination", "findings", "write_audit"]

AUDIT_FORMAT = "facetell-audit"
AUDIT_VERSION = 1

_SMALL = 0.01
_TWICE = 2.0

_FILES = ("audit.json", "audit.md", "shortcuts.png", "near-duplicates.png")


def findings(audit: Mapping[str, Any]) -> list[str]:
    """The sentences to act on, the gravest first; empty when all is quiet."""
    leaks, found = audit["leaks"], []
    if leaks["groups"]["count"]:
        found.append(f"{leaks['groups']['count']:,} groups are in two splits, such as {leaks['groups']['examples'][0]}")
    for key, where in (("both_labels", "with both labels"), ("across_splits", "in two splits")):
        same = leaks["identical"][key]
        if same["rows"]:
            one, other = same["examples"][0]
            found.append(
                f"{same['rows']:,} pictures are identical {where}, such as {one['path']} ({one['split']}, {one['label']}) "
                f"and {other['path']} ({other['split']}, {other['label']})"
            )
    near = leaks["near"]
    if near["rows"]:
        here = near["by_split"][audit["split"]]
        one, other = near["examples"][0]["rows"]
        found.append(
            f"{here['rows']:,} of {here['of']:,} pictures of {audit['split']} look like one of another split, and "
            f"{near['rows']:,} in all; closest: {one['path']} ({one['split']}) and {other['path']} ({other['split']})"
        )
    follows = {one["family"]: one["follows"] for one in (audit["detector"] or {}).get("follows", [])}
    for one in suspicious(audit["shortcuts"]["families"]):
        words = "alone tells real from fake" if one["verdict"] == "strong" else "alone tells something of the label"
        heard = "; the detector follows it" if follows.get(one["family"]) else ""
        found.append(
            f"{one['family']} {words}: AUROC {one['auroc']:.2f} ({one['low']:.2f}–{one['high']:.2f}, n = {one['n']:,}){heard}"
        )
    worst = (audit["detector"] or {}).get("worst_groups")
    if worst and worst["share"] is not None and worst["p"] < _SMALL and worst["share"] > _TWICE * worst["chance"]:
        found.append(
            f"{worst['share']:.0%} of the detector's {worst['errors']:,} errors are in {worst['worst']:,} of "
            f"{worst['groups']:,} groups; by chance it would be {worst['chance']:.0%}"
        )
    return [*found, *(audit["detector"] or {}).get("warnings", [])]


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
        page = markdown_page("audit", {**audit, "pictures": pictures, "legitimate": EXPLAINS})
        (fresh / "audit.md").write_text(page, "utf-8")


def _captions(pair: dict[str, Any]) -> list[str]:
    rows = [f"{row['split']}, {row['label']}: {row['path']}" for row in pair["rows"]]
    return [*rows, f"difference {pair['difference']:.3f}"]


def _draw(shortcuts: dict[str, Any], path: Path) -> None:
    families = sorted(shortcuts["families"], key=lambda one: one["auroc"])
    figure = new_figure(1.4 + 0.42 * len(families))
    axes = figure.subplots()
    title = f"What tells real from fake without a face  (n = {families[0]['n']:,})"
    label_axes(axes, title, "AUROC of this alone, with 95% interval", "")
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
