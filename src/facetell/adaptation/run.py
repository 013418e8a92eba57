"""``adapt``: teach a detector a new kind of fake from a few examples, without losing what it knew."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import nn

from facetell.adaptation.acceptance import gain_gate, label_gate, old_gate, shortcut_gate
from facetell.adaptation.cross_validation import Trial, cross_validate, mixed
from facetell.adaptation.new_faces import REALS, SPLIT, new_faces, of_label, with_made_fakes
from facetell.adaptation.replay import RANGES, Lesson, Memory
from facetell.adaptation.second_backbone import Second
from facetell.adaptation.strategies import STRATEGIES, get_strategy
from facetell.adaptation.task import Known, Strategy
from facetell.adaptation.writing import write_adapted
from facetell.detector.bundle import DESCRIPTION
from facetell.detector.detector import Detector
from facetell.detector.replay_buffer import memory_of, taught
from facetell.detector.runtimes.torch import torch_runtime
from facetell.errors import AcceptanceError, DataError, LeakError, UsageError
from facetell.evaluation.choice_gain import deal, gain_of_choice
from facetell.evaluation.metrics import auroc
from facetell.faceset.decoded import decoded
from facetell.faceset.join import Part
from facetell.faceset.samples import Samples, samples_of
from facetell.faceset.table import FaceSet
from facetell.files import sha256_of
from facetell.methods.pretrained import General, second_backbone
from facetell.progress import Progress, ShowProgress, callback
from facetell.settings import resolve
from facetell.training.fabric import make_fabric
from facetell.training.feature_maps import FeatureMaps, Views
from facetell.training.loop import predict

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["MARGIN", "adapt"]

MARGIN = 0.01
DRAWS = 2
"""Of the augmentation for the maps of the old backbone: so few steps see each face once or twice."""
FEW = 20
"""Fakes below which cross-validation is repeated, and the result is put in plain words."""
FOLDS, REPEATS = 3, 5
LEAST = 6
"""Fakes, and reals, below which nothing can be held out."""


@dataclass(frozen=True)
class _Old:
    """The memory in three parts: to learn from, to choose with, to pass the gate on; and the old logits of each."""

    faces: FaceSet
    learn: Memory
    choose: Samples
    gate: Samples
    taught: int
    """Of the gate's, those that an earlier `adapt` learned from."""


