"""What ``adapt`` is asked, what a strategy is given for it, and what every strategy provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from facetell.adaptation.model import Model
from facetell.adaptation.second_backbone import SecondBackbone
from facetell.detector.replay_vectors import ReplayVectors
from facetell.faceset.samples import Samples
from facetell.faceset.table import FaceSet
from facetell.progress import Progress, silent
from facetell.training.feature_maps import FeatureMaps, Views
from facetell.training.loop import predict
from facetell.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["AUGMENTATION", "SPLIT", "AdaptOptions", "AdaptTask", "Model", "ReplayBuffer", "Strategy"]

SPLIT = "finetune"
"""The split of the new faces."""
AUGMENTATION = Recipe().augmentation
VIEWS = 2
"""Augmented views of each face that a frozen backbone computes feature maps of: training is so short that it meets a face
about twice."""


@dataclass(frozen=True)
class AdaptOptions:
    """What a person asks of ``adapt``; :func:`facetell.adapt` says what each means."""

    fake: Path | None = None
    real: Path | None = None
    faces: str = "auto"
    shots: int | None = None
    strategy: str = "auto"
    backbone: str | None = None
    pretrained: str | None = None
    size: int | None = None
    margin: float = 0.01
    trust_labels: bool = False
    seed: int = 0
    device: str = "auto"
    progress: Progress = silent


@dataclass(frozen=True)
class ReplayBuffer:
    """Old faces in three parts that share no face; ``logits`` (N,) are the old model's of ``learn``.

    ``learn`` is learned from again, ``choose`` compares candidates, and ``check`` is for the acceptance check: nothing was
    learned from these two now, but from ``check_seen`` of ``check`` by an earlier ``adapt``. All come from ``faces``.
    """

    faces: FaceSet | ReplayVectors
    learn: Samples
    logits: NDArray[np.float32]
    choose: Samples
    check: Samples
    check_seen: int = 0

    @property
    def pictures(self) -> bool:
        """Whether old faces can be looked at, and not only judged by what experts read of them."""
        return isinstance(self.faces, FaceSet)


@dataclass(frozen=True)
class AdaptTask:
    """All that a strategy learns from: ``new`` faces and, where the detector keeps one, a replay buffer.

    ``model`` is the old one and is not changed. ``second`` is the second backbone for experts, if there is one. ``maps``
    are feature maps of the old backbone for augmented views of the new faces and of those in the replay buffer.
    """

    model: Model
    new: Samples
    replay: ReplayBuffer | None
    second: SecondBackbone | None
    maps: tuple[FeatureMaps, ...]
    seed: int
    fabric: Fabric
    unit: float = 1.0
    """How many units of the old network's logits are one of log-odds: its temperature."""
    point: tuple[float, float] | None = None
    """The old detector's default operating point: its logit, and the share of reals that may lie above it."""

    @classmethod
    def of(
        cls, model: Model, new: Samples, replay: ReplayBuffer | None, seed: int, fabric: Fabric, folder: Path
    ) -> AdaptTask:
        """A task without a second backbone; feature maps are kept in ``folder``."""
        maps = list[FeatureMaps]()
        if model.method != "experts":  # whose network nothing changes
            parts = [new, *([replay.learn] if replay else [])]
            maps = [
                FeatureMaps(model.backbone, part.images, part.rows, Views(AUGMENTATION, seed, VIEWS), fabric, folder)
                for part in parts
            ]
        return cls(model, new, replay, None, tuple(maps), seed, fabric)

    def subset(self, positions: NDArray[np.int64]) -> AdaptTask:
        """The same with some of the new faces."""
        return replace(self, new=self.new.subset(positions))

    def predict(self, model: Model, samples: Samples) -> NDArray[np.float32]:
        """Logits (N,) of faces at the size that the model takes; a mixture's from what its experts read once."""
        if self.second and self.second.knows(model):
            return self.second.judge(model, samples, self.fabric)
        return predict(model.network, samples, self.fabric)


@dataclass(frozen=True)
class Strategy:
    """One way to learn a new kind of fake.

    ``obstacle`` says in words why it cannot work on a task, or None. ``learn`` gives the model that has learned.
    ``interpolates``: its network has the old network's tensors, so the mean of both is a network too (WiSE-FT: Wortsman et
    al. 2022). ``light``: its models share what is large, so many can be kept.
    """

    name: str
    summary: str
    obstacle: Callable[[AdaptTask], str | None]
    learn: Callable[[AdaptTask], Model]
    interpolates: bool = True
    light: bool = False


def head_of(network: Any) -> list[nn.Parameter]:
    """The parameters of the head that learn by gradients; trees and kernels have none."""
    return list(network.head.parameters())


def norms_of(network: nn.Module) -> list[nn.Module]:
    """Batch norms. They stay in evaluation mode: a few images would spoil their running statistics."""
    return [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]


def has_experts(task: AdaptTask) -> str | None:
    """Why a strategy that changes a network cannot change a mixture of experts, or one that has a place for them."""
    if task.model.method == "experts":
        return "the detector is a mixture of experts, which only takes one more"
    if task.model.method == "depth":
        return "the detector reads a frozen backbone at every depth, where an expert learns more"
    return None


def no_head(task: AdaptTask) -> str | None:
    """Why a strategy that trains the head cannot: a mixture of experts, or a classical classifier."""
    why = has_experts(task)
    return why or (None if head_of(task.model.network) else f"the head of {task.model.method} has no gradients")
