"""``fdftnet``: a Fine-Tune Transformer and a MobileNet head on the frozen backbone, as the FDFtNet paper adapts."""

from __future__ import annotations

import torch

from facetell.adaptation.replay import Plan, train_with_replay
from facetell.adaptation.task import AdaptTask, Model, Strategy, has_experts
from facetell.methods import get_method
from facetell.settings import resolve

__all__ = ["STRATEGY"]

PLAN = Plan(lr=1e-3, passes=5, least=20, fresh=16, old=16)
"""Few and small steps, as the Transformer costs ten times what the other strategies do."""


def learn(task: AdaptTask) -> Model:
    """Train what FDFtNet adds to a backbone; an FDFtNet trains on with what it has."""
    method = get_method("fdftnet")
    torch.manual_seed(task.seed)
    old = task.model
    settings, network = old.settings, old.copy()
    if old.method != method.name:
        given = {
            "backbone": settings.backbone, "size": settings.size, "pretrained": "none", "train_backbone": False,
        }  # fmt: skip
        settings = resolve(method.settings, given)
        network = method.build(settings)
        network.get_submodule("backbone").load_state_dict(old.backbone.state_dict())
    backbone = network.get_submodule("backbone").requires_grad_(False)
    added = [parameter for parameter in network.parameters() if parameter.requires_grad]
    train_with_replay(network, [{"params": added}], task, PLAN, still=[backbone], frozen=True)
    return Model(method.name, settings, network)


STRATEGY = Strategy(
    "fdftnet", "Fine-Tune Transformer and MobileNet head on the frozen backbone", has_experts, learn, interpolates=False
)
