"""The training loop: the same for every method, on CPU, GPU, mixed precision, and under ``torchrun``.

Everything random is drawn from (seed, epoch), so a run that was killed and resumed from its last checkpoint ends with
the same weights as one that was not. Only the validation images given here choose the epoch that is kept.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.errors import DataError, FacetellError
from facetell.evaluation.metrics import auroc, log_loss
from facetell.evaluation.score_curves import calibrated
from facetell.faceset.samples import Samples
from facetell.files import write_csv
from facetell.networks.acceleration import channels_last
from facetell.progress import Progress, Step, silent
from facetell.training.augment import apply, draw
from facetell.training.batches import epoch_order, iterate
from facetell.training.checkpoint import flatten_optimizer, load_checkpoint, restore_optimizer, save_checkpoint
from facetell.training.feature_maps import Frozen, FrozenMaps, given
from facetell.training.recipe import Recipe, build_optimizer, learning_rate_factor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "CHECKPOINT",
    "TABLE",
    "EpochResult",
    "Run",
    "Samples",
    "WeightAverage",
    "part_of",
    "predict",
    "seed_epoch",
    "train",
    "write_table",
]

CHECKPOINT = "checkpoint.safetensors"
TABLE = "training.csv"


@dataclass(frozen=True)
class EpochResult:
    """One line of ``training.csv``. Losses are mean cross-entropies in nats; validation is that of the kept weights."""

    epoch: int
    lr: float
    loss: float
    validation_loss: float
    validation_auroc: float
    images_per_s: float

    def as_step(self, epochs: int) -> Step:
        """The same for who watches: this epoch of ``epochs``."""
        numbers = asdict(self)
        return Step("epoch", numbers.pop("epoch"), epochs, numbers=numbers, stays=True)


@dataclass(frozen=True)
class Run:
    """What is trained on, and how: images, the seed, a folder for checkpoints and ``training.csv``, and who watches.

    With ``resume`` the run continues from the checkpoint in ``folder``, if there is one.
    """

    training: Samples
    validation: Samples
    seed: int
    folder: Path
    resume: bool = False
    progress: Progress = silent


class WeightAverage:
    """Exponential running average of weights and buffers; the decay rises from 0.1 so that short runs forget the start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.network.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards ``network`` after a step, counted from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], weight)
        for mine, theirs in pairs:
            if not mine.is_floating_point():
                mine.copy_(theirs)


