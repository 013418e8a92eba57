"""``norms``: scale and shift of every norm, and the head; in a backbone without norms every bias (BitFit).

Frankle, Schwab and Morcos (2021) for norms; Ben Zaken, Goldberg and Ravfogel (2022) for biases.
"""

from __future__ import annotations

from facetell.adaptation.replay import Plan, train_with_replay
from facetell.adaptation.task import AdaptTask, Model, Strategy, head_of, no_head, norms_of
from facetell.networks.tuning import norm_parameters

__all__ = ["STRATEGY"]

PLAN = Plan(lr=2e-3, weight_decay=0.0)


def learn(task: AdaptTask) -> Model:
    """Train norms, or biases, and the head."""
    network = task.model.copy(learns=False)
    affine, head = norm_parameters(network.get_submodule("backbone")), head_of(network)
    for parameter in (*affine, *head):
        parameter.requires_grad_(True)
    train_with_replay(network, [{"params": affine}, {"params": head}], task, PLAN, still=norms_of(network))
    return task.model.having(network)


def _obstacle(task: AdaptTask) -> str | None:
    return no_head(task) or (
        None if norm_parameters(task.model.backbone) else "the backbone has neither norms nor biases"
    )


STRATEGY = Strategy("norms", "norms (where there are none: biases) and the head", _obstacle, learn)
