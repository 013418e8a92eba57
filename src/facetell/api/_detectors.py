"""``detectors``: those that a name stands for."""

from __future__ import annotations

from facetell.detector.shelf import list_detectors
from facetell.results import DetectorsResult

__all__ = ["detectors"]


def detectors() -> DetectorsResult:
    """List the detector in the box and those in the folder of detectors, with size, method, kinds, licence and date.

    A damaged one is listed with the reason. Only descriptions are read: :func:`facetell.verify` checks one whole.

    Raises ``BundleError`` where the folder of detectors cannot be read.
    """
    return list_detectors()
