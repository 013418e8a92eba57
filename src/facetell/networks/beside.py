"""An old network, and a second backbone beside it whose experts answer for what the old one does not know."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.networks.backbones import Backbone
from facetell.networks.depth import DepthStatistics

__all__ = ["Beside", "Probe"]

CLIP = 5.0
"""Standard deviations that count, at most: a number far outside of what was learned from must not decide alone."""


class Probe(nn.Module):
    """One neuron (N, D) to (N,) on numbers that are centred, scaled, and cut off at `CLIP`."""

    centre: Tensor
    spread: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.dense = nn.Linear(features, 1)
        nn.init.zeros_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, vectors: Tensor) -> Tensor:  # noqa: D102
        logit: Tensor = self.dense(self.scaled(vectors)).squeeze(1)
        return logit

    def scaled(self, vectors: Tensor) -> Tensor:
        """What the neuron sees (N, D)."""
        return ((vectors - self.centre) / self.spread).clamp(-CLIP, CLIP)


class Expert(nn.Module):
    """What tells one new kind: ``head`` fakes from reals, ``gate`` whether it is asked at all."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head = Probe(features)
        self.gate = Probe(features)


class AtSize(nn.Module):
    """A network that sees images at its own size: larger ones are resized as files are when they are decoded.

    By an antialiased bilinear filter. Averaging over areas instead costs a detector of face swaps .02 of AUROC.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        logit: Tensor = self.network(images)
        return logit

    def train(self, mode: bool = True) -> AtSize:
        """Stay in evaluation mode."""
        return super().train(False)


class Beside(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to logits (N,): a mixture of experts (Jacobs et al. 1991), of which none forgets.

    It begins with the logit of the old network, which sees the images at its own size; every expert then moves it towards
    its own by (1 - g) · logit + g · own, with g in (0, 1) from its gate. All experts see `DepthStatistics` of one
    backbone that does not learn, so that another kind costs two neurons.
    """

    def __init__(self, old: nn.Module, old_size: int, backbone: Backbone, size: int, experts: int = 1) -> None:
        super().__init__()
        self.old = AtSize(old, old_size).eval()
        self.statistics = DepthStatistics(backbone, size)
        self.experts = nn.ModuleList(Expert(self.statistics.length) for _ in range(experts))

    @property
    def backbone(self) -> Backbone:
        """The second one."""
        return self.statistics.backbone

    def with_expert(self) -> Beside:
        """A copy that has one expert more."""
        grown = copy.deepcopy(self)
        grown.experts.append(Expert(self.statistics.length))
        return grown

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.mix(self.old(images), self.statistics(images))

    def mix(self, known: Tensor, vectors: Tensor) -> Tensor:
        """Logits (N,) from those of the old network (N,) and the statistics (N, D)."""
        logit = known.float()
        with torch.autocast(vectors.device.type, enabled=False):
            for expert in self.experts:
                assert isinstance(expert, Expert)
                logit = torch.lerp(logit, expert.head(vectors), torch.sigmoid(expert.gate(vectors)))
        return logit
