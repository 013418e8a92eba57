"""``whole``: every layer learns, the earlier the less, pulled back to where it was (L2-SP)."""

from __future__ import annotations

from facetell.adaptation.replay import Lesson, Plan, replay
from facetell.adaptation.task import Known, Strategy, no_head, norms_of
from facetell.networks.backbones import Backbone

__all__ = ["STRATEGY"]

PLAN = Plan(lr=4e-4, passes=12, fresh=32, old=32, pull=0.01)
DECAY = 0.8
"""Factor on the learning rate from one block to the one before it."""


def learn(known: Known, lesson: Lesson) -> Known:
    """Train everything with a rate that decays towards the stem."""
    network = known.copied()
    backbone = network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    blocks = backbone.blocks()
    inside = {id(parameter) for block in blocks for parameter in block}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    groups: list[dict[str, object]] = [{"params": rest}]
    groups += [{"params": block, "factor": DECAY**depth} for depth, block in enumerate(reversed(blocks), 1)]
    replay(network, groups, lesson, PLAN, still=norms_of(network))
    return Known(known.method, known.settings, network)


STRATEGY = Strategy("whole", "every layer, the earlier the less, pulled to its old weights", no_head, learn)
