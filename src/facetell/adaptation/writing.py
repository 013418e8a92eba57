"""The new detector that ``adapt`` writes once the gate is passed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facetell.adaptation.new_faces import SPLIT
from facetell.adaptation.task import Known
from facetell.detector.bundle import write_bundle
from facetell.detector.card import model_card
from facetell.detector.detector import Detector
from facetell.detector.known_faces import embedding_reference
from facetell.detector.lineage import history_of
from facetell.detector.measured import counted, operating_point, sketched
from facetell.detector.replay_buffer import FOLDER, TAUGHT, described, taught
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.evaluation.choice_gain import deal
from facetell.evaluation.metrics import confusion, summary
from facetell.evaluation.score_curves import calibrated, fit_temperature
from facetell.faceset.join import Part, join
from facetell.faceset.samples import group_codes, samples_of
from facetell.faceset.table import FaceSet
from facetell.methods.building import arrays_of
from facetell.settings import as_dict
from facetell.training.loop import Samples, predict

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
    if memory:  # what was chosen on other logits
        description = {key: value for key, value in description.items() if key not in ("unsure", "per_file")}
    held_out = np.asarray(record.pop("held_out"))
    labels = new.labels(SPLIT)
    second = {"start": found.settings.pretrained} if found.method == "beside" else {}
    description |= {
        "method": found.method,
        "settings": as_dict(found.settings),
        "input": {**parent["input"], "size": found.settings.size},
        "seed": seed,
        "lineage": {**parent.get("lineage", {}), "history": [*history_of(parent), record]} | second,
    }
    metrics: dict[str, Any] = {"seed": seed, "new": record["gate"]["new"]}
    embedding = None
    if memory:
        every = samples_of(memory, "validation", found.settings.size)
        embedding = embedding_reference(TorchRuntime(found.network, every.images.size, fabric.device), every, seed)
        validation = every.subset(~taught(memory, "validation"))
        logits = predict(found.network, validation, fabric)
        description |= _decisions(parent, memory, validation, logits)
        metrics["validation"] = summary(
            validation.labels,
            calibrated(logits, description["temperature"]),
            description["thresholds"]["default"]["value"],
        )
    else:
        metrics["validation"] = {}
    fresh = Detector(TorchRuntime(found.network.cpu(), found.settings.size), description)
    scores = fresh.scores(held_out.astype(np.float32))
    rates = confusion(labels, scores, fresh.calibration.threshold)
    record["at_threshold"] = {"recall": rates.recall, "fpr": rates.fpr, **counted(labels)}

    with contextlib.ExitStack() as stack:
        fill: Callable[[Path], None] | None = None
        if memory:
            out.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)))
            description["memory"] = described(_remembered(memory, new, scratch / FOLDER, seed))

            def fill(folder: Path) -> None:
                (scratch / FOLDER).rename(folder / FOLDER)

        card = model_card(out.name, description, metrics)
        write_bundle(out, description, arrays_of(found.network), fresh.selftest(), metrics, card, {}, embedding, fill)


def _decisions(
    parent: dict[str, Any], memory: FaceSet, validation: Samples, logits: NDArray[np.float32]
) -> dict[str, Any]:
    """Temperature, operating points and reference, all from old validation faces, never learned from, by the old rules."""
    where = {"split": "validation", "faceset": "memory", "fingerprint": memory.fingerprint}
    temperature = fit_temperature(logits, validation.labels)
    scores = calibrated(logits, temperature)
    points = {
        name: operating_point(validation.labels, scores, validation.groups, point["rule"], where)
        for name, point in parent["thresholds"].items()
    }
    return {
        "temperature": temperature,
        "calibration": {"method": "temperature", **where, **counted(validation.labels)},
        "thresholds": points,
        "reference": {**where, **sketched(validation.labels, logits, validation.groups)},
    }


def _remembered(old: FaceSet, new: FaceSet, out: Path, seed: int) -> FaceSet:
    """The old memory and the new faces, two thirds of whose groups are to learn from again."""
    labels, groups = new.labels(SPLIT), group_codes(new, SPLIT)
    held = deal(labels, groups, 3, seed) == 0
    rows = np.arange(len(labels)) + new.rows(SPLIT).start
    parts = [Part(old, np.asarray(old.rows(name)), name) for name in old.splits]
    parts += [Part(new, rows[~held], "train", TAUGHT), Part(new, rows[held], "validation", TAUGHT)]
    return join(out, parts, {"seed": seed, "crop": old.info.get("crop")})
