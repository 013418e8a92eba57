"""``norms``: scale and shift of every norm, and the head; where there are no norms, every bias (BitFit).

Frankle, Schwab and Morcos (2021) for norms; Ben Zaken, Goldberg and Ravfogel (2022) for biases.
"""

from __future__ import annotations

from torch import nn

from facetell.adaptation.replay import Lesson, Plan, replay
from facetell.adaptation.task import Known, Strategy, head_of, no_head, norms_of

__all__ = ["STRATEGY"]

PLAN = Plan(lr=2e-3, weight_decay=0.0)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def learn(known: Known, lesson: Lesson) -> Known:
    """Train norms, or biases, and the head."""
    network = known.copied()
    network.requires_grad_(False)
    affine = _affine(network.get_submodule("backbone"))
    for parameter in (*affine, *head_of(network)):
        parameter.requires_grad_(True)
    replay(
        network, [{"params": affine}, {"params": head_of(network)}], lesson, PLAN, still=norms_of(network)
    )  # fmt: skip
    return Known(known.method, known.settings, network)


def _affine(backbone: nn.Module) -> list[nn.Parameter]:
    norms = [parameter for part in backbone.modules() if isinstance(part, NORMS) for parameter in part.parameters()]
    return norms or [parameter for name, parameter in backbone.named_parameters() if name.endswith("bias")]


def _obstacle(known: Known, lesson: Lesson) -> str | None:
    why = no_head(known, lesson)
    if why is None and not _affine(known.network.get_submodule("backbone")):
        return "the backbone has neither norms nor biases"
    return why


STRATEGY = Strategy("norms", "norms (where there are none: biases) and the head", _obstacle, learn)
