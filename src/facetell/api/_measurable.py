"""Which faces a detector may be measured on: what every verb asks that measures one on a labelled face set."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from facetell.detector.detector import Detector
from facetell.faceset.table import FaceSet

__all__ = ["measurable", "warn_of_other_crops"]

log = logging.getLogger("facetell")


def measurable(detector: Detector, faces: FaceSet, split: str) -> tuple[NDArray[np.bool_], list[str]]:
    """Which faces (N,) of a split a detector may be measured on, and what to say of these and of the others.

    Those that it has learned from, or others of their groups, are left out and counted; those that chose something of it are
    counted. Faces that were cut in another way than in training are warned of.

    Raises ``UsageError`` where half of them or more were learned from.
    """
    warn_of_other_crops(detector, faces)
    keep, said = detector.lineage.unseen(faces, split)
    return keep, [*said, *_chosen_on(detector, faces, split)]


def warn_of_other_crops(detector: Detector, faces: FaceSet) -> None:
    """Faces cut in another way than in training are another task: say so, for the numbers would not."""
    theirs, ours = faces.info.get("crop"), detector.description["input"]["crop"]
    if theirs and ours and theirs["geometry"] != ours["geometry"]:
        log.warning(
            "%s was cut with %s, the detector was fitted on %s", faces.path.name, theirs["geometry"], ours["geometry"]
        )


def _chosen_on(detector: Detector, faces: FaceSet, split: str) -> list[str]:
    """Say so where the faces chose the detector's epoch, temperature or thresholds."""
    count = int(detector.lineage.seen(faces, split).chosen.sum())
    if not count:
        return []
    return [f"{count:,} faces are of those that chose its epoch, temperature or thresholds: the numbers are too good"]
