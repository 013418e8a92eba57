"""A training run: what it is given, what an epoch gives, and all that is needed to go on after an interruption."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facetell.errors import DataError
from facetell.faceset.samples import Samples
from facetell.files import write_csv
from facetell.progress import Progress, Step, silent
from facetell.training.checkpoint import flatten_optimizer, load_checkpoint, restore_optimizer, save_checkpoint

__all__ = ["CHECKPOINT", "TABLE", "EpochResult", "Run", "State", "WeightAverage", "write_table"]

CHECKPOINT = "checkpoint.safetensors"
TABLE = "training.csv"


_NAMES = {
    "recipe": "other settings",
    "seed": "another seed",
    "data": "other faces or starting weights",
}
"""What is another than that of a checkpoint, in words."""


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
    """What is trained on, and how: images, the seed, a folder for checkpoints and ``training.csv``, the device, and
    who watches.

    With ``resume`` the run continues from the checkpoint in ``folder``, if there is one and it is of this very run: ``data``
    tells the faces, the rows that are learned from and the starting weights from others.
    """

    training: Samples
    validation: Samples
    seed: int
    folder: Path
    resume: bool = False
    progress: Progress = silent
    device: str = "auto"
    data: str = ""

    def check(self, least: int = 1) -> None:
        """Raise ``DataError`` unless there are at least ``least`` images of each class to train and to validate on."""
        for name, samples in (("training", self.training), ("validation", self.validation)):
            real = int((samples.labels == 0).sum())
            if min(real, len(samples) - real) < least:
                need = (
                    "both real and fake" if least == 1 else "at least two real and two fake ones, or there is no pair"
                )
                raise DataError(f"the {name} images need {need}", hint="see `facetell inspect FACESET`")


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


class State:
    """How far a run is, which is all that its checkpoint holds.

    ``network`` and ``average`` (None without one), of which ``kept`` is what is judged; the ``optimizer``; a line of
    ``history`` for each epoch, of the class ``result``; the weights of the ``best`` epoch; and ``notes``, tensors that a
    method keeps of its epochs. ``recipe`` is a dataclass: a run is resumed with the same one only.
    """

    def __init__(
        self, network: nn.Module, run: Run, recipe: Any, averaging: float = 0.0, result: type[EpochResult] = EpochResult
    ) -> None:
        self.network, self.run, self.result = network, run, result
        self.average = WeightAverage(network, averaging) if averaging else None
        self.kept = self.average.network if self.average else network
        self.optimizer: torch.optim.Optimizer | None = None
        self.history: list[Any] = []
        self.best: dict[str, Tensor] = {}
        self.best_value = -math.inf
        self.stale = 0
        self.notes: dict[str, Tensor] = {}
        self._identity = {"recipe": asdict(recipe), "seed": run.seed, "data": run.data}
        self._optimizer_was: dict[str, Tensor] = {}
        if run.resume and (run.folder / CHECKPOINT).exists():
            self._restore(run.folder / CHECKPOINT)

    def begin(self, optimizer: torch.optim.Optimizer, first: int) -> None:
        """Take the optimiser of the epochs from ``first`` on; it goes on where that of the checkpoint stopped among them."""
        self.optimizer = optimizer
        if first < len(self.history):
            restore_optimizer(optimizer, self._optimizer_was)

    def add(self, result: EpochResult, select: str | None) -> None:
        """Add an epoch, and keep its weights if it is the best by ``select`` (None: it is no candidate)."""
        self.history.append(result)
        if select is None:
            return
        value = {"auroc": result.validation_auroc, "loss": -result.validation_loss, "last": float(result.epoch)}[select]
        if value > self.best_value:
            self.best_value, self.stale = value, 0
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.kept.state_dict().items()}
        else:
            self.stale += 1

    def save(self) -> None:
        """Write checkpoint and table into the run's folder."""
        assert self.optimizer is not None
        parts = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict() if self.average else {},
            "best": self.best,
            "optimizer": flatten_optimizer(self.optimizer),
            "notes": self.notes,
        }
        tensors = {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        counters = {
            "best_value": self.best_value,
            "stale": self.stale,
            "history": [asdict(row) for row in self.history],
        }
        save_checkpoint(self.run.folder / CHECKPOINT, tensors, {**self._identity, **counters})
        write_table(self.run.folder / TABLE, self.history)

    def _restore(self, path: Path) -> None:
        tensors, state = load_checkpoint(path)
        other = [_NAMES[key] for key, value in self._identity.items() if state.get(key) != value]
        if other:
            raise DataError(
                f"{path.parent} holds a run with {' and '.join(other)}",
                hint="resume it as it was begun, or remove the folder to begin anew",
            )
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = tensor
        self.network.load_state_dict(parts["network"])
        if self.average:
            self.average.network.load_state_dict(parts["average"])
        self.best, self.notes = parts.get("best", {}), parts.get("notes", {})
        self._optimizer_was = parts.get("optimizer", {})
        self.history = [self.result(**row) for row in state["history"]]
        self.best_value, self.stale = state["best_value"], state["stale"]


def write_table(path: Path, history: Sequence[EpochResult]) -> None:
    """Write ``training.csv`` whole or not at all: a line for each epoch, a column for each field of its result."""
    write_csv(path, [f.name for f in fields(history[0])], (asdict(row).values() for row in history))
