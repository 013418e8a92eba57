"""``beside``: a second backbone with general weights learns the new kind, and a gate learns when to ask it.

The old network stays what it was. What it had to forget of general pictures to become a detector is what a new kind of
fake needs: of 100 StyleGAN faces a network learns more when it starts from ImageNet than from a detector of face swaps.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facetell.adapting.contract import Known, Strategy, norms_of
from facetell.data.batches import iterate
from facetell.evaluation.shortcuts import logistic_ridge
from facetell.methods import get_method
from facetell.networks.beside import Beside
from facetell.networks.heads import PooledLinear
from facetell.settings import as_dict, resolve
from facetell.training.loop import Samples
from facetell.training.replay import Lesson, Plan, replay

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["STRATEGY"]

PLAN = Plan(lr=2e-4, passes=16, least=34, fresh=32)
"""Rate, passes and batch are those of `finetune`'s preset few-shot, as this is the same task: few images, general weights."""
PENALTY = 1.0
"""Of the gate's ridge."""


class _Alone(nn.Module):
    """The new part by itself, which learns as if there were no other."""

    def __init__(self, network: Beside) -> None:
        super().__init__()
        self.backbone, self.head = network.backbone, network.head

    def forward(self, images: Tensor) -> Tensor:
        logit: Tensor = self.head(self.backbone(images))
        return logit


def learn(known: Known, lesson: Lesson) -> Known:
    """Train the second backbone on the new images, then fit the gate to tell these from the memory."""
    assert lesson.start is not None
    assert lesson.memory is not None
    torch.manual_seed(lesson.seed)
    old, origin = known.settings, lesson.start
    given = {
        "backbone": origin.backbone,
        "weights": origin.weights,
        "size": old.size,
        "old_method": known.method,
        "old_settings": json.dumps(as_dict(old)),
    }
    settings: Any = resolve(get_method("beside").settings, given)
    network = Beside(copy.deepcopy(known.network), copy.deepcopy(origin.body), old.size)
    alone = _Alone(network)
    groups = [{"params": list(alone.parameters())}]
    replay(alone, groups, replace(lesson, memory=None), PLAN, still=norms_of(alone))
    vectors = [_pooled(network, samples, lesson.fabric) for samples in (lesson.memory.samples, lesson.new)]
    _fit_gate(network.gate, vectors[0], vectors[1])
    return Known("beside", settings, network.eval())


@torch.no_grad()
def _pooled(network: Beside, samples: Samples, fabric: Fabric) -> NDArray[np.float64]:
    """What the gate sees (N, C)."""
    found = []
    for pixels, _ in iterate(samples.images, samples.rows, 256, fabric.device):
        with fabric.autocast():
            found.append(network.backbone(pixels.float().div_(255)).mean(dim=(2, 3)).double().cpu().numpy())
    return np.concatenate(found)


def _fit_gate(gate: PooledLinear, old: NDArray[np.float64], new: NDArray[np.float64]) -> None:
    """A ridge-penalised logistic regression, new from old, as if there were as many of either."""
    x, y = np.concatenate([old, new]), np.repeat([False, True], [len(old), len(new)])
    centre, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    weights, intercept = logistic_ridge((x - centre) / spread, y, PENALTY)
    weights = weights / spread
    intercept -= float(weights @ centre) + np.log(len(new) / len(old))
    gate.dense.weight.data.copy_(torch.from_numpy(weights)[None])
    gate.dense.bias.data.fill_(intercept)


def _obstacle(_known: Known, lesson: Lesson) -> str | None:
    if lesson.memory is None:
        return "without a memory nothing tells when the old network is to be asked"
    if lesson.start is None:
        return "no general weights to begin with: give --weights FILE.safetensors"
    return None


STRATEGY = Strategy(
    "beside", "a second backbone beside the old network, and a gate between them", _obstacle, learn, mixes=False
)
