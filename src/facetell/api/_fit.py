"""``fit``: from a face set to a detector on disk."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from facetell.api._audit import training_shortcuts
from facetell.detector.bundle import hash_of_tensors, is_bundle, located, read_description, read_lineage, write_bundle
from facetell.detector.calibration import DEFAULT
from facetell.detector.card import model_card
from facetell.detector.detector import Detector
from facetell.detector.known_faces import embedding_reference, groups_of, read_embedding
from facetell.detector.lineage import Lineage
from facetell.detector.measure import RULE, Sample, measure_calibration
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.detector.shortcut_warnings import shortcut_warnings
from facetell.errors import MissingExtraError, SettingsError, UsageError, near_miss
from facetell.evaluation.metrics import summary
from facetell.evaluation.thresholds import check_rule, too_few_warning
from facetell.faceset.samples import Samples, check_split, samples_of
from facetell.faceset.table import FaceSet, FaceSetLike
from facetell.files import alone
from facetell.ingest.several import listed, open_several
from facetell.methods import get_method
from facetell.methods.method import Method, Start, Task
from facetell.methods.parts import check_backbone, parts_of, some_crops
from facetell.methods.pretrained import read_start, without_path
from facetell.networks.seeding import seeded
from facetell.networks.tensors import add_tensors
from facetell.progress import ShowProgress, callback
from facetell.reporting.embedding_plot import draw_embedding
from facetell.settings import as_dict, check_counts, read_toml, resolve
from facetell.training.fabric import device_of, make_fabric
from facetell.training.loop import predict
from facetell.training.run import CHECKPOINT, TABLE
from facetell.training.siamese_phases import POINTS
from facetell.training.tensorboard import log_to

__all__ = ["fit"]

log = logging.getLogger("facetell")

TABLES = (TABLE, POINTS)
"""What a method may leave in its folder that goes into the detector."""


@alone("out")
def fit(
    method: str,
    faceset: FaceSetLike | Sequence[FaceSetLike],
    out: str | Path,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
    split: str = "train",
    shots: int | None = None,
    threshold: str = RULE,
    seed: int = 0,
    resume: bool = False,
    tensorboard: str | Path | None = None,
    device: str = "auto",
    progress: ShowProgress = None,
) -> Detector:
    """Fit a detector on a split of a face set and write it to ``out``.

    ``method``: a name from ``list_methods()``. ``faceset``: a face set, or a picture folder or index, or several
    of them: they are joined (`facetell.join`), and trained on with ``balance=sources``. Settings come from
    ``preset``, then the TOML file ``config``, then ``settings``. ``shots``: that many images per class, drawn by
    ``seed``, instead of the whole split. The epoch that is kept, the temperature and the threshold (by the rule
    ``threshold``) are chosen on the split *validation*. While it runs, checkpoints lie in ``OUT.partial``; after an
    interruption the same call with ``resume=True`` goes on from the last whole epoch. ``tensorboard``: a folder to log
    every epoch to as well. ``device``: ``auto``, ``cpu`` or ``cuda``.

    Raises ``UsageError``, ``DataError`` or ``BundleError``; nothing is left at ``out`` then.
    """
    check_counts(shots=shots)
    out = Path(out)
    folder = out.with_name(out.name + ".partial")
    if out.exists():
        if is_bundle(out):
            shutil.rmtree(folder, ignore_errors=True)  # a kill may have come between the detector and this
        raise UsageError(f"{out} exists", hint="choose another name or remove it")
    if (folder / CHECKPOINT).exists() and not resume:
        raise UsageError(f"{folder} holds an interrupted fit", hint="continue it with --resume, or remove the folder")
    chosen = get_method(method)
    if chosen.fit is None:
        raise UsageError(f"{method} is made by `facetell adapt`, not fitted", hint="see `facetell methods`")
    balanced = chosen.for_several if len(listed(faceset)) > 1 else {}
    user = {**balanced, **_preset(chosen, preset), **(read_toml(Path(config)) if config else {}), **(settings or {})}
    resolved: Any = resolve(chosen.settings, user)
    start, origin, inherited = read_start(resolved.pretrained)
    for key, value in inherited.items():
        if key in user and getattr(resolved, key) != value:
            raise UsageError(f"{resolved.pretrained} has {key} {value}, not {user[key]}", hint=f"leave out {key}")
    resolved = resolve(chosen.settings, user, inherited)

    check_rule(threshold)
    device_of(device)
    check_backbone(resolved.backbone, resolved.size)
    tell = callback(progress)
    faces = open_several(faceset, progress=tell)
    check_split(faces, split, "fit on")
    check_split(faces, "validation", "choose epoch and threshold on")
    if split in ("test", "validation"):
        raise UsageError(
            f"fitting on the split '{split}' would make its numbers worthless", hint="use train or finetune"
        )
    training = samples_of(faces, split, resolved.size, tell, shots, seed)
    validation = samples_of(faces, "validation", resolved.size, tell)
    shortcuts = training_shortcuts(faces, training.rows + faces.rows(split).start, seed)
    for line in shortcut_warnings(shortcuts):
        log.warning("warning: %s", line)
    if tensorboard is not None:
        tell = log_to(tensorboard, tell)
    with _partial(folder), seeded(seed):
        task = Task(
            training, validation, seed, folder, resume, tell, device, _identity(faces, split, training, start), start
        )
        network = chosen.fit(resolved, task)
    fabric = make_fabric(resolved.precision, device)
    network.to(fabric.device)
    logits = (
        chosen.predict(network, validation, fabric, tell) if chosen.predict else predict(network, validation, fabric)
    )
    embedding = embedding_reference(TorchRuntime(network, resolved.size, fabric.device), validation, seed)
    measured_on = Sample.of(faces, "validation", logits)
    parts = parts_of(network, resolved.size, some_crops(validation, seed), vectors=bool(embedding))
    weights = hash_of_tensors(parts.weights)
    began = located(resolved.pretrained)
    lineage = read_lineage(began) if is_bundle(began) else Lineage.new(weights)
    lineage = lineage.with_learned(faces, training.rows + faces.rows(split).start)
    lineage = lineage.with_chosen(faces, np.asarray(faces.rows("validation")))
    calibration = measure_calibration(
        weights,
        measured_on,
        Sample.of_videos(faces, "validation", logits),
        rules={DEFAULT: threshold},
        embedding=hash_of_tensors(embedding) if embedding else None,
    )
    point = calibration.face.points[DEFAULT]
    warning = too_few_warning(threshold, point.rates)
    if warning:
        log.warning("%s", warning)
    description: dict[str, Any] = {
        "runtime": "onnx",
        "method": method,
        "settings": {**as_dict(resolved), "pretrained": without_path(resolved.pretrained)},
        "parameters": parts.parameters,
        "input": {"size": resolved.size, "channels": "RGB", "range": [0, 1], "crop": faces.info.get("crop")},
        "labels": {"real": 0, "fake": 1},
        "calibration": calibration.as_dict(),
        "data": {
            "name": faces.path.name,
            "fingerprint": faces.fingerprint,
            "split": split,
            "shots": shots,
            "images": len(training),
            "sources": sorted(set(faces.columns(["source"], split)["source"].to_pylist())),
            "shortcuts": shortcuts,
            "made": faces.info.get("made"),
        },
        "lineage": {"start": origin},
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("facetell", "torch", "torchvision", "timm", "numpy")},
        },
    }
    detector = Detector(TorchRuntime(network, resolved.size, method=chosen), description, lineage=lineage)
    metrics = {
        "validation": summary(measured_on.labels, detector.scores(logits), point.value),
        "known": groups_of(embedding),
        "parity": {"faces": parts.faces, "difference": parts.parity},
        "seed": seed,
    }

    def draw(inside: Path) -> dict[str, Any]:
        if (inside / POINTS).exists():
            with contextlib.suppress(MissingExtraError):
                draw_embedding(inside / POINTS, inside / "embedding.png")
        return {}

    if fabric.is_global_zero:
        write_bundle(
            out,
            description,
            parts.weights,
            parts.selftest,
            metrics,
            model_card(out.name, description, metrics),
            {name: (folder / name).read_text(encoding="utf-8") for name in TABLES if (folder / name).exists()},
            embedding,
            parts.model,
            draw,
            lineage=lineage,
        )
        known = read_embedding(out, read_description(out)) if embedding else None
        detector = Detector(detector.runtime, detector.description, known=known, lineage=lineage, path=out)
        shutil.rmtree(folder)
    fabric.barrier()
    return detector


def _identity(faces: FaceSet, split: str, training: Samples, start: Start | None) -> str:
    """What a run learns from and begins with, as a hash: a checkpoint goes on with the same alone."""
    key = hashlib.sha256(f"{faces.fingerprint} {split}".encode() + training.rows.tobytes())
    if start:
        add_tensors(key, start.tensors)
    return key.hexdigest()


def _preset(method: Method, name: str | None) -> Mapping[str, object]:
    if name is None:
        return {}
    if name not in method.presets:
        raise SettingsError(
            f"{method.name} has no preset '{name}'{near_miss(name, method.presets)}",
            hint=f"presets: {', '.join(method.presets)}",
        )
    return method.presets[name]


@contextlib.contextmanager
def _partial(folder: Path) -> Iterator[None]:
    """The folder of checkpoints; it goes where a fit fails before there is one to go on from."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
    try:
        yield
    except BaseException:
        if not (folder / CHECKPOINT).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise
