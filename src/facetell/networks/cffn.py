"""CFFN, the common fake feature network (Salpekar; Hsu, Zhuang and Lee): two streams of residual units on one stem."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CFFN", "LAYOUTS", "Layout"]

STEM = 64
KERNELS = (3, 5)
"""Kernel of each stream."""


class Layout(NamedTuple):
    """Channels and residual units of each stage of a stream."""

    channels: tuple[int, ...]
    units: tuple[int, ...]


LAYOUTS = {"cffn": Layout((64, 96, 128, 256), (2, 4, 3, 6)), "cffn_icip": Layout((64, 96, 128), (2, 4, 3))}
"""``cffn``: Salpekar, section 5.1 and figure 2. ``cffn_icip``: the smaller first version by Hsu, Zhuang and Lee."""


class ResidualUnit(nn.Module):
    """BN → swish → conv → BN → swish → conv, plus the skip: (N, C, h, w) to (N, out, h, w).

    With ``out`` the map is average-pooled 2×2 first (a last odd row and column fall away), the second convolution
    widens it to ``out`` channels, and the skip gets zeros for the channels it lacks. Which convolution widens follows
    from the published number of parameters: widening in the first would give 36,081,032.
    """

    def __init__(self, channels: int, kernel: int, out: int | None = None) -> None:
        super().__init__()
        self.pools = out is not None
        self.added = (out or channels) - channels
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, out or channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.pools:
            x = F.avg_pool2d(x, 2)
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        skip = F.pad(x, (0, 0, 0, 0, 0, self.added)) if self.added else x
        return y + skip


class CFFN(nn.Module):
    """Stem 7×7, stride 4, "valid", linear; then a stream of kernel 3 and one of kernel 5, concatenated.

    Images (N, 3, S, S) to (N, 512, h, w) for ``cffn``, (N, 256, h, w) for ``cffn_icip``. At S = 64 the map is 1×1 and
    3×3; the least S is 35 and 19.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 7, stride=4)
        self.streams = nn.ModuleList(_stream(layout, kernel) for kernel in KERNELS)
        self.units = layout.units

    def stages(self) -> list[list[nn.Module]]:
        """The stem, then what both streams have in each stage; the unit that widens ends its stage."""
        spans = pairwise(accumulate(self.units, initial=0))
        return [
            [self.stem],
            *([unit for stream in self.streams for unit in list(stream.children())[a:b]] for a, b in spans),
        ]

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.stem(x)
        return torch.cat([stream(x) for stream in self.streams], dim=1)


def _stream(layout: Layout, kernel: int) -> nn.Sequential:
    units = []
    for stage, (channels, count) in enumerate(zip(layout.channels, layout.units, strict=True)):
        units += [ResidualUnit(channels, kernel) for _ in range(count - 1)]
        following = layout.channels[stage + 1] if stage + 1 < len(layout.channels) else None
        units.append(ResidualUnit(channels, kernel, following))
    return nn.Sequential(*units)
