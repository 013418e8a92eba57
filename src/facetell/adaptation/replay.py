"""Training on a few new faces with replay: every step sees some of them and some old faces.

On old faces the network is held to their labels and to its own old logits (dark experience replay, DER++: Buzzega et al.
2020). It may also be pulled back to its old weights (L2-SP: Li, Grandvalet and Davoine 2018). The result is the running
average of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.adaptation.task import AUGMENTATION, AdaptTask
from facetell.faceset.samples import Samples
from facetell.networks.acceleration import channels_last
from facetell.networks.backbones import Backbone
from facetell.training.augment import apply, draw
from facetell.training.batches import balanced_order
from facetell.training.loop import seed_epoch
from facetell.training.recipe import Recipe, build_optimizer, learning_rate_factor
from facetell.training.run import WeightAverage

__all__ = ["Plan", "replay_loss", "train_with_replay"]


@dataclass(frozen=True)
class Plan:
    """How long and how hard a strategy trains.

    A step takes ``fresh`` new faces and ``old`` ones from the replay buffer, half of each label. There are ``passes`` over
    the rarer label of the new faces, but between ``least`` and ``most`` steps. ``hold`` weighs the squared distance to the
    old logits, ``pull`` that to the old weights.
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
        """Steps for new faces with these labels (N,)."""
        rarer = int(np.bincount(labels, minlength=2).min())
        return min(max(self.least, math.ceil(self.passes * 2 * rarer / self.fresh)), self.most)


def replay_loss(logits: Tensor, labels: list[Tensor], old_logits: Tensor | None, plan: Plan) -> Tensor:
    """Cross-entropy on new and on old faces, and on the old ones the squared distance to the old logits.

    ``logits`` are of the new faces, then of the old ones; ``labels`` of the new, then of the old.
    """
    count = len(labels[0])
    loss = F.binary_cross_entropy_with_logits(logits[:count].float(), labels[0])
    if old_logits is not None:
        old = logits[count:].float()
        loss = loss + F.binary_cross_entropy_with_logits(old, labels[1]) + plan.hold * F.mse_loss(old, old_logits)
    return loss


def train_with_replay(
    network: nn.Module,
    groups: list[dict[str, Any]],
    task: AdaptTask,
    plan: Plan,
    still: Iterable[nn.Module],
    frozen: bool = False,
) -> None:
    """Train ``network`` in place.

    ``groups`` are parameter groups as ``build_optimizer`` takes them; ``still`` are parts that stay in evaluation mode.
    ``frozen``: the backbone is the task's and learns nothing, so its feature maps are read from the task.
    """
    fabric, replay = task.fabric, task.replay
    steps = plan.steps(task.new.labels)
    recipe = Recipe(lr=plan.lr, weight_decay=plan.weight_decay)
    channels_last(network.to(fabric.device))
    learning: list[nn.Parameter] = [parameter for group in groups for parameter in group["params"]]
    anchors = [parameter.detach().clone() for parameter in learning] if plan.pull else []
    average = WeightAverage(network, plan.averaging)
    backbone = network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    module, optimizer = fabric.setup(network, build_optimizer(recipe, groups))
    generator = seed_epoch(task.seed, 0, 0)
    parts = [(task.new, _batches(task.new, plan.fresh, steps, task.seed))]
    if replay:
        parts.append((replay.learn, _batches(replay.learn, plan.old, steps, task.seed + 1)))
    module.train()
    for part in still:
        part.eval()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * learning_rate_factor(step, steps, recipe.warmup) * group["factor"]
        chosen = [(samples, next(batches)) for samples, batches in parts]
        labels = [torch.from_numpy(samples.labels[rows]).float().to(fabric.device) for samples, rows in chosen]
        old_logits = torch.from_numpy(replay.logits[chosen[1][1]]).to(fabric.device) if replay else None
        if frozen:
            seen = [(maps, samples.rows[rows]) for maps, (samples, rows) in zip(task.maps, chosen, strict=True)]
            with backbone.given(torch.cat([maps.maps(rows, step) for maps, rows in seen])):
                logits = module(torch.cat([maps.pixels(rows, step) for maps, rows in seen]))
        else:
            images = [_augmented(samples, rows, generator) for samples, rows in chosen]
            logits = module(torch.cat(images).to(fabric.device))
        loss = replay_loss(logits, labels, old_logits, plan)
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
    """``steps`` batches of positions, half of each label, going through the samples again and again."""
    epoch, order = 0, np.zeros(0, np.int64)
    for _ in range(steps):
        while len(order) < size:
            order = np.concatenate([order, balanced_order(samples.labels, seed, epoch)])
            epoch += 1
        yield order[:size]
        order = order[size:]


def _augmented(samples: Samples, rows: NDArray[np.int64], generator: torch.Generator) -> Tensor:
    pixels = torch.from_numpy(samples.images.gather(samples.rows[rows])).permute(0, 3, 1, 2)
    planes = pixels.contiguous().float().div_(255)
    return apply(planes, draw(len(rows), samples.images.size, AUGMENTATION, generator))
