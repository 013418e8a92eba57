"""Learn a few new images without forgetting: every step sees some of them and some of a memory of the old.

On the memory the network is held to the truth and to its own old logits (dark experience replay, DER++: Buzzega et al.
2020). It may also be pulled back to its old weights (L2-SP: Li, Grandvalet and Davoine 2018). What is kept is the
running average of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.adaptation.second_backbone import Second
from facetell.faceset.samples import Samples
from facetell.networks.acceleration import channels_last
from facetell.networks.backbones import Backbone
from facetell.training.augment import apply, draw
from facetell.training.batches import balanced_order
from facetell.training.feature_maps import FeatureMaps
from facetell.training.loop import seed_epoch
from facetell.training.recipe import Recipe, build_optimizer, learning_rate_factor
from facetell.training.run import WeightAverage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["RANGES", "Lesson", "Memory", "Plan", "remembering", "replay"]

RANGES = Recipe().augmentation


@dataclass(frozen=True)
class Memory:
    """Old images with the old detector's logits (N,) of them."""

    samples: Samples
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """How long and how hard: what a strategy says of its training.

    A step takes ``fresh`` new images and ``old`` of the memory, half of each label; there are ``passes`` over the rarer
    label of the new, but at least ``least`` steps. ``hold`` weighs the squared distance to the old logits, ``pull`` that
    to the old weights.
    """

    lr: float
    passes: int = 10
    least: int = 30
    most: int = 400
    fresh: int = 24
    old: int = 24
    hold: float = 0.05
    pull: float = 0.0
    weight_decay: float = 0.05
    averaging: float = 0.98

    def steps(self, labels: NDArray[np.int8]) -> int:
        """Steps for new images with these labels (N,)."""
        rarer = int(np.bincount(labels, minlength=2).min())
        return min(max(self.least, math.ceil(self.passes * 2 * rarer / self.fresh)), self.most)


@dataclass(frozen=True)
class Lesson:
    """The new images, the memory (None: there is none), and where maps of the old backbone are kept for either.

    ``second`` is None where no general weights are at hand.
    """

    new: Samples
    memory: Memory | None
    seed: int
    fabric: Fabric
    maps: tuple[FeatureMaps, FeatureMaps | None]
    second: Second | None = None

    def part(self, positions: NDArray[np.int64]) -> Lesson:
        """The same with some of the new images."""
        return replace(self, new=self.new.subset(positions))


def remembering(logits: Tensor, labels: list[Tensor], known: Tensor | None, plan: Plan) -> Tensor:
    """Cross-entropy on new and on old images, and on the old ones the squared distance to the old logits."""
    count = len(labels[0])
    loss = F.binary_cross_entropy_with_logits(logits[:count].float(), labels[0])
    if known is not None:
        old = logits[count:].float()
        loss = loss + F.binary_cross_entropy_with_logits(old, labels[1]) + plan.hold * F.mse_loss(old, known)
    return loss


def replay(
    network: nn.Module,
    groups: list[dict[str, Any]],
    lesson: Lesson,
    plan: Plan,
    still: Iterable[nn.Module],
    frozen: bool = False,
) -> None:
    """Train ``network`` in place; ``groups`` as ``build_optimizer`` takes them.

    ``still`` are parts that stay in evaluation mode. With ``frozen`` its backbone does not learn, and is not computed:
    the lesson has its maps.
    """
    fabric, memory = lesson.fabric, lesson.memory
    steps = plan.steps(lesson.new.labels)
    recipe = Recipe(lr=plan.lr, weight_decay=plan.weight_decay)
    channels_last(network.to(fabric.device))
    learning: list[nn.Parameter] = [parameter for group in groups for parameter in group["params"]]
    anchors = [parameter.detach().clone() for parameter in learning] if plan.pull else []
    average = WeightAverage(network, plan.averaging)
    backbone = network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    module, optimizer = fabric.setup(network, build_optimizer(recipe, groups))
    generator = seed_epoch(lesson.seed, 0, 0)
    parts: list[tuple[Samples, FeatureMaps | None, Iterator[NDArray[np.int64]]]]
    parts = [(lesson.new, lesson.maps[0], _batches(lesson.new, plan.fresh, steps, lesson.seed))]
    if memory:
        parts.append((memory.samples, lesson.maps[1], _batches(memory.samples, plan.old, steps, lesson.seed + 1)))
    module.train()
    for part in still:
        part.eval()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * learning_rate_factor(step, steps, recipe.warmup) * group["factor"]
        chosen = [(samples, maps, next(batches)) for samples, maps, batches in parts]
        labels = [torch.from_numpy(samples.labels[rows]).float().to(fabric.device) for samples, _, rows in chosen]
        known = torch.from_numpy(memory.logits[chosen[1][2]]).to(fabric.device) if memory else None
        if frozen:
            seen = [(maps, samples.rows[rows]) for samples, maps, rows in chosen if maps]
            with backbone.given(torch.cat([maps.maps(rows, step) for maps, rows in seen])):
                outputs = module(torch.cat([maps.pixels(rows, step) for maps, rows in seen]))
        else:
            outputs = module(
                torch.cat([_images(samples, rows, generator) for samples, _, rows in chosen]).to(fabric.device)
            )
        loss = remembering(outputs, labels, known, plan)
        for parameter, anchor in zip(learning, anchors, strict=False):
            loss = loss + plan.pull * (parameter - anchor).square().sum()
        optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(module, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
        optimizer.step()
        average.update(network, step)
    network.load_state_dict(average.network.state_dict())
    network.eval()


def _batches(samples: Samples, size: int, steps: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """``steps`` batches of positions, half of each label, walking through the samples again and again."""
    epoch, order = 0, np.zeros(0, np.int64)
    for _ in range(steps):
        while len(order) < size:
            order = np.concatenate([order, balanced_order(samples.labels, seed, epoch)])
            epoch += 1
        yield order[:size]
        order = order[size:]


def _images(samples: Samples, rows: NDArray[np.int64], generator: torch.Generator) -> Tensor:
    pixels = torch.from_numpy(samples.images.gather(samples.rows[rows])).permute(0, 3, 1, 2)
    planes = pixels.contiguous().float().div_(255)
    return apply(planes, draw(len(rows), samples.images.size, RANGES, generator))
