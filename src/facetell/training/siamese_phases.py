"""Training in two phases (Salpekar, sections 4 and 5.1): first an embedding by triplets, then a classifier.

Phase 1 trains backbone and embedding with the triplet loss; phase 2 trains backbone and classifier with cross-entropy.
As in the shared loop, everything random is drawn from (seed, epoch) and a checkpoint follows every epoch, so a run that
was killed and resumed ends with the same weights. Epochs are counted through both phases.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.evaluation.embedding_quality import nearness, plane, spread
from facetell.evaluation.metrics import auroc
from facetell.faceset.samples import Samples
from facetell.files import write_csv
from facetell.networks.acceleration import channels_last
from facetell.networks.embedding import SiameseNet
from facetell.settings import setting
from facetell.training.augment import Augmentation
from facetell.training.batches import balanced_order, epoch_order, iterate
from facetell.training.loop import Batches, Phase, augmented, judged, predict, train_phase
from facetell.training.run import EpochResult, Run, State
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
    balance: str = setting(
        "none",
        "sources: every generator and data set as often as the others of its label, and as many reals as fakes",
        choices=("none", "sources"),
    )
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


def train_phases(network: SiameseNet, run: Run, recipe: PhasesRecipe, fabric: Fabric) -> list[PhaseResult]:
    """Train ``network`` in place and leave in it the weights of phase 2 that ``recipe.select`` keeps.

    Raises ``DataError`` when a class has fewer than two images and ``FacetellError`` when the loss is no longer finite.
    A collapsed embedding is a warning, not an error: cross-entropy still trains the whole network in phase 2.
    """
    run.check(least=2)
    channels_last(network.to(fabric.device))
    state = State(network, run, recipe, result=PhaseResult)
    for phase in (_Triplets, _Classes):
        if len(state.history) < (recipe.pair_epochs if phase is _Triplets else recipe.pair_epochs + recipe.epochs):
            train_phase(phase(state, recipe, network, fabric))
    network.load_state_dict(state.best)
    return state.history


class _SiamesePhase(Phase):
    """What both phases share: Adam at a rate that falls by steps, batches of equal size, augmentation with colours."""

    number: int

    def __init__(self, state: State, recipe: PhasesRecipe, network: SiameseNet, fabric: Fabric) -> None:
        self.recipe, self.network = recipe, network
        first = self.number == 1
        self.select = None if first else recipe.select
        module = nn.Sequential(network.backbone, network.embedding if first else network.head)
        epochs = recipe.pair_epochs + recipe.epochs
        span = (0, recipe.pair_epochs, epochs) if first else (recipe.pair_epochs, epochs, epochs)
        super().__init__(state, fabric, module, torch.optim.Adam(module.parameters(), lr=recipe.lr), span)
        images = len(self._order(0))
        self.steps_per_epoch = math.ceil(images / recipe.batch_size)
        self.batch_size = math.ceil(images / self.steps_per_epoch)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        training, seed, rank, world = self.run.training, self.run.seed, self.fabric.global_rank, self.fabric.world_size
        sources = training.sources if self.recipe.balance == "sources" else None
        if self.recipe.balanced or sources is not None:
            return balanced_order(training.labels, seed, epoch, rank, world, sources)
        return epoch_order(len(training), seed, epoch, rank, world)

    def batches(self, epoch: int, generator: torch.Generator) -> Batches:
        # Equal batches: a last one of two images would hold no triplet.
        order = np.resize(self._order(epoch), self.steps_per_epoch * self.batch_size)
        samples = self.run.training.subset(order)
        ranges, device = self.recipe.augmentation, self.fabric.device
        images = augmented(samples, self.batch_size, ranges, generator, device, self.recipe.colour)
        return Batches(samples.labels, images)

    def rate(self, epoch: int, step: int) -> float:
        return learning_rate(self.recipe, epoch, self.state.history)

    def epoch_done(self) -> None:
        _write_points(self.run.folder / POINTS, self.state.notes)


class _Triplets(_SiamesePhase):
    """Phase 1: backbone and embedding learn from triplets."""

    number = 1

    def loss(self, answer: Tensor, labels: Tensor) -> Tensor:
        return triplet_loss(answer, labels, self.recipe.margin, self.recipe.triplets)

    def judge(self, epoch: int) -> dict[str, float]:
        """Judge the embedding of the whole validation split, keep its points in the plane, and warn of a collapse."""
        recipe, labels = self.recipe, self.run.validation.labels
        vectors = _embed(self.network, self.run.validation, self.fabric)
        # In batches as large as those of training, whose size decides what the hardest of a batch are.
        count = math.ceil(len(labels) / recipe.batch_size)
        parts = np.array_split(epoch_order(len(labels), self.run.seed, 0), count)
        losses = [float(self.loss(vectors[rows], torch.from_numpy(labels[rows]))) for rows in parts]
        every = math.ceil(len(labels) / MAX_POINTS)
        points = plane(vectors, labels)[::every].astype(np.float32)
        marked = np.column_stack([labels[::every].astype(np.float32), points])
        self.state.notes[f"{epoch + 1:04d}"] = torch.from_numpy(marked)
        wide = spread(vectors)
        if wide < COLLAPSED * recipe.margin and self.fabric.is_global_zero:
            log.warning(
                "the embedding has collapsed in epoch %d: validation faces are %.2g apart (mean squared distance), the "
                "margin is %g; phase 2 then starts from features that the triplets did not shape "
                "(hint: embedding=l2, a lower lr, triplets=all, or more epochs)",
                epoch + 1,
                wide,
                recipe.margin,
            )
        return {
            "phase": 1,
            "validation_loss": float(np.average(losses, weights=[len(rows) for rows in parts])),
            "validation_auroc": auroc(labels, nearness(vectors, labels)),
            "validation_accuracy": math.nan,
            "spread": wide,
        }


class _Classes(_SiamesePhase):
    """Phase 2: backbone and classifier learn real and fake."""

    number = 2

    def loss(self, answer: Tensor, labels: Tensor) -> Tensor:
        weight = self.network.head.two_way.dense.weight
        return F.binary_cross_entropy_with_logits(answer, labels) + self.recipe.l2 * weight.square().sum()

    def judge(self, epoch: int) -> dict[str, float]:
        validation = self.run.validation
        logits = predict(self.network, validation, self.fabric)
        accuracy = float(((logits > 0) == validation.labels).mean())
        return {"phase": 2, **judged(logits, validation), "validation_accuracy": accuracy, "spread": math.nan}

    def finished(self) -> bool:
        """Whether the whole validation split says that it is enough."""
        recipe, state = self.recipe, self.state
        reached = recipe.stop_accuracy < 1 and bool(state.history)
        reached = reached and state.history[-1].validation_accuracy >= recipe.stop_accuracy
        return reached or 0 < recipe.patience <= state.stale


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
