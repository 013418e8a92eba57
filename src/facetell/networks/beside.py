"""An old network, frozen, and a second one beside it that answers for what the old one does not know."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facetell.networks.backbones import Backbone
from facetell.networks.heads import PooledLinear

__all__ = ["Beside"]


class Beside(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to logits (N,): (1 - g) · old + g · new, with g in (0, 1) from the new backbone's map.

    A mixture of two experts (Jacobs et al. 1991) of which the first stays what it was.
    """

    def __init__(self, old: nn.Module, backbone: Backbone, size: int) -> None:
        super().__init__()
        channels, _, _ = backbone.map_shape(size)
        self.old = old.requires_grad_(False)
        self.backbone = backbone
        self.head = PooledLinear(channels)
        self.gate = PooledLinear(channels)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        known: Tensor = self.old(images)
        maps = self.backbone(images)
        return torch.lerp(known.float(), self.head(maps).float(), torch.sigmoid(self.gate(maps).float()))

    def train(self, mode: bool = True) -> Beside:
        """Switch the mode of the new part; the old one always evaluates."""
        super().train(mode)
        self.old.eval()
        return self
