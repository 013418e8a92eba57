"""``lora``: low-rank adaptation (Hu et al. 2022) of every convolution and dense layer of the backbone; and the head.

The products are those of ``finetune`` with ``train=lora``. peft, the usual library, brings transformers along, whose import
alone takes longer than the training.
"""

from __future__ import annotations

import torch

from facetell.adaptation.replay import Plan, train_with_replay
from facetell.adaptation.task import AdaptTask, Model, Strategy, head_of, no_head, norms_of
from facetell.networks.tuning import low_rank

__all__ = ["STRATEGY"]

PLAN = Plan(lr=2e-3, weight_decay=0.0)
RANK = 8


def learn(task: AdaptTask) -> Model:
    """Train the products and the head, then merge."""
    torch.manual_seed(task.seed)
    network = task.model.copy(learns=False)
    added = low_rank(network.get_submodule("backbone"), RANK)
    head = [parameter.requires_grad_(True) for parameter in head_of(network)]
    train_with_replay(network, [{"params": added.parameters}, {"params": head}], task, PLAN, still=norms_of(network))
    added.merge()
    return task.model.having(network)


STRATEGY = Strategy("lora", "thin matrices added to every layer, and the head (LoRA)", no_head, learn)
