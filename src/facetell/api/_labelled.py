"""What ``threshold`` and ``calibrate`` begin with: logits of labelled faces that the detector may be measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facetell.api._evaluate import predictions
from facetell.api._measurable import warn_of_other_crops
from facetell.detector.detector import Detector
from facetell.detector.lineage import Lineage
from facetell.detector.measure import Sample
from facetell.detector.places import DetectorLike, bundle_path
from facetell.errors import UsageError
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSetLike
from facetell.ingest.prepare import open_or_prepare
from facetell.progress import Progress

__all__ = ["Labelled", "labelled"]


@dataclass(frozen=True)
class Labelled:
    """A detector, and its logits of the faces and of the whole videos (None: too few) of one split.

    ``warnings`` say which faces are left out because the detector has learned from them. ``lineage`` is the detector's once
    something is chosen on the faces.
    """

    detector: Detector
    faces: Sample
    videos: Sample | None
    warnings: tuple[str, ...]
    lineage: Lineage


def labelled(
    detector: DetectorLike,
    faceset: FaceSetLike,
    split: str,
    device: str,
    runtime: str | None,
    progress: Progress,
) -> Labelled:
    """Load a detector as it is on disk and score a split of a face set that something may be chosen on.

    Raises UsageError for the split *test* and where the detector has learned from half of the faces or more, DataError for
    a face set that cannot be used, BundleError for a damaged detector.
    """
    if split == "test":
        raise UsageError(
            "what is chosen on the split 'test' would make its numbers worthless",
            hint="use validation or finetune; facetell prepare makes splits where an index or folder has none",
        )
    judge = Detector.load(bundle_path(detector), device, runtime=runtime)
    faces = open_or_prepare(faceset)
    check_split(faces, split, "choose on")
    keep, warnings = judge.lineage.unseen(faces, split)
    warn_of_other_crops(judge, faces)
    logits = predictions(judge, faces, split, progress=progress)["logit"]
    scale = judge.calibration.video if judge.calibration else None
    videos = Sample.of_videos(faces, split, logits, keep, scale.reference.real if scale else None)
    chosen = judge.lineage.with_chosen(faces, np.flatnonzero(keep) + faces.rows(split).start)
    return Labelled(judge, Sample.of(faces, split, logits, keep), videos, tuple(warnings), chosen)
