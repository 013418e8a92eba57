"""``inspect``, ``verify`` and ``history``: what there is to know of face sets and detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facetell.detector.bundle import read_bundle
from facetell.detector.detector import Detector
from facetell.detector.lineage import history_of
from facetell.faceset.inspection import contact_sheet, summarise
from facetell.ingest.prepare import open_or_prepare

__all__ = ["history", "inspect", "verify"]


def inspect(faceset: str | Path, *, sheet: str | Path | None = None, seed: int = 0) -> dict[str, object]:
    """Count a face set by split, label, source, group and size; with ``sheet``, write a contact sheet (PNG) there."""
    faces = open_or_prepare(Path(faceset))
    result: dict[str, object] = summarise(faces)
    if sheet is not None:
        result["contact_sheet"] = str(contact_sheet(faces, Path(sheet), seed=seed))
    return result


def verify(detector: str | Path) -> dict[str, Any]:
    """Check a detector bundle whole. Raises ``BundleError`` with the reason when anything is not as it was written."""
    return Detector.verify(detector)


def history(detector: str | Path) -> list[dict[str, Any]]:
    """What a detector was fitted on, then each kind of fake it has learned: tried, chosen, why, and the acceptance checks.

    Raises ``BundleError`` for a damaged detector.
    """
    return history_of(read_bundle(Path(detector))[0])
