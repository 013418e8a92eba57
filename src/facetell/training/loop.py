"""The training loop: the same for every method, on CPU, GPU, mixed precision, and under ``torchrun``.

Everything random is drawn from (seed, epoch), so a run that was killed and resumed from its last checkpoint ends with
the same weights as one that was not. Only the validation images given here choose the epoch that is kept.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.errors import FacetellError, UsageError
from facetell.evaluation.metrics import auroc, log_loss
from facetell.evaluation.score_curves import calibrated
from facetell.faceset.samples import Samples
from facetell.networks.acceleration import channels_last
from facetell.networks.seeding import seeded
from facetell.progress import Step
from facetell.training.augment import Augmentation, apply, draw, jitter
from facetell.training.batches import balanced_order, epoch_order, iterate
from facetell.training.feature_maps import FeatureMaps, MapsOfRun, given
from facetell.training.recipe import Recipe, build_optimizer, learning_rate_factor
from facetell.training.run import EpochResult, Run, State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Batches", "Objective", "Phase", "augmented", "judged", "predict", "seed_epoch", "train", "train_phase"]

PREDICTED = 256
"""Images whose logits are computed at a time."""


@dataclass(frozen=True)
class Batches:
    """What an epoch learns from: labels (N,) in order, and the images (B, 3, S, S) of all of them, batch by batch.

    Beside the images of a batch are their feature maps, where the backbone is frozen, or None.
    """

    labels: npt.NDArray[np.int8]
    images: Iterator[tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Objective:
    """What the optimiser lowers: ``loss`` of ``module``'s answer for images (B, 3, S, S), in single precision, and of
    labels (B,) of 0.0, 1.0. ``module`` holds what learns of a network."""

    module: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor] = F.binary_cross_entropy_with_logits


class Phase(ABC):
    """Some epochs of a run that have one loss, one optimiser and one schedule. A subclass says which.

    Epochs are counted from 0 through the whole run: from ``first`` up to, not including, ``last``, of ``epochs`` in all.
    ``module`` is the part of ``state.network`` that learns. A gradient longer than ``clip`` is cut to it; 0 cuts nothing.
    """

    select: str | None
    clip = 0.0
    steps_per_epoch: int

    def __init__(
        self,
        state: State,
        fabric: Fabric,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        span: tuple[int, int, int],
    ) -> None:
        self.state, self.run, self.fabric = state, state.run, fabric
        self.first, self.last, self.epochs = span
        self.module: nn.Module
        self.optimizer: Any
        self.module, self.optimizer = fabric.setup(module, optimizer)
        state.begin(self.optimizer.optimizer, self.first)

    @abstractmethod
    def batches(self, epoch: int, generator: torch.Generator) -> Batches:
        """The batches of an epoch, augmented with random numbers of ``generator``."""

    @abstractmethod
    def rate(self, epoch: int, step: int) -> float:
        """The learning rate in an epoch, at a step that is counted through the whole run."""

    @abstractmethod
    def loss(self, answer: Tensor, labels: Tensor) -> Tensor:
        """What the optimiser lowers: of the module's answer for a batch in single precision, and labels (B,) of 0.0, 1.0."""

    @abstractmethod
    def judge(self, epoch: int) -> dict[str, float]:
        """What ``training.csv`` says of the network after an epoch, by column."""

    def finished(self) -> bool:
        """Whether the phase ends here, before its last epoch."""
        return False

    def epoch_done(self) -> None:  # noqa: B027 - most have nothing to add
        """Write what belongs beside checkpoint and table. Called after each epoch, in one process."""


def train(
    network: nn.Module,
    run: Run,
    recipe: Recipe,
    *,
    groups: list[dict[str, object]],
    fabric: Fabric,
    objective: Objective | None = None,
) -> list[EpochResult]:
    """Train ``network`` in place and leave in it the weights that ``recipe.select`` keeps.

    ``groups`` are the parameter groups for ``build_optimizer``; without an ``objective`` it is cross-entropy of the
    logits. Raises ``DataError`` when a class is missing and ``FacetellError`` when the loss is no longer finite.
    """
    run.check()
    state = State(network, run, recipe, recipe.averaging)
    for part in (state.kept, network):
        channels_last(part.to(fabric.device))
    train_phase(_Epochs(state, recipe, groups, fabric, objective or Objective(network)))
    network.load_state_dict(state.best)
    return state.history


