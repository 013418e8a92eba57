"""``low-rank``: every convolution and dense layer of the backbone gets a product of two thin matrices added; and the head.

LoRA (Hu et al. 2022). The product is merged into the weights at the end, so that the network stays what it was. Our own
thirty lines: peft, the usual library, brings transformers along, whose import alone takes longer than the training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from facetell.adaptation.replay import Lesson, Plan, replay
from facetell.adaptation.task import Known, Strategy, head_of, no_head, norms_of

__all__ = ["STRATEGY", "LowRank"]

PLAN = Plan(lr=2e-3, weight_decay=0.0)
RANK = 8


class LowRank(nn.Module):
    """A weight (out, …) plus up (out, r) times down (r, …), which begins as zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        flat = weight.flatten(1)
        self.up = nn.Parameter(torch.zeros(len(flat), rank))
        self.down = nn.Parameter(torch.empty(rank, flat.shape[1]))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:  # noqa: D102
        return weight + (self.up @ self.down).view_as(weight)


def learn(known: Known, lesson: Lesson) -> Known:
    """Train the products and the head, then merge."""
    torch.manual_seed(lesson.seed)
    network = known.copied()
    network.requires_grad_(False)
    layers = [part for part in network.get_submodule("backbone").modules() if _fits(part)]
    added: list[nn.Parameter] = []
    for layer in layers:
        weight = layer.get_parameter("weight")
        product = LowRank(weight, min(RANK, *weight.flatten(1).shape)).to(weight.device)
        parametrize.register_parametrization(layer, "weight", product)
        added += product.parameters()
    for parameter in head_of(network):
        parameter.requires_grad_(True)
    replay(network, [{"params": added}, {"params": head_of(network)}], lesson, PLAN, still=norms_of(network))
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return Known(known.method, known.settings, network)


def _fits(part: nn.Module) -> bool:
    if isinstance(part, nn.Conv2d):
        return part.groups == 1
    return isinstance(part, nn.Linear)


STRATEGY = Strategy("low-rank", "thin matrices added to every layer, and the head (LoRA)", no_head, learn)
