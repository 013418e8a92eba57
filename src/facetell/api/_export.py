"""``export``: a detector for a program that knows nothing of facetell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.api._labelled import labelled
from facetell.detector.bundle import read_bundle, steadily
from facetell.detector.calibration import Scale, uncalibrated
from facetell.detector.detector import Detector
from facetell.detector.measure import Sample
from facetell.detector.places import DetectorLike, bundle_path
from facetell.detector.replay_buffer import open_replay_buffer
from facetell.detector.runtimes.onnx import runtime_of
from facetell.detector.weights import model_bytes
from facetell.errors import AcceptanceError, SettingsError, UsageError, near_miss
from facetell.evaluation.metrics import auroc
from facetell.exporting.folder import FORMATS, decision_of, preprocessing_of, write_folder
from facetell.exporting.quantised import quantised
from facetell.faceset.samples import Samples, samples_of
from facetell.faceset.table import FaceSet, FaceSetLike
from facetell.ingest.prepare import open_or_prepare
from facetell.progress import Progress, ShowProgress, Step, callback
from facetell.results import ExportResult

__all__ = ["export"]

RANGES = 256
"""Faces that say how large the numbers in the network get."""
LOSS = 0.003
"""AUROC that whole numbers may cost."""
BATCH = 64


def export(
    detector: DetectorLike,
    out: str | Path,
    *,
    to: str = FORMATS[0],
    int8: bool = False,
    faceset: FaceSetLike | None = None,
    split: str = "validation",
    allow_loss: float = LOSS,
    seed: int = 0,
    progress: ShowProgress = None,
) -> ExportResult:
    """Write a folder with the detector's network, how to feed it, how to read it, and an example that needs no facetell.

    Args:
        detector: a detector bundle, its name, or a loaded detector.
        out: the folder, which must not exist.
        to: ``onnx`` or ``openvino``.
        int8: compute in whole numbers of 8 bits: a quarter of the size. Temperature, operating points and the unsure band are
            measured again.
        faceset: for ``int8``, labelled faces that the detector has not learned from; by default its replay buffer.
        split: of the face set, never test.
        allow_loss: AUROC that ``int8`` may cost on these faces.
        seed: draws the faces that say how large numbers get.
        progress: True shows a bar; a function is called as faces are scored.

    Raises:
        UsageError: something is at ``out``; there are no faces to measure ``int8`` on; the detector is uncalibrated.
        AcceptanceError: ``int8`` costs more than ``allow_loss``, nothing is written.
        MissingExtraError: OpenVINO, or for ``int8`` onnx, is not installed.
        DataError, BundleError: the face set cannot be used, the detector is damaged.
    """
    if to not in FORMATS:
        raise SettingsError(f"unknown format '{to}'{near_miss(to, FORMATS)}", hint=f"one of {', '.join(FORMATS)}")
    folder, path = Path(out), bundle_path(detector)
    if folder.exists():
        raise UsageError(f"{folder} exists", hint="choose another name or remove it")
    judge = Detector.load(path, "cpu", runtime="onnx")
    if judge.calibration is None:
        raise uncalibrated("score or decision that another program could show")
    description, model = steadily(path, lambda: _read(path))
    scale, areas, apart = judge.calibration.face, None, None
    if int8:
        model, scale, areas, apart = _in_int8(judge, model, _faces(judge, faceset), split, seed, callback(progress))
        loss = areas["before"] - areas["after"]
        if not loss <= allow_loss:
            raise AcceptanceError(
                f"int8 costs {loss:.4f} of AUROC ({areas['before']:.4f} to {areas['after']:.4f}), more than {allow_loss:g}: "
                "nothing is written",
                {"auroc": areas},
                hint="leave out --int8, or take it nonetheless: --allow-loss",
            )
    decision = decision_of(scale) | {"auroc": areas}
    about = {"preprocessing.json": preprocessing_of(description), "decision.json": decision}
    size = write_folder(folder, to, model, about, _card(path.name, to, int8, judge))
    return ExportResult(str(path), str(folder), to, int8, size, areas, apart, decision["points"], path=folder)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    description = read_bundle(path)
    return description, model_bytes(path, description)


def _faces(judge: Detector, faceset: FaceSetLike | None) -> FaceSet:
    if faceset is not None:
        return open_or_prepare(faceset)
    assert judge.path is not None
    kept = open_replay_buffer(judge.path, judge.description)
    if not isinstance(kept, FaceSet):
        raise UsageError(
            "int8 is measured on faces, and the detector keeps none",
            hint="give labelled ones that it has not learned from: --faceset FACESET",
        )
    return kept


def _in_int8(
    judge: Detector, model: bytes, faces: FaceSet, split: str, seed: int, progress: Progress
) -> tuple[bytes, Scale, dict[str, float], float]:
    """The model in int8, what turns its logits into decisions, AUROC before and after, and the largest difference."""
    assert judge.path is not None
    assert judge.calibration is not None
    before = labelled(judge.path, faces, split, "cpu", "onnx", progress).faces
    keep, _ = judge.lineage.unseen(faces, split)
    samples = samples_of(faces, split, judge.size, progress)
    drawn = np.random.default_rng([seed, 13]).permutation(samples.rows[keep])[:RANGES]
    made = quantised(model, samples.images.gather(np.sort(drawn)))
    logits = _logits(made, judge, samples, progress)
    after = Sample.of(faces, split, logits, keep)
    old = judge.calibration.face
    scale = after.scale({name: point.rule for name, point in old.points.items()}, old.method)
    if old.unsure:
        scale = replace(scale, unsure=after.band(scale.curve, old.unsure.coverage))
    areas = {name: auroc(each.labels, each.logits) for name, each in (("before", before), ("after", after))}
    return made, scale, areas, float(np.abs(after.logits - before.logits).max())


def _logits(model: bytes, judge: Detector, samples: Samples, progress: Progress) -> npt.NDArray[np.float32]:
    assert judge.path is not None
    runtime = runtime_of(model, judge.path, judge.size)
    parts = list[npt.NDArray[np.float32]]()
    for crops in samples.images.batches(samples.rows, BATCH):
        parts.append(runtime.logits(crops))
        progress(Step("scoring in int8", sum(map(len, parts)), len(samples), "faces"))
    return np.concatenate(parts)


def _card(name: str, to: str, int8: bool, judge: Detector) -> str:
    crop = judge.description["input"]["crop"]
    faces = (
        "The detector was fitted on faces cut out of photos: `face` in `preprocessing.json` says how."
        if crop
        else "The detector was fitted on ready face crops."
    )
    script = "" if to == "openvino" else "`example.mjs` does the same in Node and in a browser. "
    return f"""# {name}{", int8" * int8}

A detector of fake face images for other programs, written by `facetell export`. It takes a picture of one face, uint8
(N, {judge.size}, {judge.size}, 3) in RGB, and gives one logit, higher = more fake. `decision.json` makes a probability and
a decision of it, `preprocessing.json` says what a picture must be like.

    python example.py crop.png

{script}Both give what `facetell detect --faces crops` gives. {faces} It knows the kinds of fakes that it was fitted on, and what
`facetell detect` says of faces unlike these is not in here: see the detector's own card.
"""