def train_phase(phase: Phase) -> None:
    """Train the epochs of a phase that are not done yet, with a checkpoint and a line of the table after each.

    Raises ``FacetellError`` when the loss is no longer finite.
    """
    state, run, fabric = phase.state, phase.run, phase.fabric
    for epoch in range(len(state.history), phase.last):
        if phase.finished():
            break
        rate = phase.rate(epoch, (epoch + 1) * phase.steps_per_epoch - 1)
        with seeded(0):  # what the epoch draws is its own affair
            loss, images_per_s = _train_epoch(phase, epoch)
        if not math.isfinite(loss):
            raise FacetellError(f"the loss is {loss} in epoch {epoch + 1}", hint="lower --set lr=…")
        found: dict[str, Any] = {"epoch": epoch + 1, "lr": rate, "loss": loss, "images_per_s": images_per_s}
        result = state.result(**found | phase.judge(epoch))
        state.add(result, phase.select)
        if fabric.is_global_zero:
            state.save()
            phase.epoch_done()
        run.progress(result.as_step(phase.epochs))
        fabric.barrier()


def _train_epoch(phase: Phase, epoch: int) -> tuple[float, float]:
    """One epoch; returns the mean loss over all processes and the images per second."""
    state, fabric, module, optimizer = phase.state, phase.fabric, phase.module, phase.optimizer
    world, steps = fabric.world_size, phase.steps_per_epoch * phase.epochs
    batches = phase.batches(epoch, seed_epoch(phase.run.seed, epoch, fabric.global_rank))
    truths = torch.from_numpy(batches.labels).float().to(fabric.device)
    total, seen = torch.zeros((), device=fabric.device), 0
    began = last_shown = time.perf_counter()
    module.train()
    for step, (images, maps) in enumerate(batches.images, epoch * phase.steps_per_epoch):
        for group in optimizer.param_groups:
            group["lr"] = phase.rate(epoch, step) * group.get("factor", 1.0)
        with given(state.network, maps):
            answer = module(images).float()
        loss = phase.loss(answer, truths[seen : seen + len(images)])
        optimizer.zero_grad()
        fabric.backward(loss)
        if phase.clip:
            fabric.clip_gradients(module, optimizer, max_norm=phase.clip, error_if_nonfinite=False)
        optimizer.step()
        if state.average:
            state.average.update(state.network, step)
        total += loss.detach() * len(images)
        seen += len(images)
        now = time.perf_counter()
        if now - last_shown > 0.2 or step + 1 == steps:  # reading the loss waits for the device
            last_shown = now
            numbers = {
                "loss": float(total) / seen,
                "AUROC": state.history[-1].validation_auroc if state.history else math.nan,
                "images/s": seen * world / (now - began),
            }
            note = f"epoch {epoch + 1}/{phase.epochs}"
            phase.run.progress(Step("training", step + 1, steps, "steps", note, numbers))
    images_per_s = seen * world / (time.perf_counter() - began)
    return float(cast(Tensor, fabric.all_reduce(total / seen, reduce_op="mean"))), images_per_s


