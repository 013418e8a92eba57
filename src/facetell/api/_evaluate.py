"""``evaluate``: what a detector says of a labelled face set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.api._measurable import measurable
from facetell.api._report import pictures_of
from facetell.detector.calibration import DEFAULT, MeasuredOn, plain, uncalibrated
from facetell.detector.decider import Decider
from facetell.detector.detector import Detector
from facetell.detector.on_cluster import judging_of, loaded_for, predict_on_cluster
from facetell.detector.places import DetectorLike
from facetell.detector.predictions import predict
from facetell.detector.shortcut_warnings import shortcut_warnings
from facetell.detector.videos import videos_of
from facetell.evaluation.rates import check_prevalence
from facetell.evaluation.score_curves import Curve
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSet, FaceSetLike
from facetell.ingest.prepare import open_or_prepare
from facetell.labels import LABELS
from facetell.media.cluster import check_engine
from facetell.progress import Progress, ShowProgress, callback, silent
from facetell.reporting.report import check_destination, write_report
from facetell.reporting.videos import JudgedVideos
from facetell.results import EvaluateResult

__all__ = ["evaluate", "predictions"]

UNCALIBRATED = (
    "the detector is uncalibrated: there are only numbers of its ranking, and no threshold; next: facetell calibrate "
    "DETECTOR FACESET"
)
FEW = 200
"""Faces of a class below which a temperature is a rough guess."""


def predictions(
    detector: Detector,
    faces: FaceSet,
    split: str,
    *,
    progress: Progress = silent,
    known: bool = False,
) -> dict[str, npt.NDArray[Any]]:
    """The columns of `Detector.predict`; ``known``: see `facetell.detector.predictions.predict`."""
    return predict(detector, faces, split, progress, known=known).columns


def evaluate(
    detector: DetectorLike,
    faceset: FaceSetLike,
    out: str | Path | None = None,
    *,
    split: str = "test",
    at: str | None = None,
    prevalence: float | None = None,
    seed: int = 0,
    device: str = "auto",
    runtime: str | None = None,
    engine: str = "local",
    progress: ShowProgress = None,
) -> EvaluateResult:
    """Score a split of a face set; write a report to ``out``, a folder, where it is given.

    ``at``: which of the detector's operating points decides, by default its own; all were chosen on validation data.
    ``prevalence``: also say what a verdict is worth where this share of the faces, in (0, 1), is fake. Scores stay as they
    are: this split has its own mix. ``seed`` draws the bootstrap intervals.

    Faces that the detector has learned from, or others of their groups, are left out, and the report says how many;
    where they are half of the split or more, ``UsageError`` is raised. Faces that `detect` would call unsure because they
    are unlike all that the detector knows are counted, source by source, and no other number leaves them out.

    Where faces are of videos, each video is judged as well, as `detect` does: ``videos`` of the result.

    ``engine``: ``ray`` has the nodes of a cluster judge, which must see the face set and the detector by the same paths. The
    numbers are the same, to the bit where the runtime is ``onnx``.
    """
    check_engine(engine)
    if prevalence is not None:
        check_prevalence(prevalence)
    folder = None if out is None else Path(out)
    check_destination(folder)
    name, detector = loaded_for(engine, detector, device, runtime)
    at = at or detector.operating_point
    calibration = detector.calibration
    if calibration is None and (at != DEFAULT or prevalence is not None):
        raise uncalibrated("operating point or prevalence")
    decider = calibration.deciders(at)[0] if calibration else None
    tell = callback(progress)
    faces = open_or_prepare(faceset, progress=tell)
    check_split(faces, split, "evaluate on")
    keep, said = measurable(detector, faces, split)
    if engine == "ray":
        how = judging_of(detector, device, runtime)
        columns = predict_on_cluster(how, detector, faces, split, None, tell).columns
    else:
        columns = predictions(detector, faces, split, progress=tell, known=True)
    table = {name: column[keep] for name, column in columns.items()}
    description = detector.description
    context = {
        "detector": name,
        "method": description["method"],
        "backbone": description["settings"]["backbone"],
        "input_size": detector.size,
        "operating_point": at if calibration else None,
        "calibration": calibration.face.method if calibration else "uncalibrated",
        "temperature": calibration.face.curve.temperature if calibration else None,
        "fitted_on": f"{description['data']['name']}, split {description['data']['split']}",
        "fitted_on_fingerprint": description["data"]["fingerprint"],
        "fit_seed": description["seed"],
        "faceset": faces.path.name,
        "faceset_fingerprint": faces.fingerprint,
        "split": split,
        "versions": description["versions"],
        "warnings": [
            *shortcut_warnings(description["data"].get("shortcuts", [])),
            *said,
            *(_few_to_calibrate_on(calibration.face.on) if calibration else [UNCALIBRATED]),
        ],
    }
    rule = "none, the detector is uncalibrated"
    if calibration:
        point = calibration.face.points[at]
        rule = f"{point.rule} on {point.on.split}"
        rule = rule if at == DEFAULT else f"{at}: {rule} of {point.on.faceset}"
    found = write_report(
        table,
        folder,
        videos=_videos(detector, faces, split, columns["logit"], keep, at),
        threshold=decider.threshold if decider else None,
        threshold_rule=rule,
        band=decider.band if decider else None,
        prevalence=prevalence,
        unlike=detector.unlike,
        points=plain(calibration.face.points) if calibration else None,
        illustrate=lambda rows: pictures_of(detector, faces, split, rows),
        context=context,
        seed=seed,
    )
    return EvaluateResult.of(found, folder)


def _videos(
    detector: Detector,
    faces: FaceSet,
    split: str,
    logits: npt.NDArray[np.float32],
    keep: npt.NDArray[np.bool_],
    at: str,
) -> JudgedVideos | None:
    """The whole videos of the split as `detect` judges them; None where there are none."""
    videos = videos_of(faces, split, logits, keep)
    if not len(videos):
        return None
    decider = detector.calibration.deciders(at)[1] if detector.calibration else Decider(Curve(1.0), 0.5)
    pooled = videos.logits(decider.real, of_tracks=decider.of_tracks)
    of_faces = detector.decider.curve if detector.calibration else Curve(1.0)
    return JudgedVideos(
        columns={
            "path": videos.paths,
            "label": videos.labels,
            "group": videos.groups,
            "logit": pooled,
            "score": decider.curve.scores(pooled),
            "mean_score": np.array([of_faces.scores(logits[rows]).mean() for rows in videos.rows]),
        },
        threshold=decider.threshold if detector.calibration else None,
        chosen_on="videos" if decider.of_tracks else "faces",
    )


def _few_to_calibrate_on(on: MeasuredOn) -> list[str]:
    """Warn where the scores were made probabilities on too few faces."""
    few = [f"{count:,} {name}" for name, count in zip(LABELS, (on.n_real, on.n_fake), strict=True) if count < FEW]
    if not few:
        return []
    return [f"the detector was calibrated on few faces ({', '.join(few)}): its scores are rough as probabilities"]
