"""The new detector that ``adapt`` writes once it is accepted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from facetell.adaptation.buffer import with_new_faces
from facetell.adaptation.kept_vectors import validation_vectors, with_new_vectors
from facetell.adaptation.operating_points import OLD, Carried, held_scale
from facetell.adaptation.result import AdaptResult
from facetell.adaptation.task import SPLIT, AdaptTask, Model
from facetell.detector.bundle import hash_of_tensors, write_bundle
from facetell.detector.calibration import DEFAULT, Calibration, Scale, calibration_of
from facetell.detector.card import model_card
from facetell.detector.description import EMBEDDING, REPLAY
from facetell.detector.detector import Detector
from facetell.detector.known_faces import also_known, embedding_reference, groups_of
from facetell.detector.lineage import Lineage, history_of
from facetell.detector.measure import RULE, Sample
from facetell.detector.replay_buffer import learned_by_adapt, write_replay_buffer
from facetell.detector.replay_vectors import ReplayVectors
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.evaluation.metrics import summary
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet
from facetell.methods.parts import parts_of, some_crops
from facetell.settings import as_dict

__all__ = ["Calibrated", "calibrated", "write_adapted"]


@dataclass(frozen=True)
class Calibrated:
    """The scale of a new network, and what it was measured on: its logits of old faces, held-out ones of new faces."""

    scale: Scale
    old: Sample
    new: Sample


def calibrated(
    loaded: Detector, task: AdaptTask, found: Model, new: FaceSet, held_out: NDArray[np.float64]
) -> Calibrated | None:
    """Choose curve, operating points and unsure band of a new network; None without a replay buffer.

    Curve and rules are of old validation faces; ``held_out`` (N,) are logits of the new faces by models that have not seen
    their group, and move the points so that they hold there too.
    """
    if task.replay is None:
        return None
    faces, parent, size = task.replay.faces, calibration_of(loaded.description), task.model.settings.size
    if isinstance(faces, ReplayVectors):
        mine = validation_vectors(faces, size)
        groups, print_ = mine.groups.astype(str), loaded.description["replay"]["fingerprint"]
        old = Sample(mine.labels, task.predict(found, mine), groups, REPLAY, print_, "validation", sources=mine.sources)
        before = task.predict(task.model, mine)
    else:
        mine, unlearned = samples_of(faces, "validation", size), ~learned_by_adapt(faces, "validation")
        old = Sample.of(faces, "validation", task.predict(found, mine), unlearned)
        old = replace(old, faceset=REPLAY)  # its folder's name tells people nothing
        before = task.predict(task.model, mine)[unlearned]
    fresh = Sample.of(new, SPLIT, held_out.astype(np.float32))
    rules = {name: point.rule for name, point in parent.face.points.items()} if parent else {DEFAULT: RULE}
    known = parent.face if parent else None
    scale = held_scale(old.scale(rules), old, fresh, known, _carried(loaded, found, parent), before)
    return Calibrated(scale, old, fresh)


def _carried(loaded: Detector, found: Model, parent: Calibration | None) -> Carried:
    """What operating points need in domains of earlier adapts, where one more expert left the logits there as they were."""
    if parent is None or not (found.method == loaded.description["method"] == "experts"):
        return {}
    return {
        name: {domain: held for domain, held in point.domains.items() if domain != OLD}
        for name, point in parent.face.points.items()
    }


def write_adapted(
    out: Path,
    loaded: Detector,
    task: AdaptTask,
    found: Model,
    new: FaceSet,
    measured: Calibrated | None,
    result: AdaptResult,
) -> None:
    """Write the old description with what has changed, and the replay buffer with the new faces."""
    parent = loaded.description  # "weights" in it says which of them are not in their file, as in the box; here all are
    description = {key: value for key, value in parent.items() if key not in ("format", "version", "files", "weights")}
    description |= {
        "method": found.method,
        "settings": as_dict(found.settings),
        "input": {**parent["input"], "size": found.settings.size},
        "seed": task.seed,
        "calibration": None,  # that of the old weights means nothing for the new
    }
    metrics: dict[str, Any] = {"seed": task.seed, "new": result.checks["new"].as_dict(), "validation": {}}
    embedding = dict[str, NDArray[Any]]()
    if task.replay:
        runtime = TorchRuntime(found.network, found.settings.size, task.fabric.device)
        if isinstance(task.replay.faces, FaceSet):
            every = samples_of(task.replay.faces, "validation", found.settings.size)
            embedding = embedding_reference(runtime, every, task.seed)
        elif loaded.path and EMBEDDING in parent["files"]:  # of the same backbone, so what was kept still says it
            embedding = load_file(loaded.path / EMBEDDING)
        embedding = also_known(embedding, runtime, samples_of(new, SPLIT, found.settings.size), task.seed)
    parts = parts_of(found.network, found.settings.size, _crops(task, new, found), vectors=bool(embedding))
    description["parameters"] = parts.parameters
    metrics["parity"] = {"faces": parts.faces, "difference": parts.parity}
    if measured:
        scale, known = measured.scale, hash_of_tensors(embedding) if embedding else None
        calibration = Calibration(hash_of_tensors(parts.weights), known, scale, None)
        description["calibration"] = calibration.as_dict()
        metrics["known"] = groups_of(embedding)
        face = calibration.deciders()[0]
        metrics["validation"] = summary(measured.old.labels, face.scores(measured.old.logits), face.threshold)
    lineage = {**parent.get("lineage", {}), "history": [*history_of(parent), result.as_dict()]}
    description["lineage"] = lineage | ({"start": found.settings.pretrained} if found.method == "experts" else {})

    def fill(folder: Path) -> dict[str, Any]:
        if task.replay is None:
            return {}
        old = task.replay.faces
        if isinstance(old, ReplayVectors):
            return {"replay": with_new_vectors(old, new, task).write(folder)}
        parts, info = with_new_faces(old, new, task.seed), {"seed": task.seed, "crop": old.info.get("crop")}
        return {"replay": write_replay_buffer(folder, parts, info)}

    card = model_card(out.name, description, metrics)
    learned = _learned(loaded.lineage, task, new)
    if found.method == "experts" and task.second:
        learned = learned.joined(task.second.lineage)
    write_bundle(
        out,
        description,
        parts.weights,
        parts.selftest,
        metrics,
        card,
        {},
        embedding,
        parts.model,
        fill,
        lineage=learned,
    )


def _crops(task: AdaptTask, new: FaceSet, found: Model) -> NDArray[np.uint8]:
    """Old faces where there are pictures of them, else the new ones: torch and ONNX must say the same of them."""
    old = task.replay.faces if task.replay else None
    faces, split = (old, "validation") if isinstance(old, FaceSet) else (new, SPLIT)
    return some_crops(samples_of(faces, split, found.settings.size), task.seed)


def _learned(lineage: Lineage, task: AdaptTask, new: FaceSet) -> Lineage:
    """The lineage with the new faces, the old ones that were learned from again, and those it was calibrated on."""
    lineage = lineage.with_learned(new, np.asarray(new.rows(SPLIT)))
    if task.replay is None:
        return lineage
    faces = task.replay.faces
    if isinstance(faces, ReplayVectors):
        train, held = faces.rows("train"), faces.rows("validation")
        chosen = faces.pictures[held[faces.adapted[held] == 0]]
        return lineage.with_hashes(faces.pictures[train], faces.groups[train], chosen)
    calibrated_on = np.asarray(faces.rows("validation"))[~learned_by_adapt(faces, "validation")]
    return lineage.with_learned(faces, np.asarray(faces.rows("train"))).with_chosen(faces, calibrated_on)
