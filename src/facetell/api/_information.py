"""``inspect``, ``verify`` and ``history``: what there is to know of face sets and detectors."""

from __future__ import annotations

from pathlib import Path

from facetell.detector.bundle import read_bundle
from facetell.detector.detector import Detector
from facetell.detector.lineage import history_of
from facetell.detector.places import DetectorLike, bundle_path
from facetell.faceset.inspection import contact_sheet, summarise
from facetell.faceset.table import FaceSetLike
from facetell.ingest.prepare import open_or_prepare
from facetell.results import HistoryResult, InspectResult, VerifyResult

__all__ = ["history", "inspect", "verify"]


def inspect(faceset: FaceSetLike, *, sheet: str | Path | None = None, seed: int = 0) -> InspectResult:
    """Count a face set by split, label, source, group and size; with ``sheet``, write a contact sheet (PNG) there."""
    faces = open_or_prepare(faceset)
    drawn = None if sheet is None else str(contact_sheet(faces, Path(sheet), seed=seed))
    return InspectResult(**summarise(faces), contact_sheet=drawn)


def verify(detector: DetectorLike) -> VerifyResult:
    """Check a detector bundle whole. Raises ``BundleError`` with the reason when anything is not as it was written."""
    return Detector.verify(bundle_path(detector))


def history(detector: DetectorLike) -> HistoryResult:
    """What a detector was fitted on, then each kind of fake it has learned: tried, chosen, why, and the acceptance checks.

    Raises ``BundleError`` for a damaged detector.
    """
    path = bundle_path(detector)
    fitted, *adapted = history_of(read_bundle(path))
    return HistoryResult(str(path), fitted, tuple(adapted))
