"""What is chosen on validation faces and on whole validation videos: the same when a detector is made and later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from facetell.detector.calibration import DEFAULT
from facetell.detector.pooling import RULE, pool_files, tracks_of
from facetell.evaluation.drift import Sketch
from facetell.evaluation.metrics import auroc
from facetell.evaluation.rates import operating_rates
from facetell.evaluation.score_curves import calibrated, fit_temperature
from facetell.evaluation.thresholds import choose_threshold
from facetell.faceset.table import FaceSet

__all__ = ["MIN_FILES", "Videos", "counted", "operating_point", "per_file", "sketched", "videos_of"]

MIN_FILES = 10
"""Videos of each class below which nothing is chosen on them."""


@dataclass(frozen=True)
class Videos:
    """Whole videos: ``labels``, pooled ``logits`` and ``groups``, each (F,)."""

    labels: npt.NDArray[np.int8]
    logits: npt.NDArray[np.float32]
    groups: npt.NDArray[Any]


def videos_of(faces: FaceSet, logits: npt.NDArray[np.float32], split: str) -> Videos | None:
    """Pool the logits (N,) of a split's faces by video; None where either class has less than ``MIN_FILES`` videos."""
    table = faces.columns(["path", "label", "group", "frame", "time", "box", "landmarks", "face_score"], split)
    rows = table.filter(pc.is_valid(table["frame"]))
    paths = rows["path"].dictionary_encode().combine_chunks()
    files = paths.indices.to_numpy()
    labels = np.zeros(len(paths.dictionary), dtype=np.int8)
    groups = np.empty(len(labels), dtype=object)
    labels[files], groups[files] = rows["label"].to_numpy(), rows["group"].to_numpy()
    if np.bincount(labels, minlength=2).min() < MIN_FILES:
        return None
    of_rows = logits[pc.is_valid(table["frame"]).to_numpy()]
    tracks = np.zeros(len(files), dtype=np.int64)
    for file in range(len(labels)):
        mine = np.flatnonzero(files == file)
        tracks[mine] = tracks_of(rows.take(mine))
    return Videos(labels, pool_files(of_rows, files, tracks), groups)


def counted(labels: npt.ArrayLike) -> dict[str, int]:
    """How many there are of each label: ``n``, ``n_real``, ``n_fake``."""
    y = np.asarray(labels)
    fake = int(y.sum())
    return {"n": int(y.size), "n_real": int(y.size) - fake, "n_fake": fake}


def operating_point(
    labels: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, rule: str, data: dict[str, str]
) -> dict[str, Any]:
    """Choose a threshold by ``rule`` and say all there is to know of it, as a detector's description holds it.

    ``data`` says which face set and split these (N,) are. The rates are those on the faces that chose the threshold.
    """
    value = choose_threshold(labels, scores, rule)
    return {
        "value": value,
        "rule": rule,
        **data,
        **counted(labels),
        "groups": int(np.unique(np.asarray(groups).astype(str)).size),
        "rates": operating_rates(labels, scores, groups, value),
    }


def sketched(labels: npt.ArrayLike, logits: npt.ArrayLike, groups: npt.ArrayLike) -> dict[str, Any]:
    """The logits (N,) of each label as a sketch, ``real`` and ``fake``: what ``watch`` holds later traffic against."""
    y, z, names = np.asarray(labels), np.asarray(logits), np.asarray(groups)
    return {name: Sketch.of(z[y == label], names[y == label]).as_dict() for label, name in enumerate(("real", "fake"))}


def per_file(faces: FaceSet, logits: npt.NDArray[np.float32], rule: str, data: dict[str, str]) -> dict[str, Any] | None:
    """Temperature and threshold for whole videos, chosen on those of ``data["split"]``; None where they are too few.

    The frames of one video err together, so what is calibrated for one face is too sure for their mean, or not sure
    enough: only whole files can tell.
    """
    videos = videos_of(faces, logits, data["split"])
    if videos is None:
        return None
    temperature = fit_temperature(videos.logits, videos.labels)
    point = operating_point(videos.labels, calibrated(videos.logits, temperature), videos.groups, rule, data)
    return {
        "calibration": {"temperature": temperature, "threshold": point["value"]},
        "thresholds": {DEFAULT: point},
        "pooling": RULE,
        "rule": rule,
        **data,
        **counted(videos.labels),
        "auroc": auroc(videos.labels, videos.logits),
        "reference": sketched(videos.labels, videos.logits, videos.groups),
    }
