"""What a detector says of a split of a face set: a table with one row per face."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facetell.detector.runtimes import ReadsCache
from facetell.errors import MissingExtraError
from facetell.evaluation.score_curves import Curve
from facetell.progress import Progress, Step, silent

if TYPE_CHECKING:
    from facetell.detector.detector import Detector
    from facetell.faceset.table import FaceSet

__all__ = ["BATCH", "Predictions", "predict", "predicted"]

BATCH = 256
"""Faces that a network is given at once."""


@dataclass(frozen=True)
class Predictions:
    """``columns``: (N,) each, by the names and in the types of `facetell.evaluation.predictions.PREDICTION_COLUMNS`."""

    columns: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["row"])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def to_pandas(self) -> Any:
        """The table as a pandas data frame. Raises ``MissingExtraError`` where pandas is not installed."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingExtraError("a table of pandas", "notebook") from error
        return pandas.DataFrame(self.columns)


def predict(
    detector: Detector, faces: FaceSet, split: str, progress: Progress = silent, *, known: bool = False
) -> Predictions:
    """Score a split. The score of an uncalibrated detector is the sigmoid of the logit: it ranks, and is no probability.

    ``known``: also say how rare each face is among those the detector knows, where it can tell.

    Raises ``DataError`` for a split that is not there, or a picture that does not decode.
    """
    from facetell.faceset.samples import check_split

    check_split(faces, split, "judge")
    if known and detector.unlike is not None:
        logits, p_known = _judged(detector, faces, split, progress)
    else:
        logits = _logits(detector, faces, split, progress)
        p_known = np.full(len(logits), np.nan)
    return predicted(detector, faces, split, logits, p_known)


def predicted(
    detector: Detector,
    faces: FaceSet,
    split: str,
    logits: npt.NDArray[np.float32],
    p_known: npt.NDArray[np.float64],
) -> Predictions:
    """The table of a split whose logits (N,) and p-values (N,) are known."""
    table = faces.columns(["path", "label", "group", "source", "split", "sha256"], split)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    curve = detector.decider.curve if detector.calibration else Curve(1.0)
    scores = curve.scores(logits)
    rows = np.arange(len(logits))
    return Predictions({"row": rows, **columns, "logit": logits, "score": scores, "p_known": p_known})


def _judged(
    detector: Detector, faces: FaceSet, split: str, progress: Progress
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Logits (N,) and p-values (N,) of one pass, crop by crop: cached vectors are others than those of known faces."""
    count = len(faces.rows(split))
    logits, deviations = np.empty(count, np.float32), np.empty(count)
    for rows, crops in _crops(detector, faces, split, progress):
        logits[rows], deviations[rows] = detector.logits_and_deviations(crops)
        progress(Step("scoring", rows.stop, count, "faces"))
    return logits, detector.p_known(deviations)


def _logits(detector: Detector, faces: FaceSet, split: str, progress: Progress) -> npt.NDArray[np.float32]:
    """Logits (N,): by the runtime's own shorter way if it has one (cached vectors), else batch by batch."""
    from facetell.faceset.decoded import decoded

    count = len(faces.rows(split))
    if isinstance(detector.runtime, ReadsCache):
        return detector.runtime.logits_of(decoded(faces, split, detector.size, progress), np.arange(count), progress)
    logits = np.empty(count, np.float32)
    for rows, crops in _crops(detector, faces, split, progress):
        logits[rows] = detector.logits(crops)
        progress(Step("scoring", rows.stop, count, "faces"))
    return logits


def _crops(
    detector: Detector, faces: FaceSet, split: str, progress: Progress
) -> Iterator[tuple[slice, npt.NDArray[np.uint8]]]:
    """(rows within the split, crops) of each batch."""
    from facetell.faceset.decoded import batches

    first = 0
    with contextlib.closing(batches(faces, split, detector.size, BATCH, progress)) as found:
        for crops in found:
            yield slice(first, first + len(crops)), crops
            first += len(crops)
