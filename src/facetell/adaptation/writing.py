"""The new detector that ``adapt`` writes once the gate is passed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facetell.adaptation.new_faces import SPLIT
from facetell.adaptation.task import Known
from facetell.detector.bundle import hash_of_tensors, write_bundle
from facetell.detector.calibration import calibration_of
from facetell.detector.card import model_card
from facetell.detector.detector import Detector
from facetell.detector.known_faces import embedding_reference
from facetell.detector.lineage import history_of
from facetell.detector.measure import Sample, measure_calibration
from facetell.detector.replay_buffer import FOLDER, TAUGHT, described, taught
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.evaluation.choice_gain import deal
from facetell.evaluation.metrics import confusion, summary
from facetell.faceset.join import Part, join
from facetell.faceset.samples import group_codes, samples_of
from facetell.faceset.table import FaceSet
from facetell.methods.building import arrays_of
from facetell.settings import as_dict
from facetell.training.loop import predict

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["write_adapted"]


def write_adapted(
    out: Path,
    loaded: Detector,
    found: Known,
    record: dict[str, Any],
    new: FaceSet,
    memory: FaceSet | None,
    fabric: Fabric,
    seed: int,
) -> None:
    """The new detector: the old description with what has changed, the memory with the new faces."""
    parent = loaded.description
    description = {key: value for key, value in parent.items() if key not in ("format", "version", "files")}
    held_out = np.asarray(record.pop("held_out"))
    labels = new.labels(SPLIT)
    second = {"start": found.settings.pretrained} if found.method == "beside" else {}
    description |= {
        "method": found.method,
        "settings": as_dict(found.settings),
        "input": {**parent["input"], "size": found.settings.size},
        "seed": seed,
        "calibration": None,  # that of the old weights means nothing for the new
        "lineage": {**parent.get("lineage", {}), "history": [*history_of(parent), record]} | second,
    }
    metrics: dict[str, Any] = {"seed": seed, "new": record["gate"]["new"]}
    embedding = None
    if memory:
        every = samples_of(memory, "validation", found.settings.size)
        embedding = embedding_reference(TorchRuntime(found.network, every.images.size, fabric.device), every, seed)
        logits = predict(found.network, every, fabric)
        validation = Sample.of(memory, "validation", logits, ~taught(memory, "validation"))
        known = calibration_of(parent)
        calibration = measure_calibration(
            hash_of_tensors(arrays_of(found.network)),
            validation,
            rules={name: point.rule for name, point in known.face.points.items()} if known else None,
            embedding=hash_of_tensors(embedding) if embedding else None,
        )
        description["calibration"] = calibration.as_dict()
        face = calibration.deciders()[0]
        metrics["validation"] = summary(validation.labels, face.scores(validation.logits), face.threshold)
    else:
        metrics["validation"] = {}
    fresh = Detector(TorchRuntime(found.network.cpu(), found.settings.size), description)
    if fresh.calibration:
        rates = confusion(labels, fresh.scores(held_out.astype(np.float32)), fresh.decider.threshold)
        fakes = int(labels.sum())
        record["at_threshold"] = {
            "recall": rates.recall, "fpr": rates.fpr, "n": len(labels), "n_real": len(labels) - fakes, "n_fake": fakes,
        }  # fmt: skip

    with contextlib.ExitStack() as stack:
        fill: Callable[[Path], None] | None = None
        if memory:
            out.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)))
            description["memory"] = described(_remembered(memory, new, scratch / FOLDER, seed))

            def fill(folder: Path) -> None:
                (scratch / FOLDER).rename(folder / FOLDER)

        lineage = loaded.lineage.with_learned(new, np.asarray(new.rows(SPLIT)))
        if memory:
            lineage = lineage.with_learned(memory, np.asarray(memory.rows("train")))
            lineage = lineage.with_chosen(memory, np.asarray(memory.rows("validation"))[~taught(memory, "validation")])
        card = model_card(out.name, description, metrics)
        write_bundle(
            out,
            description,
            arrays_of(found.network),
            fresh.selftest(),
            metrics,
            card,
            {},
            embedding,
            fill,
            lineage=lineage,
        )


def _remembered(old: FaceSet, new: FaceSet, out: Path, seed: int) -> FaceSet:
    """The old memory and the new faces, two thirds of whose groups are to learn from again."""
    labels, groups = new.labels(SPLIT), group_codes(new, SPLIT)
    held = deal(labels, groups, 3, seed) == 0
    rows = np.arange(len(labels)) + new.rows(SPLIT).start
    parts = [Part(old, np.asarray(old.rows(name)), name) for name in old.splits]
    parts += [Part(new, rows[~held], "train", TAUGHT), Part(new, rows[held], "validation", TAUGHT)]
    return join(out, parts, {"seed": seed, "crop": old.info.get("crop")})
