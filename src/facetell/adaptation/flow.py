"""The way of ``adapt``: gather faces, choose a strategy by cross-validation, check what it learned, write the detector."""

from __future__ import annotations

import datetime
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from facetell.adaptation.acceptance import (
    AcceptanceCheck,
    Score,
    gain_check,
    label_check,
    next_step,
    old_check,
    point_check,
    shortcut_checks,
)
from facetell.adaptation.buffer import divided
from facetell.adaptation.kept_vectors import divided_vectors
from facetell.adaptation.new_faces import LEAST, NewFaces, new_faces
from facetell.adaptation.operating_points import cross_fitted, logit_at, stated_rate
from facetell.adaptation.result import AdaptResult, AtThreshold, Tried
from facetell.adaptation.second_backbone import find_second_backbone
from facetell.adaptation.selection import FEW, FOLDS, Trial, allowed, cross_validate, held_out_models, untouched
from facetell.adaptation.strategies import STRATEGIES, get_strategy
from facetell.adaptation.task import SPLIT, AdaptOptions, AdaptTask, Model, ReplayBuffer, Strategy
from facetell.adaptation.writing import calibrated, write_adapted
from facetell.detector.bundle import steadily
from facetell.detector.calibration import DEFAULT, Scale
from facetell.detector.description import DESCRIPTION
from facetell.detector.detector import Detector
from facetell.detector.replay_buffer import open_replay_buffer
from facetell.detector.replay_vectors import ReplayVectors
from facetell.detector.runtimes.torch import torch_runtime
from facetell.errors import AcceptanceError, DataError, UsageError
from facetell.evaluation.choice_gain import gain_of_choice
from facetell.evaluation.metrics import auroc
from facetell.faceset.samples import Samples, samples_of
from facetell.faceset.table import FaceSet
from facetell.files import sha256_of
from facetell.labels import FAKE, LABELS, REAL
from facetell.methods import get_method
from facetell.networks.mixture import MixtureOfExperts
from facetell.progress import Progress, Step
from facetell.settings import resolve
from facetell.training.fabric import make_fabric

__all__ = ["adapt_detector", "model_of", "task_of"]

SCORED = 32
"""Faces that the check for shortcuts judges at a time."""


def adapt_detector(path: Path, out: Path, asked: AdaptOptions) -> AdaptResult:
    """Teach the detector at ``path`` a new kind of fake and write the new one to ``out``; see :func:`facetell.adapt`."""
    if out.exists():
        raise UsageError(f"{out} exists", hint="choose another name or remove it")
    strategies = [get_strategy(name) for name in (STRATEGIES if asked.strategy == "auto" else [asked.strategy])]
    if asked.strategy not in ("auto", "expert") and (asked.backbone or asked.pretrained or asked.size):
        raise UsageError(
            f"the strategy {asked.strategy} has no second backbone to choose",
            hint="--strategy expert, or leave out the options",
        )
    loaded, buffer = steadily(path, lambda: _loaded(path))
    new = new_faces(asked, buffer, loaded.description["input"]["crop"])
    _check_enough(samples_of(new.faces, SPLIT, loaded.size))
    with tempfile.TemporaryDirectory(prefix="facetell-") as folder:
        task = task_of(model_of(loaded), new, buffer, asked, Path(folder))
        if loaded.calibration:
            task = replace(task, unit=loaded.calibration.face.curve.temperature, point=_point(loaded.calibration.face))
        usable, unfit = _usable(strategies, task, asked.strategy)
        if task.second and "expert" not in unfit:
            task.second.read(task.new, task.fabric, asked.progress)
        trials = cross_validate(task, usable, asked.margin, asked.progress)
        choice = allowed(trials, asked.margin)
        best = max(choice, key=lambda trial: trial.auroc(task.new.labels))
        found = best.candidate.learn(task)
        checks = _checks(task, found, trials, asked.margin)
        measured = calibrated(loaded, task, found, new.faces, best.held_out[0])
        if measured:
            points = cross_fitted(measured.scale, measured.old, measured.new, asked.seed)
            checks |= {f"at {name}": point_check(name, at) for name, at in points.items()}
        checks |= _shortcuts(task, found, best, new.faces, asked.progress)
    trusted = {"labels"} if asked.trust_labels else set()
    result = AdaptResult(
        when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        facetell=metadata.version("facetell"),
        parent={"name": path.name, "identity": sha256_of(path / DESCRIPTION)[:16]},
        seed=asked.seed,
        new={"fingerprint": new.faces.fingerprint, "counts": new.faces.info["counts"], "shots": asked.shots},
        tried=tuple(_tried(trial, task, asked.margin) for trial in trials),
        unfit=unfit,
        chosen=best.candidate.name,
        why=_why(best, choice, task, asked.margin),
        before=auroc(task.new.labels, task.predict(task.model, task.new)),
        checks=checks,
        refused=tuple(check.says for name, check in checks.items() if not check.passed and name not in trusted),
        at_threshold=_at_threshold(checks),
        sentences=(*new.sentences, *_seen(loaded, new, task, best), *_sentences(path, task)),
    )
    if result.refused:
        raise AcceptanceError(
            "the adapted detector is not accepted, nothing is written: " + "; ".join(result.refused),
            result.as_dict(),
            hint=next_step(checks, result.refused),
        )
    write_adapted(out, loaded, task, found, new.faces, measured, result)
    return replace(result, path=out)


