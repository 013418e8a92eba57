"""``inspect``, ``verify`` and ``history``: what there is to know of face sets and detectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from facetell.detector.bundle import read_bundle
from facetell.detector.detector import Detector
from facetell.detector.lineage import history_of
from facetell.detector.places import DetectorLike, bundle_path
from facetell.detector.signature import check_signature
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


def verify(detector: DetectorLike, *, key: str | Path | None = None) -> VerifyResult:
    """Check a detector bundle whole, and with a public ``key`` (PEM) that its owner signed just that.

    Raises ``BundleError`` with the reason when anything is not as it was written, or not as it was signed, ``UsageError`` for
    a file that is no key, and ``MissingExtraError`` for a key without the extra ``sign``.
    """
    path = bundle_path(detector)
    signed = None if key is None else check_signature(path, Path(key))
    return replace(Detector.verify(path), signed=signed)


def history(detector: DetectorLike) -> HistoryResult:
    """What a detector was fitted on, then each kind of fake it has learned: tried, chosen, why, and the acceptance checks.

    Raises ``BundleError`` for a damaged detector.
    """
    path = bundle_path(detector)
    fitted, *adapted = history_of(read_bundle(path))
    return HistoryResult(str(path), fitted, tuple(adapted))
