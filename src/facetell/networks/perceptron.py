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
        return self.of_kinds(vectors).logsumexp(dim=1)

    def of_kinds(self, vectors: Tensor) -> Tensor:
        """The logit of each kind of fakes (N, K)."""
        return self.dense(self.hidden(self.scaled(vectors)))


class DepthClassifier(nn.Module):
    """A backbone's `DepthStatistics`, then a perceptron: images (N, 3, S, S) in [0, 1] to logits (N,).

    Where the backbone has learned, too, it has forgotten much that a new kind of fake may need. ``untuned`` is the same as it
    was before: the verdict does not need it, and experts read it.
    """

    def __init__(
        self,
        statistics: DepthStatistics,
        width: int,
        dropout: float,
        kinds: int = 1,
        untuned: DepthStatistics | None = None,
    ) -> None:
        super().__init__()
        self.statistics = statistics
        self.head = Perceptron(statistics.length, width, dropout, kinds)
        self.untuned = untuned

    @property
    def backbone(self) -> Backbone:
        """The backbone, without the blocks that are not read."""
        return self.statistics.backbone

    @property
    def for_experts(self) -> DepthStatistics:
        """What experts read."""
        return self.untuned or self.statistics

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.of_kinds(images).logsumexp(dim=1)

    def of_kinds(self, images: Tensor) -> Tensor:
        """The logit of each kind of fakes (N, K)."""
        vectors = self.statistics(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.head.of_kinds(vectors)

    def from_vectors(self, images: Tensor, vectors: Tensor) -> Tensor:
        """Logits (N,), by a shorter way where the head reads what experts do: ``vectors`` (N, D) of `for_experts`."""
        return self(images) if self.untuned else self.head(vectors)
