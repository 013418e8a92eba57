"""A perceptron on what a frozen backbone sees at every depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facetell.networks.backbones import Backbone
from facetell.networks.depth import DepthStatistics
from facetell.networks.mixture import Probe

__all__ = ["DepthClassifier", "Perceptron"]

INPUT_DROPOUT = 0.2


class Perceptron(Probe):
    """Features (N, D), centred, scaled and cut off as by `Probe`, through two hidden layers to logits (N,).

    The second layer has half the ``width`` of the first; ``dropout`` is before the second and the last one. Each of ``kinds``
    of fakes has a logit of its own, and log Σ exp of these is the face's: it is fake if any kind says so.
    """

    def __init__(self, features: int, width: int, dropout: float, kinds: int = 1) -> None:
        super().__init__(features)
        half = max(width // 2, 1)
        self.hidden = nn.Sequential(
            nn.Dropout(INPUT_DROPOUT),
            nn.Linear(features, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, half),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.dense = nn.Linear(half, kinds)

    def forward(self, vectors: Tensor) -> Tensor:  # noqa: D102
        return self.dense(self.hidden(self.scaled(vectors))).logsumexp(dim=1)


class DepthClassifier(nn.Module):
    """A frozen backbone's `DepthStatistics`, then a perceptron: images (N, 3, S, S) in [0, 1] to logits (N,)."""

    def __init__(self, statistics: DepthStatistics, width: int, dropout: float, kinds: int = 1) -> None:
        super().__init__()
        self.statistics = statistics
        self.head = Perceptron(statistics.length, width, dropout, kinds)

    @property
    def backbone(self) -> Backbone:
        """The backbone, without the blocks that are not read."""
        return self.statistics.backbone

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        vectors = self.statistics(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.head(vectors)
