"""What ``threshold`` and ``calibrate`` begin with: logits of labelled faces that the detector may be measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facetell.api._evaluate import predictions, warn_of_other_crops
from facetell.detector.detector import Detector
from facetell.detector.measure import Sample
from facetell.errors import UsageError
from facetell.faceset.samples import check_split
from facetell.ingest.prepare import open_or_prepare
from facetell.progress import Progress

__all__ = ["Labelled", "labelled"]


@dataclass(frozen=True)
class Labelled:
    """A detector, and its logits of the faces and of the whole videos (None: too few) of one split."""

    detector: Detector
    faces: Sample
    videos: Sample | None


def labelled(
    path: str | Path,
    faceset: str | Path,
    split: str,
    device: str,
    progress: Progress,
) -> Labelled:
    """Load a detector and score a split of a face set that something may be chosen on.

    Raises UsageError for the split *test* and for the faces the detector was fitted on, DataError for a face set that
    cannot be used, BundleError for a damaged detector.
    """
    if split == "test":
        raise UsageError(
            "what is chosen on the split 'test' would make its numbers worthless",
            hint="use validation or finetune; facetell prepare makes splits where an index or folder has none",
        )
    detector = Detector.load(path, device)
    faces = open_or_prepare(Path(faceset))
    check_split(faces, split, "choose on")
    fitted = detector.description["data"]
    if (faces.fingerprint, split) == (fitted["fingerprint"], fitted["split"]):
        raise UsageError(
            f"the detector was fitted on the split '{split}' of {faces.path.name}: it is too sure of these faces",
            hint="use the split validation",
        )
    warn_of_other_crops(detector, faces)
    logits = predictions(detector, faces, split, progress=progress)["logit"]
    return Labelled(detector, Sample.of(faces, split, logits), Sample.of_videos(faces, split, logits))