class _Epochs(Phase):
    """All epochs of a `Recipe`. Batches of an epoch are about equally large."""

    def __init__(
        self, state: State, recipe: Recipe, groups: list[dict[str, object]], fabric: Fabric, objective: Objective
    ) -> None:
        # SqueezeNet has no norms: without a limit 6e-4 lost its ImageNet knowledge within the warm-up on one kind of
        # processor (validation AUROC .818 after 28 epochs on DFDC, .871 with it) and not on another.
        self.recipe, self.select, self.clip = recipe, recipe.select, recipe.clip
        images = len(state.run.training)
        self.passes = max(1, math.ceil(recipe.epoch_images / images))
        per_process = self.passes * math.ceil(images / fabric.world_size)
        self.steps_per_epoch = math.ceil(per_process * fabric.world_size / recipe.batch_size)
        self.batch_size = math.ceil(per_process / self.steps_per_epoch)
        self.objective = objective
        super().__init__(
            state, fabric, objective.module, build_optimizer(recipe, groups), (0, recipe.epochs, recipe.epochs)
        )
        self.maps = MapsOfRun.of(state.network, state.run, recipe, self.passes * recipe.epochs, fabric)

    def batches(self, epoch: int, generator: torch.Generator) -> Batches:
        run = self.run
        turns = range(epoch * self.passes, (epoch + 1) * self.passes)
        orders = [self._order(turn) for turn in turns]
        order, turn_of = np.concatenate(orders), np.repeat(turns, len(orders[0]))
        if len(order) % self.batch_size == 1:  # a lone image has no batch statistics
            order, turn_of = np.append(order, order[0]), np.append(turn_of, turn_of[0])
        samples = run.training.subset(order)
        if self.maps:
            return Batches(samples.labels, self.maps.training.batches(samples.rows, turn_of, self.batch_size))
        images = augmented(samples, self.batch_size, self.recipe.augmentation, generator, self.fabric.device)
        return Batches(samples.labels, images)

    def _order(self, turn: int) -> npt.NDArray[np.int64]:
        """The rows that this process visits in one pass."""
        training, seed, rank, world = self.run.training, self.run.seed, self.fabric.global_rank, self.fabric.world_size
        order = epoch_order(len(training), seed, turn, rank, world, apart=bool(self.maps))
        if self.recipe.balance == "none":
            return order
        if self.maps and world > 1:  # each process has the maps of its own rows alone
            raise UsageError(
                "sources cannot be balanced over processes where the backbone is frozen", hint="--set views=0"
            )
        return balanced_order(training.labels, seed, turn, rank, world, training.sources)[: len(order)]

    def rate(self, epoch: int, step: int) -> float:
        steps = self.steps_per_epoch * self.epochs
        return self.recipe.lr * learning_rate_factor(step, steps, self.recipe.warmup)

    def loss(self, answer: Tensor, labels: Tensor) -> Tensor:
        return self.objective.loss(answer, labels)

    def judge(self, epoch: int) -> dict[str, float]:
        maps = self.maps.validation if self.maps else None
        return judged(predict(self.state.kept, self.run.validation, self.fabric, maps), self.run.validation)

    def finished(self) -> bool:
        return 0 < self.recipe.patience <= self.state.stale


def augmented(
    samples: Samples,
    size: int,
    ranges: Augmentation,
    generator: torch.Generator,
    device: torch.device,
    colour: float = 0.0,
) -> Iterator[tuple[Tensor, None]]:
    """Batches of ``size`` augmented images (B, 3, S, S), each as it was never seen before; there are no maps of them.

    ``colour`` is the strength of `jitter`.
    """
    for pixels, rows in iterate(samples.images, samples.rows, size, device):
        planes = jitter(pixels.contiguous().float().div_(255), colour, generator)  # resampling likes whole planes
        yield apply(planes, draw(len(rows), samples.images.size, ranges, generator)), None


def judged(logits: npt.NDArray[np.float32], samples: Samples) -> dict[str, float]:
    """Loss and AUROC of uncalibrated logits (N,), as ``training.csv`` has them."""
    loss = log_loss(samples.labels, calibrated(logits, 1.0))
    return {"validation_loss": loss, "validation_auroc": auroc(samples.labels, logits)}


@torch.no_grad()
def predict(
    network: nn.Module, samples: Samples, fabric: Fabric, maps: FeatureMaps | None = None
) -> npt.NDArray[np.float32]:
    """Logits (N,) of ``samples`` in order, in evaluation mode; the work is divided over processes.

    ``maps``, if given, are those of the network's backbone for ``samples`` as they are.
    """
    was_training = network.training
    network.eval()
    share = math.ceil(len(samples) / fabric.world_size)
    mine = samples.rows[fabric.global_rank * share : (fabric.global_rank + 1) * share]
    logits = torch.zeros(share, device=fabric.device)
    done = 0
    batches: Iterator[tuple[Tensor, Tensor | None]]
    if maps:
        batches = maps.batches(mine, 0, PREDICTED)
    else:
        pixels = iterate(samples.images, mine, PREDICTED, fabric.device)
        batches = ((images.float().div_(255), None) for images, _ in pixels)
    for images, known in batches:
        with fabric.autocast(), given(network, known):
            logits[done : done + len(images)] = network(images).float()
        done += len(images)
    gathered = cast(Tensor, fabric.all_gather(logits)) if fabric.world_size > 1 else logits
    network.train(was_training)
    return gathered.flatten()[: len(samples)].cpu().numpy()


def seed_epoch(seed: int, epoch: int, rank: int) -> torch.Generator:
    """Seed dropout for one epoch of one process; returns the generator of its augmentation."""
    epoch_seed = int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])
    torch.manual_seed(epoch_seed)
    return torch.Generator().manual_seed(epoch_seed)
