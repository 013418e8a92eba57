"""Ways in which a network learns while most of its weights stay: norms, low-rank products, residual singular components.

Products and components are added to the weights of layers while they learn, and merged into them at the end: the network
has the tensors that it had before.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from facetell.networks.convolution import quick_convolutions

__all__ = ["Attached", "LowRank", "ResidualSVD", "low_rank", "norm_parameters", "residual_svd"]

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def norm_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Scale and shift of every norm (Frankle, Schwab and Morcos 2021); without norms every bias (Ben Zaken et al. 2022)."""
    from timm.layers.norm import RmsNorm, RmsNorm2d

    norms = [part for part in network.modules() if isinstance(part, (*NORMS, RmsNorm, RmsNorm2d))]
    found = [parameter for norm in norms for parameter in norm.parameters()]
    return found or [parameter for name, parameter in network.named_parameters() if name.endswith("bias")]


class LowRank(nn.Module):
    """A weight (out, …) plus up (out, r) times down (r, …), a product that begins as zero (LoRA, Hu et al. 2022)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        flat = weight.flatten(1)
        rank = min(rank, *flat.shape)
        self.up = nn.Parameter(torch.zeros(len(flat), rank))
        self.down = nn.Parameter(torch.empty(rank, flat.shape[1]))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:  # noqa: D102
        return weight + (self.up @ self.down).view_as(weight)


class ResidualSVD(nn.Module):
    """A weight of which the ``rank`` smallest singular components learn (Effort: Yan et al. 2025).

    ``parts``: matrices that lie one below the other in the weight (out, …) and are decomposed each for itself, as a
    transformer's query, key and value.
    """

    kept_up: Tensor
    kept_down: Tensor
    first: Tensor

    def __init__(self, weight: Tensor, rank: int, parts: int = 1) -> None:
        super().__init__()
        self.parts = parts
        up, values, down = torch.linalg.svd(self._matrices(weight.detach().float()), full_matrices=False)
        kept = max(0, values.shape[1] - rank)
        self.up = nn.Parameter(up[:, :, kept:].clone())
        self.values = nn.Parameter(values[:, kept:].clone())
        self.down = nn.Parameter(down[:, kept:].clone())
        # Known from the weight, so a checkpoint does not hold them.
        self.register_buffer("kept_up", up[:, :, :kept].clone(), persistent=False)
        self.register_buffer("kept_down", down[:, :kept].clone(), persistent=False)
        self.register_buffer("first", self._residual().detach().clone(), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:  # noqa: D102
        return weight + (self._residual() - self.first).view_as(weight)

    def penalty(self, weight: Tensor) -> Tensor:
        """What Effort adds to the loss for this weight, summed over its matrices.

        One term keeps all singular vectors orthonormal, ‖ÛᵀÛ - I‖² + ‖V̂ᵀV̂ - I‖²; the other the sum of squared singular
        values, |‖Ŵ‖² - ‖W‖²|; all norms are Frobenius'.
        """
        lengths = self._matrices(self(weight)).square().sum((1, 2)) - self._matrices(weight).square().sum((1, 2))
        across = _far_from_orthonormal(self.kept_up.mT, self.up) + _far_from_orthonormal(self.kept_down, self.down.mT)
        return across + lengths.abs().sum()

    def _residual(self) -> Tensor:
        return (self.up * self.values[:, None]) @ self.down

    def _matrices(self, weight: Tensor) -> Tensor:
        return weight.reshape(self.parts, len(weight) // self.parts, -1)


def _far_from_orthonormal(kept: Tensor, learning: Tensor) -> Tensor:
    """‖QᵀQ - I‖² of Q = [keptᵀ, learning], where the kept columns are orthonormal and stay so."""
    own = learning.mT @ learning - torch.eye(learning.shape[2], device=learning.device)
    return 2 * (kept @ learning).square().sum() + own.square().sum()


class Attached:
    """Parametrisations of the weights of some layers while they learn. ``parameters`` are what learns."""

    def __init__(self, layers: dict[str, nn.Module], make: Callable[[str, Tensor], nn.Module]) -> None:
        self._layers = list(layers.values())
        self.added: list[nn.Module] = []
        for name, layer in layers.items():
            quick_convolutions(layer)  # afterwards its class hides what it is
            weight = layer.get_parameter("weight")
            part = make(name, weight).to(weight.device)
            parametrize.register_parametrization(layer, "weight", part)
            self.added.append(part)
        self.parameters = [parameter for part in self.added for parameter in part.parameters()]

    def penalty(self) -> Tensor:
        """The mean of the penalties of all matrices that are decomposed."""
        decomposed = [(layer, part) for layer, part in self._pairs() if isinstance(part, ResidualSVD)]
        total = [part.penalty(_original(layer)) for layer, part in decomposed]
        return torch.stack(total).sum() / sum(part.parts for _, part in decomposed)

    def merge(self) -> None:
        """Make what was learned part of the weights, and detach."""
        for layer in self._layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)

    def _pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return list(zip(self._layers, self.added, strict=True))


def low_rank(network: nn.Module, rank: int) -> Attached:
    """Add a product of rank ``rank`` to every matrix of ``network``: dense layers and convolutions.

    Depthwise and grouped convolutions are left alone: each of their kernels is about as small as a product of its own.
    """
    return Attached(_matrices(network), lambda _, weight: LowRank(weight, rank))


def residual_svd(network: nn.Module, rank: int) -> Attached:
    """Let the ``rank`` smallest singular components of matrices of ``network`` learn.

    As in the paper those of attention: query, key, value and output. A network without attention: all that `low_rank` takes.
    """
    every = _matrices(network)
    attention = {name: layer for name, layer in every.items() if "attn" in name.split(".")}

    def make(name: str, weight: Tensor) -> nn.Module:
        return ResidualSVD(weight, rank, 3 if name.endswith("attn.qkv") else 1)

    return Attached(attention or every, make)


def _matrices(network: nn.Module) -> dict[str, nn.Module]:
    return {
        name: part
        for name, part in network.named_modules()
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)
    }


def _original(layer: nn.Module) -> Tensor:
    return layer.get_parameter("parametrizations.weight.original")
