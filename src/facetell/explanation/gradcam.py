"""Grad-CAM (Selvaraju et al., ICCV 2017, arXiv:1610.02391), computed by captum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facetell.errors import learning
from facetell.explanation.gradcam_places import Place, tapped

__all__ = ["explains_by_gradient", "grad_cam"]


def grad_cam(network: nn.Module, place: Place, images: Tensor) -> Tensor:
    """What each cell of a place's map speaks for: (N, 3, S, S) in [0, 1] to (N, h, w), positive = fake.

    A channel's weight is the mean gradient of the logit over its cells; a cell's value is its channels' weighted sum
    (equations 1 and 2, without the ReLU). There is one logit for two classes, so the positive part is the paper's map
    for fake, and the negative part its map for real ("counterfactual", section 3.3). Where maps lie side by side their
    values add up, as they would were they one.

    Raises ``MissingExtraError`` without captum.
    """
    with learning("Grad-CAM"):
        from captum.attr import LayerGradCam
    total = torch.zeros(len(images), place.side, place.side, device=images.device)
    for name in place.modules:
        with tapped(network.get_submodule(name)) as tap:
            values: Tensor = LayerGradCam(network, tap).attribute(images)
            total += values[:, 0].detach()
    return total


def explains_by_gradient(network: nn.Module, size: int) -> bool:
    """Whether the logit has a gradient at all: that of decision trees has none."""
    probe = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    with torch.enable_grad():
        return bool(network(probe.requires_grad_()).requires_grad)