def adapt(
    detector: str | Path,
    out: str | Path,
    *,
    fake: str | Path | None = None,
    real: str | Path | None = None,
    shots: int | None = None,
    strategy: str = "auto",
    backbone: str | None = None,
    weights: str | None = None,
    size: int | None = None,
    margin: float = MARGIN,
    trust_labels: bool = False,
    seed: int = 0,
    progress: ShowProgress = None,
) -> dict[str, Any]:
    """Learn a new kind of fake and write the new detector to ``out``, if it passes the gate.

    ``fake``, ``real``: a folder in which every picture, photo or video has that label, or a face set. Without reals the
    memory's stand in; without fakes they are blended from the reals (``blend``). ``shots``: at most that many fakes,
    drawn by ``seed``; of the reals at most 1,000 are used. ``strategy``: a name of ``STRATEGIES`` or ``auto``, which tries
    all that fit by cross-validation on the few images. ``backbone``, ``weights``, ``size``: the second backbone of the
    strategy ``beside``, its general weights, and the side of its images (default: the detector's own backbone, what that
    started from, and its size). ``margin``: how far the AUROC on old faces may fall, which only a detector with a
    memory can tell (``facetell remember``). ``trust_labels``: do not refuse labels that the old detector ranks the wrong
    way round.

    Returns what the new detector's history says of this: ``tried``, ``chosen``, ``gate`` and ``sentences``.

    Raises AcceptanceError when the gate is not passed: nothing is written, and its ``record`` is that dict. Otherwise UsageError,
    DataError, LeakError (a picture with both labels) and BundleError.
    """
    path, out = Path(detector), Path(out)
    if out.exists():
        raise UsageError(f"{out} exists", hint="choose another name or remove it")
    chosen = list(STRATEGIES) if strategy == "auto" else [strategy]
    strategies = [get_strategy(name) for name in chosen]
    if "beside" not in chosen and (backbone or weights or size):
        raise UsageError(
            f"the strategy {strategy} has no second backbone to choose",
            hint="--strategy beside, or leave out the options",
        )
    tell = callback(progress)
    loaded = Detector.load(path, "cpu")
    description = loaded.description
    memory = memory_of(path, description)
    said: list[str] = []
    new, lent = _new(fake, real, memory, shots, seed, tell, said)
    known = _known(loaded)
    fabric = make_fabric("auto")
    known.network.to(fabric.device)
    samples = samples_of(new, SPLIT, known.settings.size)
    old = _old(memory, known, new, lent, fabric, seed) if memory else None
    if old is None:
        said.append(
            "the detector keeps no memory of what it was fitted on, so nothing is promised about how it does there "
            f"afterwards; give it one first: facetell remember {path} FACESET"
        )
    fakes, reals = int(samples.labels.sum()), int((samples.labels == 0).sum())
    if min(fakes, reals) < LEAST:
        raise DataError(
            f"{fakes} fake and {reals} real faces are too few to hold some out", hint=f"at least {LEAST} of each"
        )
    for label, name in enumerate(("real", "fake")):
        persons = len(np.unique(samples.groups[samples.labels == label]))
        if persons < FOLDS:
            raise DataError(
                f"the {name} faces are of {persons} group{'s' * (persons > 1)}: some of at least {FOLDS} must be held out",
                hint="a sub-folder, and a video, is one group; give more of them, or pictures without sub-folders",
            )
    repeats = REPEATS if fakes < FEW else 1
    if fakes < FEW:
        said.append(
            f"with {fakes} fakes no number is sure: read the intervals, not the values; what is learned is a first guard "
            "until more are found"
        )
    with tempfile.TemporaryDirectory(prefix="facetell-") as folder:
        general = second_backbone(loaded, backbone, weights, size) if "beside" in chosen else None
        second = _second(general, known, new, samples, memory, old, fabric) if general and memory and old else None
        lesson = _lesson(known, samples, old, second, seed, fabric, Path(folder))
        usable, unfit = _usable(strategies, known, lesson, strategy)
        if second and "beside" not in unfit:
            second.look(tell)
        trials = cross_validate(
            known,
            lesson,
            usable,
            old.choose if old else None,
            folds=FOLDS,
            repeats=repeats,
            margin=margin,
            progress=tell,
        )
        allowed = _allowed(trials, margin)
        best = max(allowed, key=lambda trial: trial.auroc(samples.labels))
        found = mixed(known, best.candidate.strategy.learn(known, lesson), best.candidate.share)
    record = _judged(known, found, new, samples, old, second, trials, allowed, best, margin, trust_labels, seed, fabric)
    record = {
        "what": "adapt",
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "facetell": metadata.version("facetell"),
        "from": {"name": path.name, "identity": sha256_of(path / DESCRIPTION)[:16]},
        "seed": seed,
        "new": {"fingerprint": new.fingerprint, "counts": new.info["counts"], "shots": shots},
        "unfit": unfit,
        "sentences": said,
        **record,
    }
    if record["refused"]:
        raise AcceptanceError(
            "the gate is not passed, nothing is written: " + "; ".join(record["refused"]),
            record,
            hint="look at the pictures and their labels, add more of them, or see what else may be learned: --strategy",
        )
    write_adapted(out, loaded, found, record, new, memory, fabric, seed)
    return record


