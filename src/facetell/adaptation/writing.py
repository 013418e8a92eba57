"""The new detector that ``adapt`` writes once it is accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.adaptation.buffer import with_new_faces
from facetell.adaptation.result import AdaptResult, AtThreshold
from facetell.adaptation.task import SPLIT, AdaptTask, Model
from facetell.detector.bundle import REPLAY, hash_of_tensors, write_bundle
from facetell.detector.calibration import calibration_of
from facetell.detector.card import model_card
from facetell.detector.detector import Detector
from facetell.detector.known_faces import embedding_reference, groups_of
from facetell.detector.lineage import Lineage, history_of
from facetell.detector.measure import Sample, measure_calibration
from facetell.detector.replay_buffer import learned_by_adapt, write_replay_buffer
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.evaluation.metrics import confusion, summary
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet
from facetell.methods.building import arrays_of
from facetell.settings import as_dict

__all__ = ["write_adapted"]


def write_adapted(
    out: Path,
    loaded: Detector,
    task: AdaptTask,
    found: Model,
    new: FaceSet,
    held_out: NDArray[np.float32],
    result: AdaptResult,
) -> AdaptResult:
    """Write the old description with what has changed, and the replay buffer with the new faces.

    ``held_out`` (N,) are logits of the new faces. Returns ``result`` with how the detector does on these at its threshold.
    """
    parent = loaded.description
    description = {key: value for key, value in parent.items() if key not in ("format", "version", "files")}
    description |= {
        "method": found.method,
        "settings": as_dict(found.settings),
        "input": {**parent["input"], "size": found.settings.size},
        "seed": task.seed,
        "calibration": None,  # that of the old weights means nothing for the new
    }
    metrics: dict[str, Any] = {"seed": task.seed, "new": result.checks["new"].as_dict(), "validation": {}}
    embedding = None
    if task.replay:
        faces = task.replay.faces
        every = samples_of(faces, "validation", found.settings.size)
        runtime = TorchRuntime(found.network, every.images.size, task.fabric.device)
        embedding = embedding_reference(runtime, every, task.seed)
        logits = task.predict(found, every)
        validation = Sample.of(faces, "validation", logits, ~learned_by_adapt(faces, "validation"))
        validation = replace(validation, faceset=REPLAY)  # its folder's name tells people nothing
        old = calibration_of(parent)
        calibration = measure_calibration(
            hash_of_tensors(arrays_of(found.network)),
            validation,
            rules={name: point.rule for name, point in old.face.points.items()} if old else None,
            embedding=hash_of_tensors(embedding) if embedding else None,
        )
        description["calibration"] = calibration.as_dict()
        metrics["known"] = groups_of(embedding)
        face = calibration.deciders()[0]
        metrics["validation"] = summary(validation.labels, face.scores(validation.logits), face.threshold)
    fresh = Detector(TorchRuntime(found.network.cpu(), found.settings.size), description)
    if fresh.calibration:
        labels = new.labels(SPLIT)
        rates, fakes = confusion(labels, fresh.scores(held_out), fresh.decider.threshold), int(labels.sum())
        result = replace(result, at_threshold=AtThreshold(rates.recall, rates.fpr, len(labels) - fakes, fakes))
    lineage = {**parent.get("lineage", {}), "history": [*history_of(parent), result.as_dict()]}
    description["lineage"] = lineage | ({"start": found.settings.pretrained} if found.method == "experts" else {})

    def fill(folder: Path) -> dict[str, Any]:
        if task.replay is None:
            return {}
        old = task.replay.faces
        parts, info = with_new_faces(old, new, task.seed), {"seed": task.seed, "crop": old.info.get("crop")}
        return {"replay": write_replay_buffer(folder, parts, info)}

    card, selftest, weights = model_card(out.name, description, metrics), fresh.selftest(), arrays_of(found.network)
    learned = _learned(loaded.lineage, task, new)
    if found.method == "experts" and task.second:
        learned = learned.joined(task.second.lineage)
    write_bundle(out, description, weights, selftest, metrics, card, {}, embedding, fill, lineage=learned)
    return result


def _learned(lineage: Lineage, task: AdaptTask, new: FaceSet) -> Lineage:
    """The lineage with the new faces, the old ones that were learned from again, and those it was calibrated on."""
    lineage = lineage.with_learned(new, np.asarray(new.rows(SPLIT)))
    if task.replay is None:
        return lineage
    faces = task.replay.faces
    calibrated_on = np.asarray(faces.rows("validation"))[~learned_by_adapt(faces, "validation")]
    return lineage.with_learned(faces, np.asarray(faces.rows("train"))).with_chosen(faces, calibrated_on)
