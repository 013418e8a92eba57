"""``full``: every layer learns, the earlier the less, and is pulled back to its old weights (L2-SP)."""

from __future__ import annotations

from facetell.adaptation.replay import Plan, train_with_replay
from facetell.adaptation.task import AdaptTask, Model, Strategy, no_head, norms_of
from facetell.networks.backbones import Backbone

__all__ = ["STRATEGY"]

PLAN = Plan(lr=4e-4, passes=12, fresh=32, old=32, pull=0.01)
DECAY = 0.8
"""Factor on the learning rate from one block to the one before it."""


def learn(task: AdaptTask) -> Model:
    """Train every layer at a learning rate that falls towards the first."""
    network = task.model.copy()
    backbone = network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    blocks = backbone.blocks()
    inside = {id(parameter) for block in blocks for parameter in block}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    groups: list[dict[str, object]] = [{"params": rest}]
    groups += [{"params": block, "factor": DECAY**depth} for depth, block in enumerate(reversed(blocks), 1)]
    train_with_replay(network, groups, task, PLAN, still=norms_of(network))
    return task.model.having(network)


STRATEGY = Strategy("full", "every layer, the earlier the less, pulled to its old weights", no_head, learn)
