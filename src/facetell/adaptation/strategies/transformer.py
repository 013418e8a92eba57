"""``fdftnet``: a Fine-Tune Transformer and a MobileNet head on the frozen backbone (the FDFtNet paper's own answer)."""

from __future__ import annotations

import torch

from facetell.adaptation.replay import Lesson, Plan, replay
from facetell.adaptation.task import Known, Strategy, grown
from facetell.methods import get_method
from facetell.settings import resolve

__all__ = ["STRATEGY"]

PLAN = Plan(lr=1e-3, passes=5, least=20, fresh=16, old=16)
"""Small steps and few, as the Transformer costs ten times what the others do."""


def learn(known: Known, lesson: Lesson) -> Known:
    """Train what FDFtNet adds to a backbone; an FDFtNet goes on with its own."""
    method = get_method("fdftnet")
    torch.manual_seed(lesson.seed)
    if known.method == method.name:
        settings, network = known.settings, known.copied()
    else:
        old = known.settings
        given = {"backbone": old.backbone, "size": old.size, "pretrained": "none", "train_backbone": False}
        settings = resolve(method.settings, given)
        network = method.build(settings)
        network.get_submodule("backbone").load_state_dict(known.network.get_submodule("backbone").state_dict())
    backbone = network.get_submodule("backbone")
    backbone.requires_grad_(False)
    added = [parameter for parameter in network.parameters() if parameter.requires_grad]
    replay(network, [{"params": added}], lesson, PLAN, still=[backbone], frozen=True)
    return Known(method.name, settings, network)


STRATEGY = Strategy(
    "fdftnet",
    "Fine-Tune Transformer and MobileNet head on the frozen backbone",
    grown,
    learn,
    mixes=False,
)
