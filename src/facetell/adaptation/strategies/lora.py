"""``lora``: low-rank adaptation (Hu et al. 2022) of every convolution and dense layer of the backbone; and the head.

Each of these layers gets a product of two thin matrices added, which is merged into its weights at the end: the network
keeps its shape. Our own thirty lines, as peft, the usual library, brings transformers along, whose import alone takes
longer than the training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from facetell.adaptation.replay import Plan, train_with_replay
from facetell.adaptation.task import AdaptTask, Model, Strategy, head_of, no_head, norms_of

__all__ = ["STRATEGY", "LowRank"]

PLAN = Plan(lr=2e-3, weight_decay=0.0)
RANK = 8


class LowRank(nn.Module):
    """A weight (out, …) plus up (out, r) times down (r, …), a product that begins as zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        flat = weight.flatten(1)
        self.up = nn.Parameter(torch.zeros(len(flat), rank))
        self.down = nn.Parameter(torch.empty(rank, flat.shape[1]))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:  # noqa: D102
        return weight + (self.up @ self.down).view_as(weight)


def learn(task: AdaptTask) -> Model:
    """Train the products and the head, then merge."""
    torch.manual_seed(task.seed)
    network = task.model.copy(learns=False)
    layers = [part for part in network.get_submodule("backbone").modules() if _fits(part)]
    added: list[nn.Parameter] = []
    for layer in layers:
        weight = layer.get_parameter("weight")
        product = LowRank(weight, min(RANK, *weight.flatten(1).shape)).to(weight.device)
        parametrize.register_parametrization(layer, "weight", product)
        added += product.parameters()
    head = [parameter.requires_grad_(True) for parameter in head_of(network)]
    train_with_replay(network, [{"params": added}, {"params": head}], task, PLAN, still=norms_of(network))
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return task.model.having(network)


def _fits(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)


STRATEGY = Strategy("lora", "thin matrices added to every layer, and the head (LoRA)", no_head, learn)