def _new(
    fake: str | Path | None,
    real: str | Path | None,
    memory: FaceSet | None,
    shots: int | None,
    seed: int,
    progress: Progress,
    said: list[str],
) -> tuple[FaceSet, set[str]]:
    """The new faces of both labels: what is missing comes from the memory, or is made. And the groups the memory lends."""
    if real is None and memory is None:
        raise UsageError(
            "there are no reals to tell fakes from, and the detector keeps no memory",
            hint="give a folder of real faces from where the fakes were found: --real FOLDER",
        )
    parts, lent = {}, set[str]()
    if fake is not None:
        parts[1] = of_label(Path(fake), 1, progress)
    if real is not None:
        parts[0] = of_label(Path(real), 0, progress)
    elif memory is not None:
        rows = np.flatnonzero(memory.labels("train") == 0) + memory.rows("train").start
        most = min(max(len(parts[1].rows) if parts else REALS, LEAST), len(rows) // 2)  # the rest is learned from
        drawn = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
        parts[0] = Part(memory, drawn, SPLIT)
        lent = set(memory.columns(["group"])["group"].take(pa.array(drawn)).to_pylist())
        if fake is not None:
            said.append(
                f"no reals were given, so {len(drawn)} of the memory stand in: they come from another place than the "
                "fakes, and the place may be what is learned; give some from where the fakes were found: --real FOLDER"
            )
    if fake is None:
        parts = with_made_fakes(parts[0], shots, seed)
        said.append(
            "no fakes were given, so they are blended from the reals: the numbers on new faces say how well such blends "
            "are found, not fakes as they are met"
        )
    new = new_faces(parts, shots, seed)
    if memory:
        _refuse_contradiction(new, memory)
    return new, lent


def _refuse_contradiction(new: FaceSet, memory: FaceSet) -> None:
    kept = memory.columns(["sha256", "label"])
    labels = dict(zip(kept["sha256"].to_pylist(), kept["label"].to_pylist(), strict=True))
    table = new.columns(["sha256", "label", "path"])
    for sha, label, path in zip(*(table[name].to_pylist() for name in ("sha256", "label", "path")), strict=True):
        if labels.get(sha, label) != label:
            words = ("real", "fake")
            raise LeakError(
                f"{path} is given as {words[label]}, and is {words[1 - label]} in the detector's memory",
                hint="look at the picture; if the memory is wrong, make it anew: facetell remember",
            )


def _known(loaded: Detector) -> Known:
    from facetell.methods import get_method

    method = get_method(loaded.description["method"])
    return Known(method.name, resolve(method.settings, loaded.description["settings"]), torch_runtime(loaded).network)


def _old(memory: FaceSet, known: Known, new: FaceSet, lent: set[str], fabric: Fabric, seed: int) -> _Old:
    """The memory without what is among the new faces, which hold some out, and without the groups it lends to them."""
    given = pa.array(new.columns(["sha256"])["sha256"].to_pylist())
    groups = pa.array(sorted(lent), pa.string())

    def rest(split: str) -> NDArray[np.bool_]:
        columns = memory.columns(["sha256", "group"], split)
        return ~np.asarray(pc.or_(pc.is_in(columns["sha256"], given), pc.is_in(columns["group"], groups)))

    size, others = known.settings.size, rest("validation")
    learn = samples_of(memory, "train", size).subset(rest("train"))
    held = samples_of(memory, "validation", size).subset(others)
    if lent and len(np.unique(learn.labels)) < 2:
        raise DataError(
            "the memory's faces are of too few groups to lend some as reals and learn from others",
            hint="give reals from where the fakes were found: --real FOLDER",
        )
    half = deal(held.labels, held.groups, 2, seed)
    choose, gate = (held.subset(half == part) for part in (0, 1))
    again = int(taught(memory, "validation")[others][half == 1].sum())
    return _Old(memory, Memory(learn, predict(known.network, learn, fabric)), choose, gate, again)


def _second(
    general: General,
    known: Known,
    new: FaceSet,
    samples: Samples,
    memory: FaceSet,
    old: _Old,
    fabric: Fabric,
) -> Second:
    """The second backbone with the pictures as it sees them."""
    parts = [(samples, new, SPLIT), (old.learn.samples, memory, "train"), (old.gate, memory, "validation")]
    same = general.size == known.settings.size
    views = {
        seen.images.path: seen.images if same else decoded(faces, split, general.size) for seen, faces, split in parts
    }
    return Second(general.name, general.weights, general.size, general.statistics, views, fabric)


def _lesson(
    known: Known, samples: Samples, old: _Old | None, second: Second | None, seed: int, fabric: Fabric, folder: Path
) -> Lesson:
    backbone: Any = known.network.get_submodule("backbone")
    memory = old.learn if old else None
    maps = [
        None
        if part is None
        else FeatureMaps(backbone, part.images, part.rows, Views(RANGES, seed, DRAWS), fabric, folder)
        for part in (samples, memory.samples if memory else None)
    ]
    assert maps[0] is not None
    return Lesson(samples, memory, seed, fabric, (maps[0], maps[1]), second)


def _usable(
    strategies: Iterable[Strategy], known: Known, lesson: Lesson, asked: str
) -> tuple[list[Strategy], dict[str, str]]:
    """The strategies that fit, and why the others do not. Raises UsageError where none is left."""
    usable, unfit = [], {}
    for each in strategies:
        why = each.obstacle(known, lesson)
        if why is None:
            usable.append(each)
        else:
            unfit[each.name] = why
    if not usable:
        why = "; ".join(f"{name}: {why}" for name, why in unfit.items())
        raise UsageError(f"no strategy fits: {why}" if asked == "auto" else why, hint="--strategy auto tries all")
    return usable, unfit


def _allowed(trials: list[Trial], margin: float) -> list[Trial]:
    """Those that went to the end, and whose fall on old faces leaves half the margin; where none does, the least fall."""
    ended = [trial for trial in trials if trial.finished]
    return [trial for trial in ended if trial.drop <= margin / 2] or [min(ended, key=lambda trial: trial.drop)]


def _judged(
    known: Known,
    found: Known,
    new: FaceSet,
    samples: Samples,
    old: _Old | None,
    second: Second | None,
    trials: list[Trial],
    allowed: list[Trial],
    best: Trial,
    margin: float,
    trust_labels: bool,
    seed: int,
    fabric: Fabric,
) -> dict[str, Any]:
    """What was tried, what was chosen, and the gate."""
    labels, groups = samples.labels, samples.groups
    before = predict(known.network, samples, fabric).astype(np.float64)
    held_out = np.stack([trial.held_out for trial in allowed], axis=1)
    gain = gain_of_choice(labels, groups, before, held_out, seed)
    gate: dict[str, Any] = {"labels": label_gate(labels, groups, before), "new": gain_gate(labels, gain)}
    if old:
        seen = second.samples(old.gate) if second and found.settings.size != known.settings.size else old.gate
        logits = [
            predict(each.network, faces, fabric).astype(np.float64)
            for each, faces in ((known, old.gate), (found, seen))
        ]
        gate["old"] = old_gate(old.gate.labels, old.gate.groups, logits[0], logits[1], margin, old.taught)
    network = found.network.to(fabric.device).eval()
    gate["shortcuts"] = shortcut_gate(new, found.settings.size, lambda pixels: _scored(network, pixels, fabric), seed)
    checks = [
        *([] if trust_labels else [gate["labels"]]),
        gate["new"],
        *([gate["old"]] if old else []),
        *gate["shortcuts"],
    ]
    refused = [check["says"] for check in checks if not check["passed"]]
    return {
        "tried": [
            {
                "candidate": trial.candidate.name,
                "auroc": trial.auroc(labels),
                "fall": trial.drop if old else None,
                "allowed": trial.drop <= margin / 2,
                "finished": trial.finished,
            }
            for trial in trials
        ],
        "chosen": best.candidate.name,
        "why": _why(best, allowed, labels, old is not None, margin),
        "before": auroc(labels, before),
        "gate": gate,
        "refused": refused,
        "held_out": best.held_out.mean(axis=0).tolist(),
    }


def _why(best: Trial, allowed: list[Trial], labels: NDArray[np.int8], remembers: bool, margin: float) -> str:
    if best.drop > margin / 2:
        return f"the least fall on old faces ({best.drop:.3f}); nothing kept it within {margin / 2:g}"
    among = (
        f"of {len(allowed)} candidates that keep the fall on old faces within {margin / 2:g}" if remembers else "of all"
    )
    return f"the highest AUROC on held-out new faces ({best.auroc(labels):.3f}) {among}"


@torch.no_grad()
def _scored(network: nn.Module, pixels: NDArray[np.uint8], fabric: Fabric) -> NDArray[np.float32]:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(fabric.device).float().div_(255)
    with fabric.autocast():
        logits: NDArray[np.float32] = network(images).float().cpu().numpy()
    return logits
