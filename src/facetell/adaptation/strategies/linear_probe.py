"""``linear-probe``: only the head learns, on the frozen backbone."""

from __future__ import annotations

from facetell.adaptation.replay import Plan, train_with_replay
from facetell.adaptation.task import AdaptTask, Model, Strategy, head_of, no_head

__all__ = ["STRATEGY"]

PLAN = Plan(lr=3e-3, passes=20, least=60)


def learn(task: AdaptTask) -> Model:
    """Train the head on the frozen backbone's feature maps."""
    network = task.model.copy(learns=False)
    head = [parameter.requires_grad_(True) for parameter in head_of(network)]
    train_with_replay(network, [{"params": head}], task, PLAN, still=[network], frozen=True)
    return task.model.having(network)


STRATEGY = Strategy("linear-probe", "the head alone, on the frozen backbone", no_head, learn)
