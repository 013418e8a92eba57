"""``head``: only what stands behind the backbone learns."""

from __future__ import annotations

from facetell.adaptation.replay import Lesson, Plan, replay
from facetell.adaptation.task import Known, Strategy, head_of, no_head

__all__ = ["STRATEGY"]

PLAN = Plan(lr=3e-3, passes=20, least=60)


def learn(known: Known, lesson: Lesson) -> Known:
    """Train the head on the frozen backbone's maps."""
    network = known.copied()
    network.requires_grad_(False)
    head = [parameter.requires_grad_(True) for parameter in head_of(network)]
    replay(network, [{"params": head}], lesson, PLAN, still=[network], frozen=True)
    return Known(known.method, known.settings, network)


STRATEGY = Strategy("head", "the head alone, on the frozen backbone", no_head, learn)