def _loaded(path: Path) -> tuple[Detector, FaceSet | ReplayVectors | None]:
    """A detector and its replay buffer."""
    loaded = Detector.load(path, "cpu", runtime="torch")
    return loaded, open_replay_buffer(path, loaded.description)


def _point(scale: Scale) -> tuple[float, float]:
    point = scale.points[DEFAULT]
    return logit_at(scale.curve, point), stated_rate(point)


def model_of(loaded: Detector) -> Model:
    """The model of a detector."""
    method = get_method(loaded.description["method"])
    return Model(
        method.name, resolve(method.settings, loaded.description["settings"]), torch_runtime(loaded, "cpu").network
    )


def task_of(
    model: Model, new: NewFaces, buffer: FaceSet | ReplayVectors | None, asked: AdaptOptions, folder: Path
) -> AdaptTask:
    """What the strategies are given; feature maps are kept in ``folder``."""
    fabric = make_fabric(device=asked.device)
    model.network.to(fabric.device)
    samples = samples_of(new.faces, SPLIT, model.settings.size)
    second = None
    if asked.strategy in ("auto", "expert"):
        second = find_second_backbone(model, asked.backbone, asked.pretrained, asked.size)
    replay: ReplayBuffer | None = None
    if isinstance(buffer, ReplayVectors):
        replay = divided_vectors(buffer, second, model.settings.size, new.faces, asked.seed, fabric)
    elif buffer:
        replay = divided(buffer, model, new, asked.seed, fabric)
    task = AdaptTask.of(model, samples, replay, asked.seed, fabric, folder)
    if second and replay:
        second.show(samples, new.faces, SPLIT)
        if isinstance(buffer, FaceSet):
            second.show(replay.learn, buffer, "train")
            second.show(replay.check, buffer, "validation")
    return replace(task, second=second)


def _check_enough(samples: Samples) -> None:
    """Raise DataError where there are too few faces or groups of a label to hold some out."""
    reals, fakes = (int((samples.labels == label).sum()) for label in (REAL, FAKE))
    if min(fakes, reals) < LEAST:
        raise DataError(
            f"{fakes} fake and {reals} real faces are too few to hold some out", hint=f"at least {LEAST} of each"
        )
    for label, name in enumerate(LABELS):
        groups = len(np.unique(samples.groups[samples.labels == label]))
        if groups < FOLDS:
            raise DataError(
                f"the {name} faces are of {groups} group{'s' * (groups > 1)}: some of at least {FOLDS} must be held out",
                hint="a sub-folder, and a video, is one group; give more of them, or pictures without sub-folders",
            )


def _usable(strategies: list[Strategy], task: AdaptTask, asked: str) -> tuple[list[Strategy], dict[str, str]]:
    """The strategies that can work on the task, and why the others cannot. Raises UsageError where none can."""
    obstacles = {strategy.name: strategy.obstacle(task) for strategy in strategies}
    unfit = {name: why for name, why in obstacles.items() if why}
    if len(unfit) == len(strategies):
        why = "; ".join(f"{name}: {why}" for name, why in unfit.items())
        raise UsageError(f"no strategy fits: {why}" if asked == "auto" else why, hint="--strategy auto tries all")
    return [strategy for strategy in strategies if strategy.name not in unfit], unfit


