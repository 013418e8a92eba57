"""Known data sets, in the folder structure in which they are downloaded: one file each, and one line in ``LAYOUTS``."""

from __future__ import annotations

from pathlib import Path

from facetell.errors import UsageError, near_miss
from facetell.ingest.layouts import celebdf, deepfakebench, dfdc, dfdc_preview, dffd, faceforensics, faces140k
from facetell.ingest.layouts.layout import Layout

__all__ = ["LAYOUTS", "find_layout", "get_layout"]

LAYOUTS = {
    layout.name: layout
    for layout in (
        faceforensics.LAYOUT,
        celebdf.LAYOUT,
        dfdc.LAYOUT,
        dfdc_preview.LAYOUT,
        dffd.LAYOUT,
        faces140k.LAYOUT,
        deepfakebench.LAYOUT,
    )
}
"""The layouts by name."""


def get_layout(name: str) -> Layout:
    """A layout by name. Raises ``UsageError`` with the nearest name for an unknown one."""
    if name not in LAYOUTS:
        raise UsageError(
            f"unknown data set '{name}'{near_miss(name, LAYOUTS)}", hint=f"data sets: {', '.join(LAYOUTS)}"
        )
    return LAYOUTS[name]


def find_layout(root: Path) -> Layout | None:
    """The layout that recognises the folder; None where none does, or more than one."""
    found = [layout for layout in LAYOUTS.values() if layout.recognises(root)]
    return found[0] if len(found) == 1 else None
