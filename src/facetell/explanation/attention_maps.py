"""What the self-attention of a Fine-Tune Transformer looks at, and whether it does anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facetell.networks.attention import SelfAttention
from facetell.networks.hooks import hooked

__all__ = ["Attended", "attended", "attention", "received"]

BLOCK_ENTRIES = 1 << 22
"""Entries of an attention matrix held at a time: 16 MiB."""


@dataclass(frozen=True)
class Attended:
    """One stage on some images.

    ``received`` (N, h, w): attention a place gets, 1 = its even share; ``effect`` (N,): length of what attention adds
    (γ · o), relative to what was there (x). With ``gamma`` near 0 the module is the identity, whatever it looks at.
    """

    received: Tensor
    gamma: float
    effect: Tensor


def attention(module: SelfAttention, x: Tensor, rows: slice = slice(None)) -> Tensor:
    """Rows of the attention matrix of ``x`` (N, C, h, w): (N, rows, h·w), each summing to 1 (equation 1)."""
    f, g = (conv(x).flatten(2).transpose(1, 2) for conv in (module.f, module.g))
    return torch.softmax(f[:, rows] @ g.transpose(1, 2), dim=2)


def received(module: SelfAttention, x: Tensor) -> Tensor:
    """Attention that each place gets, mean over who looks, times the number of places: (N, C, h, w) to (N, h, w).

    Mean 1 over the map. The matrix, 157 million entries at 224×224 input, is walked through block by block.
    """
    count, _, height, width = x.shape
    positions = height * width
    step = max(1, BLOCK_ENTRIES // (positions * count))
    total = x.new_zeros(count, positions)
    for row in range(0, positions, step):
        total += attention(module, x, slice(row, row + step)).sum(dim=1)
    return total.view(count, height, width)


@torch.no_grad()
def attended(network: nn.Module, images: Tensor) -> list[Attended]:
    """What each self-attention of ``network`` looks at in ``images``, first stage first; empty where it has none."""
    stages: list[Attended] = []

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(module, SelfAttention)
        x = inputs[0]
        effect = (output - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1).clamp_min(1e-12)
        stages.append(Attended(received(module, x), module.gamma.item(), effect))

    parts = [part for part in network.modules() if isinstance(part, SelfAttention)]
    if parts:
        with hooked((part, hook) for part in parts):
            network(images)
    return stages
