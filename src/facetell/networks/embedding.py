"""A backbone with two ends: an embedding to compare faces by, and a classifier (Salpekar, figure 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.networks.backbones import Backbone
from facetell.networks.heads import TwoWay

__all__ = ["Embedding", "MapClassifier", "SiameseNet"]


class Embedding(nn.Module):
    """Flatten → dense: a map (N, C, h, w) to (N, length), in single precision whatever comes in.

    ``kind`` is ``l2`` (vectors of length 1) or ``softmax`` (the sources': positive, sum 1).
    """

    def __init__(self, map_shape: tuple[int, int, int], length: int, kind: str) -> None:
        super().__init__()
        channels, height, width = map_shape
        self.kind = kind
        self.dense = nn.Linear(channels * height * width, length)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = self.dense(x.flatten(1)).float()
        return torch.softmax(y, dim=1) if self.kind == "softmax" else F.normalize(y, dim=1)


class MapClassifier(nn.Module):
    """BN → swish → 3×3 conv to 2 → global average pool → dense 2, read as one logit: (N, C, h, w) to (N,)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.two_way = TwoWay(2)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.two_way(self.conv(F.silu(self.norm(x))).mean(dim=(2, 3)))


class SiameseNet(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to logits (N,); ``embed`` gives the embeddings (N, length) instead.

    The siamese streams of phase 1 share all weights, so they are one network that sees one batch.
    """

    def __init__(self, backbone: Backbone, size: int, length: int = 128, kind: str = "l2") -> None:
        super().__init__()
        shape = backbone.map_shape(size)
        self.backbone = backbone
        self.embedding = Embedding(shape, length, kind)
        self.head = MapClassifier(shape[0])

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.head(self.backbone(images))

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (N, length) of ``images``."""
        return self.embedding(self.backbone(images))