def _checks(task: AdaptTask, found: Model, trials: list[Trial], margin: float) -> dict[str, AcceptanceCheck]:
    """The acceptance checks of what the model says of new and old faces, by name."""
    labels, groups = task.new.labels, task.new.groups
    before = task.predict(task.model, task.new).astype(np.float64)
    held_out = np.stack([trial.held_out for trial in allowed(trials, margin)], axis=1)
    gain = gain_of_choice(labels, groups, before, held_out, task.seed, untouched=untouched(task, trials))
    checks = {"new": gain_check(labels, gain)}
    if task.replay:
        old = task.replay.check
        was, now = (task.predict(model, old).astype(np.float64) for model in (task.model, found))
        checks["old"] = old_check(old.labels, old.groups, was, now, margin, task.replay.check_seen)
    checks["labels"] = label_check(labels, groups, before)
    return checks


def _shortcuts(
    task: AdaptTask, found: Model, best: Trial, new: FaceSet, progress: Progress
) -> dict[str, AcceptanceCheck]:
    """The checks for shortcuts, by models that the same strategy makes without the faces that it is checked on."""

    def judges() -> Iterator[tuple[Score, NDArray[np.int64]]]:
        for done, (model, held) in enumerate(held_out_models(task, best)):
            progress(Step("checking shortcuts", done, FOLDS, "fits", best.candidate.name))
            yield _scorer(model.network, task), held
        progress(Step("checking shortcuts", FOLDS, FOLDS, "fits", best.candidate.name))

    return shortcut_checks(new, found.settings.size, judges(), task.seed)


def _scorer(network: nn.Module, task: AdaptTask) -> Score:
    network = network.to(task.fabric.device).eval()
    quick = task.second.reader if task.second and isinstance(network, MixtureOfExperts) else None

    @torch.no_grad()
    def score(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(task.fabric.device).float().div_(255)
        with task.fabric.autocast():
            if quick and isinstance(network, MixtureOfExperts):
                parts = [
                    network.mix(network.old_logits(part, seen), seen)
                    for part, seen in ((part, quick(part)) for part in torch.split(images, SCORED))
                ]
            else:
                parts = [network(part).float() for part in torch.split(images, SCORED)]
        logits: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
        return logits

    return score


def _at_threshold(checks: dict[str, AcceptanceCheck]) -> AtThreshold | None:
    if f"at {DEFAULT}" not in checks:
        return None
    found = checks[f"at {DEFAULT}"].numbers
    return AtThreshold(found["recall"], found["fpr"], int(found["n_real"]), int(found["n_fake"]))


def _tried(trial: Trial, task: AdaptTask, margin: float) -> Tried:
    fall = trial.fall if task.replay else None
    area = trial.auroc(task.new.labels)
    return Tried(trial.candidate.name, area, fall, trial.fall <= margin / 2, trial.finished)


def _why(best: Trial, choice: list[Trial], task: AdaptTask, margin: float) -> str:
    if best.fall > margin / 2:
        return f"the least fall on old faces ({best.fall:.3f}); nothing kept it within {margin / 2:g}"
    area = f"AUROC on held-out new faces ({best.auroc(task.new.labels):.3f})"
    within = f"the fall on old faces within {margin / 2:g}"
    if len(choice) == 1 and task.replay:
        return f"the only candidate that keeps {within}; {area}"
    kept = f"{len(choice)} candidates that keep {within}" if task.replay else "all"
    return f"the highest {area} of {kept}"


def _seen(loaded: Detector, new: NewFaces, task: AdaptTask, best: Trial) -> list[str]:
    """Say so where the detector has learned from new faces before, or the second backbone that its expert reads."""
    asked = [(loaded.lineage, "the detector", "before are too good, and the gain is too small")]
    if task.second and best.candidate.strategy.name == "expert":
        asked.append((task.second.lineage, "the second backbone", "after are too good, and so is the gain"))
    said = []
    for lineage, who, what in asked:
        learned = 0 if new.lent else int(lineage.seen(new.faces, SPLIT).learned.sum())
        if learned:
            said.append(
                f"{who} has learned from {learned} of the {len(new.faces)} new faces before, or from others of their groups: "
                f"the numbers {what}"
            )
    return said


def _sentences(path: Path, task: AdaptTask) -> list[str]:
    of_fakes, said = task.new.groups[task.new.labels == FAKE], list[str]()
    fakes, groups = len(of_fakes), len(np.unique(of_fakes))
    if task.replay is None:
        said.append(
            "the detector keeps no replay buffer of what it was fitted on, so nothing is promised about how it does there "
            f"afterwards; give it one first: facetell remember {shlex.quote(str(path))} FACESET"
        )
    if groups < FEW:
        count = f"{fakes} fakes" if groups == fakes else f"{fakes} fakes of {groups} groups"
        said.append(
            f"with {count} no number is sure: read the intervals, not the values; what is learned is a first "
            "guard until more are found"
        )
    return said