class _State:
    """All that a checkpoint holds: weights, their average, the optimiser, the history and the best epoch so far."""

    def __init__(self, network: nn.Module, average: WeightAverage | None) -> None:
        self.network = network
        self.average = average
        self.kept = average.network if average else network
        self.optimizer: torch.optim.Optimizer
        self.history: list[EpochResult] = []
        self.best: dict[str, Tensor] = {}
        self.best_value = -math.inf
        self.stale = 0

    def judge(self, result: EpochResult, select: str) -> None:
        """Add an epoch, and keep its weights if it is the best by ``select``."""
        self.history.append(result)
        value = {"auroc": result.validation_auroc, "loss": -result.validation_loss, "last": float(result.epoch)}[select]
        if value > self.best_value:
            self.best_value, self.stale = value, 0
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.kept.state_dict().items()}
        else:
            self.stale += 1

    def save(self, path: Path, identity: dict[str, object]) -> None:
        parts = {
            "network": self.network.state_dict(),
            "best": self.best,
            "optimizer": flatten_optimizer(self.optimizer),
        }
        if self.average:
            parts["average"] = self.average.network.state_dict()
        tensors = {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        counters = {"best_value": self.best_value, "stale": self.stale}
        save_checkpoint(path, tensors, {**counters, **identity, "history": [asdict(row) for row in self.history]})

    def restore(self, path: Path, identity: dict[str, object]) -> None:
        tensors, state = load_checkpoint(path)
        if any(state[key] != value for key, value in identity.items()):
            raise DataError(f"{path.parent} holds a run with other settings or data", hint="resume it as it was begun")
        self.network.load_state_dict(part_of(tensors, "network/"))
        if self.average:
            self.average.network.load_state_dict(part_of(tensors, "average/"))
        restore_optimizer(self.optimizer, part_of(tensors, "optimizer/"))
        self.best = part_of(tensors, "best/")
        self.history = [EpochResult(**row) for row in state["history"]]
        self.best_value, self.stale = state["best_value"], state["stale"]


@dataclass(frozen=True)
class _Plan:
    """How many images make an epoch and a step: batches about equal."""

    passes: int
    batch_size: int
    steps_per_epoch: int
    steps: int

    @classmethod
    def of(cls, recipe: Recipe, images: int, world: int) -> _Plan:
        passes = max(1, math.ceil(recipe.epoch_images / images))
        per_process = passes * math.ceil(images / world)
        steps_per_epoch = math.ceil(per_process / recipe.batch_size)
        batch_size = math.ceil(per_process / steps_per_epoch)
        return cls(passes, batch_size, steps_per_epoch, steps_per_epoch * recipe.epochs)


def train(
    network: nn.Module, run: Run, recipe: Recipe, *, groups: list[dict[str, object]], fabric: Fabric
) -> list[EpochResult]:
    """Train ``network`` in place and leave in it the weights that ``recipe.select`` keeps.

    ``groups`` are the parameter groups for ``build_optimizer``. Raises ``DataError`` when a class is missing and
    ``FacetellError`` when the loss is no longer finite.
    """
    for name, samples in (("training", run.training), ("validation", run.validation)):
        if len(np.unique(samples.labels)) < 2:
            raise DataError(f"the {name} images need both real and fake", hint="see `facetell inspect FACESET`")
    state = _State(network, WeightAverage(network, recipe.averaging) if recipe.averaging else None)
    for part in (state.kept, network):
        channels_last(part.to(fabric.device))
    module, optimizer = fabric.setup(network, build_optimizer(recipe, groups))
    state.optimizer = optimizer.optimizer
    identity = {"recipe": asdict(recipe), "seed": run.seed, "images": len(run.training)}
    if run.resume and (run.folder / CHECKPOINT).exists():
        state.restore(run.folder / CHECKPOINT, identity)
    plan = _Plan.of(recipe, len(run.training), fabric.world_size)
    frozen = Frozen.of(network, run, recipe, plan.passes * recipe.epochs, fabric)
    for epoch in range(len(state.history), recipe.epochs):
        if recipe.patience and state.stale >= recipe.patience:
            break
        loss, images_per_s = _train_epoch(epoch, module, optimizer, state, run, recipe, plan, fabric, frozen)
        if not math.isfinite(loss):
            raise FacetellError(f"the loss is {loss} in epoch {epoch + 1}", hint="lower --set lr=…")
        logits = predict(state.kept, run.validation, fabric, maps=frozen.validation if frozen else None)
        result = EpochResult(
            epoch=epoch + 1,
            lr=recipe.lr * learning_rate_factor((epoch + 1) * plan.steps_per_epoch - 1, plan.steps, recipe.warmup),
            loss=loss,
            validation_loss=log_loss(run.validation.labels, calibrated(logits, 1.0)),
            validation_auroc=auroc(run.validation.labels, logits),
            images_per_s=images_per_s,
        )
        state.judge(result, recipe.select)
        if fabric.is_global_zero:
            state.save(run.folder / CHECKPOINT, identity)
            write_table(run.folder / TABLE, state.history)
        run.progress(result.as_step(recipe.epochs))
        fabric.barrier()
    network.load_state_dict(state.best)
    return state.history


def _train_epoch(
    epoch: int,
    module: nn.Module,
    optimizer: Any,
    state: _State,
    run: Run,
    recipe: Recipe,
    plan: _Plan,
    fabric: Fabric,
    frozen: Frozen | None,
) -> tuple[float, float]:
    """One epoch; returns the mean loss over all processes and the images per second."""
    rank, world = fabric.global_rank, fabric.world_size
    draws = seed_epoch(run.seed, epoch, rank)
    passes = range(epoch * plan.passes, (epoch + 1) * plan.passes)
    orders = [epoch_order(len(run.training), run.seed, each, rank, world, apart=bool(frozen)) for each in passes]
    order, turns = np.concatenate(orders), np.repeat(passes, len(orders[0]))
    if len(order) % plan.batch_size == 1:  # a lone image has no batch statistics
        order, turns = np.append(order, order[0]), np.append(turns, turns[0])
    rows = run.training.rows[order]
    truths = torch.from_numpy(run.training.labels[order]).float().to(fabric.device)
    total, seen = torch.zeros((), device=fabric.device), 0
    began = last_shown = time.perf_counter()
    module.train()
    batches = (
        frozen.training.batches(rows, turns, plan.batch_size)
        if frozen
        else _augmented(run.training, rows, plan.batch_size, recipe, draws, fabric)
    )
    for index, (images, maps) in enumerate(batches):
        step = epoch * plan.steps_per_epoch + index
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * learning_rate_factor(step, plan.steps, recipe.warmup) * group["factor"]
        with given(state.network, maps):
            logits = module(images).float()
        loss = F.binary_cross_entropy_with_logits(logits, truths[seen : seen + len(images)])
        optimizer.zero_grad()
        fabric.backward(loss)
        if recipe.clip:
            # SqueezeNet has no norms: without this 6e-4 lost its ImageNet knowledge within the warm-up on one kind of
            # processor (validation AUROC .818 after 28 epochs on DFDC, .871 with it) and not on another.
            fabric.clip_gradients(module, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
        optimizer.step()
        if state.average:
            state.average.update(state.network, step)
        total += loss.detach() * len(images)
        seen += len(images)
        now = time.perf_counter()
        if now - last_shown > 0.2 or step + 1 == plan.steps:  # reading the loss waits for the device
            last_shown = now
            numbers = {
                "loss": float(total) / seen,
                "AUROC": state.history[-1].validation_auroc if state.history else math.nan,
                "images/s": seen * world / (now - began),
            }
            run.progress(Step("training", step + 1, plan.steps, "steps", f"epoch {epoch + 1}/{recipe.epochs}", numbers))
    images_per_s = seen * world / (time.perf_counter() - began)
    return float(cast(Tensor, fabric.all_reduce(total / seen, reduce_op="mean"))), images_per_s


def _augmented(
    samples: Samples,
    rows: npt.NDArray[np.int64],
    batch_size: int,
    recipe: Recipe,
    draws: torch.Generator,
    fabric: Fabric,
) -> Iterator[tuple[Tensor, None]]:
    """Batches of images as a network that learns as a whole sees them, each in a way it never was before."""
    for pixels, chosen in iterate(samples.images, rows, batch_size, fabric.device):
        planes = pixels.contiguous().float().div_(255)  # resampling is quickest on whole planes
        yield apply(planes, draw(len(chosen), samples.images.size, recipe.augmentation, draws)), None


@torch.no_grad()
def predict(
    network: nn.Module, samples: Samples, fabric: Fabric, batch_size: int = 256, maps: FrozenMaps | None = None
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
        batches = maps.batches(mine, 0, batch_size)
    else:
        pixels = iterate(samples.images, mine, batch_size, fabric.device)
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


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    """The tensors of a checkpoint whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def write_table(path: Path, history: Sequence[EpochResult]) -> None:
    """Write ``training.csv`` whole or not at all: a line for each epoch, a column for each field of its result."""
    write_csv(path, [f.name for f in fields(history[0])], (asdict(row).values() for row in history))
