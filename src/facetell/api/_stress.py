"""``stress``: how a detector holds out on faces that were compressed, resized, filmed and passed on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facetell.api._measurable import measurable
from facetell.detector.calibration import uncalibrated
from facetell.detector.corrupted import corrupted_logits, first_crop, median_side
from facetell.detector.on_cluster import judging_of, loaded_for, stress_on_cluster
from facetell.detector.places import DetectorLike
from facetell.errors import DataError, UsageError
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSetLike
from facetell.ingest.prepare import open_or_prepare
from facetell.media.cluster import check_engine
from facetell.pixels.corruptions import STRENGTHS, Corruption, check_codec, choose
from facetell.progress import ShowProgress, callback
from facetell.reporting.stress import Conditions, check_stress, write_stress
from facetell.results import StressResult
from facetell.settings import check_counts
from facetell.threads import usable_cores

__all__ = ["stress"]


def stress(
    detector: DetectorLike,
    faceset: FaceSetLike,
    out: str | Path | None = None,
    *,
    split: str = "test",
    only: Sequence[str] | None = None,
    at: str | None = None,
    seed: int = 0,
    device: str = "auto",
    runtime: str | None = None,
    workers: int | None = None,
    engine: str = "local",
    progress: ShowProgress = None,
) -> StressResult:
    """Measure a detector on a split under every corruption and strength.

    Faces that the detector has learned from, or others of their groups, are left out, and the report says how many.

    Args:
        detector: a bundle, or a loaded one.
        faceset: a face set with real and fake faces in ``split``.
        out: where a report goes, a new folder or that of an earlier one; None writes none.
        split: of the face set.
        only: names of corruptions; default all nine (see `facetell.pixels.corruptions`).
        at: which of the detector's operating points decides; default its own.
        seed: draws the noise, the crops of screenshots and the bootstraps. Not the number of workers.
        device: ``auto``, ``cpu`` or ``cuda``.
        runtime: what computes the logits, see `Detector.load`.
        workers: threads that decode and corrupt; default one per core. On a cluster: parts under way.
        engine: ``ray`` has the nodes of a cluster corrupt and judge, which must see the face set and the detector by the same
            paths. The numbers are the same, to the bit where the runtime is ``onnx``.
        progress: True shows a bar; a function is called as pictures are scored, each crop once per condition.

    Raises:
        UsageError: an unknown corruption or operating point; ``out`` holds something else; the detector has learned from
            half of the split or more.
        DataError: no such split, only one label in it, or a picture that does not decode.
    """
    chosen, left_out = _installed(only)
    check_counts(workers=workers)
    check_engine(engine)
    folder = None if out is None else Path(out)
    check_stress(folder)
    name, detector = loaded_for(engine, detector, device, runtime)
    at = at or detector.operating_point
    if detector.calibration is None:
        raise uncalibrated("threshold to measure recall and false alarms at")
    decider, _ = detector.calibration.deciders(at)
    faces = open_or_prepare(faceset)
    check_split(faces, split, "stress on")
    keep, said = measurable(detector, faces, split)
    labels = faces.labels(split)[keep]
    if len(np.unique(labels)) < 2:
        raise DataError(f"split '{split}' of {faces.path} has one label only", hint="AUROC needs real and fake faces")
    conditions = [("none", 0), *((one.name, level) for one in chosen for level in range(1, STRENGTHS + 1))]
    tell = callback(progress)
    if engine == "ray":
        how = judging_of(detector, device, runtime)
        scored, speed = stress_on_cluster(how, faces, split, conditions, seed, workers, tell)
    else:
        scored, speed = corrupted_logits(detector, faces, split, conditions, seed, workers or usable_cores(), tell)
    description = detector.description
    context = {
        "detector": name,
        "method": description["method"],
        "backbone": description["settings"]["backbone"],
        "input_size": detector.size,
        "crop_side_median": median_side(faces, split),
        "operating_point": at,
        "faceset": faces.path.name,
        "faceset_fingerprint": faces.fingerprint,
        "split": split,
        "seed": seed,
        "versions": description["versions"],
    }
    groups = faces.columns(["group"], split)["group"].to_numpy()[keep]
    scored = {key: found[keep] for key, found in scored.items()}
    scores = {key: decider.scores(found) for key, found in scored.items()}
    table = Conditions(np.flatnonzero(keep), labels, groups, scored, scores)
    sample = first_crop(faces, split, conditions, seed)
    about = {"threshold": decider.threshold, "context": context, "speed": speed, "warnings": [*left_out, *said]}
    return StressResult(**write_stress(folder, table, chosen, sample, about, seed=seed), path=folder)


def _installed(only: Sequence[str] | None) -> tuple[list[Corruption], list[str]]:
    """The corruptions that can be made here, and a warning of what cannot; what was asked for by name must be there."""
    chosen = choose(only)
    try:
        if any(one.name == "h264" for one in chosen):
            check_codec()
    except UsageError as error:
        if only is not None:
            raise
        return [one for one in chosen if one.name != "h264"], [f"h264 is left out: {error.message} ({error.hint})"]
    return chosen, []
