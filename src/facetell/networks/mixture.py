"""A mixture of experts: a detector's network stays as it is, and experts on a second backbone correct its logit."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.networks.backbones import Backbone
from facetell.networks.depth import DepthStatistics
from facetell.networks.heads import zero_neuron

__all__ = ["MixtureOfExperts", "Probe"]

CLIP = 5.0
"""Standard deviations at which a feature is cut off: one far outside of what was learned from must not decide alone."""


class Probe(nn.Module):
    """Logistic regression: features (N, D), which it centres, scales and cuts off at `CLIP`, to logits (N,)."""

    centre: Tensor
    spread: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.dense = zero_neuron(features)

    def forward(self, vectors: Tensor) -> Tensor:  # noqa: D102
        return self.dense(self.scaled(vectors)).squeeze(1)

    def scaled(self, vectors: Tensor) -> Tensor:
        """The features as the regression reads them (N, D)."""
        return ((vectors - self.centre) / self.spread).clamp(-CLIP, CLIP)


class Expert(nn.Module):
    """For one kind of fake: ``head`` tells its fakes from reals, ``gate`` how much that counts for a face."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head = Probe(features)
        self.gate = Probe(features)


class AtSize(nn.Module):
    """A frozen network that gets images at its own size; larger ones are resized by an antialiased bilinear filter.

    That is how files are resized when they are decoded. Averaging over areas cost a detector of face swaps .02 of AUROC.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != self.size:
            images = self._resized(images)
        return self.network(images)

    def _resized(self, images: Tensor) -> Tensor:
        if not torch.onnx.is_in_onnx_export():
            return F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        # ONNX's own filter is another near the edges: the same as a product with what it makes of single pixels.
        side = int(images.shape[-1])
        rows = F.interpolate(torch.eye(side)[None, None], (self.size, side), mode="bilinear", antialias=True)[0, 0]
        return rows @ images @ rows.T

    def train(self, mode: bool = True) -> AtSize:
        """Stay in evaluation mode."""
        return super().train(False)


class MixtureOfExperts(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to logits (N,) by a mixture of experts (Jacobs et al. 1991).

    The logit of the old network, which gets the images at its own size, comes first. Each expert in turn then replaces
    it by (1 - g) · logit + g · own, where g in (0, 1) comes from its gate. All experts read the `DepthStatistics` of one
    frozen second backbone, so one more kind of fake costs two logistic regressions, and nothing older changes. Where the old
    network is a head on such statistics itself, they read the same, or its backbone as it was before it learned (``backbone``
    is None).
    """

    def __init__(self, old: nn.Module, old_size: int, backbone: Backbone | None, size: int, experts: int = 1) -> None:
        super().__init__()
        self.old = AtSize(old, old_size).eval()
        self.second = DepthStatistics(backbone, size) if backbone else None
        self.experts = nn.ModuleList(Expert(self.statistics.length) for _ in range(experts))

    @property
    def statistics(self) -> DepthStatistics:
        """What the experts read."""
        read = self.second or self.old.network.for_experts
        assert isinstance(read, DepthStatistics)
        return read

    @property
    def backbone(self) -> Backbone:
        """The second backbone, or the only one."""
        return self.statistics.backbone

    @classmethod
    def beside(cls, old: AtSize, statistics: DepthStatistics | None) -> MixtureOfExperts:
        """An old network and one expert that has learned nothing yet; the frozen parts are shared, not copied."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.old, made.second = old, statistics
        made.experts = nn.ModuleList([Expert(made.statistics.length)])
        return made

    def with_expert(self) -> MixtureOfExperts:
        """The same with one expert more, which has learned nothing yet; the frozen parts are shared, not copied."""
        grown = self.beside(self.old, self.second)
        grown.experts = nn.ModuleList([*copy.deepcopy(self.experts), Expert(self.statistics.length)])
        return grown

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        vectors = self.statistics(images)
        return self.mix(self.old_logits(images, vectors), vectors)

    def old_logits(self, images: Tensor, vectors: Tensor) -> Tensor:
        """Logits (N,) of the old network, by a shorter way where it reads the same statistics ``vectors`` (N, D)."""
        if self.second is not None:
            return self.old(images)
        shorter: Any = self.old.network.from_vectors
        logits: Tensor = shorter(images, vectors)
        return logits

    def mix(self, old: Tensor, vectors: Tensor) -> Tensor:
        """Logits (N,) from those of the old network (N,) and the statistics (N, D)."""
        logit = old.float()
        with torch.autocast(vectors.device.type, enabled=False):
            for expert in self.experts:
                assert isinstance(expert, Expert)
                logit = torch.lerp(logit, expert.head(vectors), torch.sigmoid(expert.gate(vectors)))
        return logit
