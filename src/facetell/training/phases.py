"""Training in two phases (Salpekar, sections 4 and 5.1): first an embedding by triplets, then a classifier.

Phase 1 trains backbone and embedding with the triplet loss; phase 2 trains backbone and classifier with cross-entropy.
As in the shared loop, everything random is drawn from (seed, epoch) and a checkpoint follows every epoch, so a run that
was killed and resumed ends with the same weights. Epochs are counted through both phases.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.errors import DataError, FacetellError
from facetell.evaluation.embedding_quality import nearness, plane, spread
from facetell.evaluation.metrics import auroc, log_loss
from facetell.evaluation.score_curves import calibrated
from facetell.files import write_csv
from facetell.networks.acceleration import channels_last
from facetell.networks.siamese import SiameseNet
from facetell.progress import Step
from facetell.settings import setting
from facetell.training.augment import Augmentation, apply, draw
from facetell.training.batches import balanced_order, epoch_order, iterate
from facetell.training.checkpoint import flatten_optimizer, load_checkpoint, restore_optimizer, save_checkpoint
from facetell.training.colour_jitter import jitter
from facetell.training.loop import (
    CHECKPOINT,
    TABLE,
    EpochResult,
    Run,
    Samples,
    part_of,
    predict,
    seed_epoch,
    write_table,
)
from facetell.training.triplets import triplet_loss

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["POINTS", "PhaseResult", "PhasesRecipe", "learning_rate", "train_phases"]

POINTS = "embedding.csv"
MAX_POINTS = 1000
"""Validation faces whose place in the plane is written per epoch; numbers are of all of them."""
COLLAPSED = 0.01
"""Part of the margin that the spread of an embedding must reach: below, no triplet's loss can differ much from the
margin, whatever the labels."""

log = logging.getLogger("facetell")


@dataclass(frozen=True)
class PhasesRecipe:
    """Length of the phases, schedule, loss, batches, augmentation, precision."""

    pair_epochs: int = setting(5, "epochs of phase 1 (triplets); 0 = cross-entropy alone", low=0)
    epochs: int = setting(15, "epochs of phase 2 (cross-entropy)", low=1)
    batch_size: int = setting(128, "images per step and process", low=4)
    lr: float = setting(1e-4, "learning rate of phase 1 (Adam)", low=0)
    lr_step: float = setting(
        0.1, "factor on the learning rate where phase 2 begins, and again at the step below", low=0
    )
    step_epochs: int = setting(
        16, "the rate steps down once this many epochs of both phases are done; 0 = never", low=0
    )
    step_accuracy: float = setting(0.89, "or once validation accuracy has reached this; 1 = never", low=0, high=1)
    stop_accuracy: float = setting(1.0, "stop at this validation accuracy; 1 = never", low=0, high=1)
    patience: int = setting(
        0, "stop after this many epochs of phase 2 without improvement on validation; 0 = never", low=0
    )
    select: str = setting(
        "auroc", "which epoch of phase 2 is kept, judged on validation", choices=("auroc", "loss", "last")
    )
    margin: float = setting(0.8, "by how much the other class shall be farther (squared distance)", low=0.01)
    triplets: str = setting("all", "valid triplets of a batch, or the hardest of each anchor", choices=("all", "hard"))
    l2: float = setting(1e-3, "L2 penalty on the weights of the classifier's dense layer", low=0)
    balanced: bool = setting(True, "as many real as fake images in every batch")
    flip: bool = setting(True, "mirror half of the images")
    translate: float = setting(2.0, "shift by up to this many pixels (at 64×64), border repeated", low=0)
    zoom: float = setting(0.15, "scale each axis by 1 ± this", low=0, high=0.9)
    rotate: float = setting(8.0, "turn by up to this many degrees", low=0, high=180)
    colour: float = setting(0.2, "scale brightness, contrast and saturation by 1 ± this", low=0, high=1)
    precision: str = setting(
        "auto", "arithmetic of the training step", choices=("auto", "32-true", "bf16-mixed", "16-mixed")
    )

    @property
    def augmentation(self) -> Augmentation:
        """Its geometry."""
        return Augmentation(self.flip, self.translate, self.zoom, self.rotate, cutout_holes=0)


@dataclass(frozen=True)
class PhaseResult(EpochResult):
    """One line of ``training.csv``. In phase 1 losses are triplet losses, and the AUROC is that of ``nearness``.

    ``validation_accuracy`` is at logit 0 (phase 2 only), ``spread`` the mean squared distance between two validation
    embeddings (phase 1 only); else not a number.
    """

    phase: int
    validation_accuracy: float
    spread: float


def learning_rate(recipe: PhasesRecipe, epoch: int, history: list[PhaseResult]) -> float:
    """The rate in ``epoch`` (from 0) after ``history``: it falls where phase 2 begins, and once more in phase 2."""
    if epoch < recipe.pair_epochs:
        return recipe.lr
    reached = recipe.step_accuracy < 1 and any(row.validation_accuracy >= recipe.step_accuracy for row in history)
    late = 0 < recipe.step_epochs <= epoch
    return recipe.lr * recipe.lr_step ** (2 if reached or late else 1)


class _State:
    """All that a checkpoint holds: weights, the phase's optimiser, the history, the best epoch, the points."""

    def __init__(self, network: SiameseNet) -> None:
        self.network = network
        self.optimizer: torch.optim.Optimizer
        self.history: list[PhaseResult] = []
        self.best: dict[str, Tensor] = {}
        self.best_value = -math.inf
        self.stale = 0
        self.points: dict[str, Tensor] = {}

    def judge(self, result: PhaseResult, select: str) -> None:
        """Add an epoch; in phase 2 keep its weights if it is the best by ``select``."""
        self.history.append(result)
        if result.phase == 1:
            return
        value = {"auroc": result.validation_auroc, "loss": -result.validation_loss, "last": float(result.epoch)}[select]
        if value > self.best_value:
            self.best_value, self.stale = value, 0
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
        else:
            self.stale += 1

    def finished(self, recipe: PhasesRecipe) -> bool:
        """Whether phase 2 ends early, by what the whole validation split says."""
        reached = recipe.stop_accuracy < 1 and self.history[-1].validation_accuracy >= recipe.stop_accuracy
        return reached or 0 < recipe.patience <= self.stale

    def save(self, path: Path, identity: dict[str, object]) -> None:
        parts = {
            "network": self.network.state_dict(),
            "best": self.best,
            "optimizer": flatten_optimizer(self.optimizer),
            "points": self.points,
        }
        tensors = {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        counters = {"best_value": self.best_value, "stale": self.stale}
        save_checkpoint(path, tensors, {**counters, **identity, "history": [asdict(row) for row in self.history]})

    def restore(self, path: Path, identity: dict[str, object]) -> dict[str, Tensor]:
        """Take everything back but the optimiser's tensors, which are returned: its phase has to be known first."""
        tensors, state = load_checkpoint(path)
        if any(state[key] != value for key, value in identity.items()):
            raise DataError(f"{path.parent} holds a run with other settings or data", hint="resume it as it was begun")
        self.network.load_state_dict(part_of(tensors, "network/"))
        self.best, self.points = part_of(tensors, "best/"), part_of(tensors, "points/")
        self.history = [PhaseResult(**row) for row in state["history"]]
        self.best_value, self.stale = state["best_value"], state["stale"]
        return part_of(tensors, "optimizer/")


def train_phases(network: SiameseNet, run: Run, recipe: PhasesRecipe, fabric: Fabric) -> list[PhaseResult]:
    """Train ``network`` in place and leave in it the weights of phase 2 that ``recipe.select`` keeps.

    Raises ``DataError`` when a class has fewer than two images and ``FacetellError`` when the loss is no longer finite.
    A collapsed embedding is a warning, not an error: cross-entropy still trains the whole network in phase 2.
    """
    for name, samples in (("training", run.training), ("validation", run.validation)):
        if np.bincount(samples.labels, minlength=2).min() < 2:
            raise DataError(
                f"the {name} images need at least two real and two fake ones, or there is no pair of a class",
                hint="see `facetell inspect FACESET`",
            )
    channels_last(network.to(fabric.device))
    state = _State(network)
    identity = {"recipe": asdict(recipe), "seed": run.seed, "images": len(run.training)}
    kept: dict[str, Tensor] = {}
    if run.resume and (run.folder / CHECKPOINT).exists():
        kept = state.restore(run.folder / CHECKPOINT, identity)
    ends: tuple[nn.Module, ...] = (network.embedding, network.head)
    for phase, first, last in ((1, 0, recipe.pair_epochs), (2, recipe.pair_epochs, recipe.pair_epochs + recipe.epochs)):
        if len(state.history) >= last:
            continue
        module = nn.Sequential(network.backbone, ends[phase - 1])
        module, optimizer = fabric.setup(module, torch.optim.Adam(module.parameters(), lr=recipe.lr))
        state.optimizer = optimizer.optimizer
        if first < len(state.history):
            restore_optimizer(state.optimizer, kept)
        for epoch in range(len(state.history), last):
            if epoch > first and phase == 2 and state.finished(recipe):
                break
            lr = learning_rate(recipe, epoch, state.history)
            loss, images_per_s = _train_epoch(epoch, lr, phase, module, optimizer, state, run, recipe, fabric)
            if not math.isfinite(loss):
                raise FacetellError(f"the loss is {loss} in epoch {epoch + 1}", hint="lower --set lr=…")
            validate = _validate_embedding if phase == 1 else _validate_classifier
            found = validate(epoch, state, run, recipe, fabric)
            result = PhaseResult(epoch=epoch + 1, lr=lr, loss=loss, images_per_s=images_per_s, phase=phase, **found)
            state.judge(result, recipe.select)
            if fabric.is_global_zero:
                state.save(run.folder / CHECKPOINT, identity)
                write_table(run.folder / TABLE, state.history)
                _write_points(run.folder / POINTS, state.points)
            run.progress(result.as_step(recipe.pair_epochs + recipe.epochs))
            fabric.barrier()
    network.load_state_dict(state.best)
    return state.history


def _train_epoch(
    epoch: int,
    lr: float,
    phase: int,
    module: nn.Module,
    optimizer: Any,
    state: _State,
    run: Run,
    recipe: PhasesRecipe,
    fabric: Fabric,
) -> tuple[float, float]:
    """One epoch; returns the mean loss over all processes and the images per second."""
    rank, world = fabric.global_rank, fabric.world_size
    draws = seed_epoch(run.seed, epoch, rank)
    if recipe.balanced:
        order = balanced_order(run.training.labels, run.seed, epoch, rank, world)
    else:
        order = epoch_order(len(run.training), run.seed, epoch, rank, world)
    steps = math.ceil(len(order) / recipe.batch_size)
    batch_size = math.ceil(len(order) / steps)
    order = np.resize(order, steps * batch_size)  # equal batches: a last one of two images would hold no triplet
    truths = torch.from_numpy(run.training.labels[order]).to(fabric.device)
    for group in optimizer.param_groups:
        group["lr"] = lr
    show = _Bar(run, recipe, steps, epoch, state.history)
    total, seen = torch.zeros((), device=fabric.device), 0
    module.train()
    for pixels, rows in iterate(run.training.images, run.training.rows[order], batch_size, fabric.device):
        planes = pixels.contiguous().float().div_(255)
        planes = jitter(planes, recipe.colour, draws)
        images = apply(planes, draw(len(rows), run.training.images.size, recipe.augmentation, draws))
        answer, truth = module(images).float(), truths[seen : seen + len(rows)]
        if phase == 1:
            loss = triplet_loss(answer, truth, recipe.margin, recipe.triplets)
        else:
            weight = state.network.head.two_way.dense.weight
            loss = F.binary_cross_entropy_with_logits(answer, truth.float()) + recipe.l2 * weight.square().sum()
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        total += loss.detach() * len(rows)
        seen += len(rows)
        show(total, seen, world)
    images_per_s = seen * world / (time.perf_counter() - show.began)
    return float(cast(Tensor, fabric.all_reduce(total / seen, reduce_op="mean"))), images_per_s


class _Bar:
    """Tells ``run.progress`` a few times a second where an epoch is; reading the loss waits for the device."""

    def __init__(self, run: Run, recipe: PhasesRecipe, steps: int, epoch: int, history: list[PhaseResult]) -> None:
        self.progress = run.progress
        self.steps, self.epoch, self.epochs = steps, epoch, recipe.pair_epochs + recipe.epochs
        self.auroc = history[-1].validation_auroc if history else math.nan
        self.began = self.shown = time.perf_counter()
        self.done = 0

    def __call__(self, total: Tensor, seen: int, world: int) -> None:
        self.done += 1
        now = time.perf_counter()
        step, steps = self.epoch * self.steps + self.done, self.steps * self.epochs
        if now - self.shown < 0.2 and step < steps:
            return
        self.shown = now
        rate = seen * world / (now - self.began)
        numbers = {"loss": float(total) / seen, "AUROC": self.auroc, "images/s": rate}
        self.progress(Step("training", step, steps, "steps", f"epoch {self.epoch + 1}/{self.epochs}", numbers))


def _validate_classifier(
    _epoch: int, state: _State, run: Run, _recipe: PhasesRecipe, fabric: Fabric
) -> dict[str, float]:
    logits, labels = predict(state.network, run.validation, fabric), run.validation.labels
    return {
        "validation_loss": log_loss(labels, calibrated(logits, 1.0)),
        "validation_auroc": auroc(labels, logits),
        "validation_accuracy": float(((logits > 0) == labels).mean()),
        "spread": math.nan,
    }


def _validate_embedding(epoch: int, state: _State, run: Run, recipe: PhasesRecipe, fabric: Fabric) -> dict[str, float]:
    """Judge the embedding of the whole validation split, keep its points in the plane, and warn of a collapse."""
    vectors, labels = _embed(state.network, run.validation, fabric), run.validation.labels
    # In batches as large as those of training, whose size decides what the hardest of a batch are.
    batches = np.array_split(epoch_order(len(labels), run.seed, 0), math.ceil(len(labels) / recipe.batch_size))
    losses = [
        float(triplet_loss(vectors[rows], torch.from_numpy(labels[rows]), recipe.margin, recipe.triplets))
        for rows in batches
    ]
    every = math.ceil(len(labels) / MAX_POINTS)
    points = plane(vectors, labels)[::every].astype(np.float32)
    marked = np.column_stack([labels[::every].astype(np.float32), points])
    state.points[f"{epoch + 1:04d}"] = torch.from_numpy(marked)
    wide = spread(vectors)
    if wide < COLLAPSED * recipe.margin and fabric.is_global_zero:
        log.warning(
            "the embedding has collapsed in epoch %d: validation faces are %.2g apart (mean squared distance), the "
            "margin is %g; phase 2 then starts from features that the triplets did not shape "
            "(hint: embedding=l2, a lower lr, triplets=all, or more epochs)",
            epoch + 1,
            wide,
            recipe.margin,
        )
    return {
        "validation_loss": float(np.average(losses, weights=[len(rows) for rows in batches])),
        "validation_auroc": auroc(labels, nearness(vectors, labels)),
        "validation_accuracy": math.nan,
        "spread": wide,
    }


@torch.no_grad()
def _embed(network: SiameseNet, samples: Samples, fabric: Fabric, batch_size: int = 256) -> Tensor:
    """Embeddings (N, D) of ``samples`` in order, on the CPU, in evaluation mode; every process computes all."""
    network.eval()
    found = []
    for images, _ in iterate(samples.images, samples.rows, batch_size, fabric.device):
        with fabric.autocast():
            found.append(network.embed(images.float().div_(255)).cpu())
    return torch.cat(found)


def _write_points(path: Path, points: dict[str, Tensor]) -> None:
    """Write the plane of every epoch of phase 1, whole or not at all: epoch, label, x, y."""
    if not points:
        return
    rows = [
        (int(epoch), int(label), f"{x:.5g}", f"{y:.5g}")
        for epoch in sorted(points)
        for label, x, y in points[epoch].tolist()
    ]
    write_csv(path, ["epoch", "label", "x", "y"], rows)
