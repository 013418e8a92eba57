"""Convolutions computed the quick way where a processor's library picks a slow one; the mathematics is the same.

Both classes are plain ``nn.Conv2d`` with another forward: same parameters, same names, same answers up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, compiler, jit, nn
from torch.nn import functional as F

__all__ = ["PointwiseConv2d", "TrimmedConv2d", "quick_convolutions", "runs_here"]


class PointwiseConv2d(nn.Conv2d):
    """A 1×1 convolution as a matrix product over positions, on a CPU with channels-last maps.

    oneDNN's own kernels lose to that on small maps: 1,536 → 2,048 channels on 2×2, batch 128, 200 → 74 ms forward and
    backward; 728 → 728 on 4×4 63 → 48 ms; on large maps they are level.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        if not runs_here(input) or not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        down, right = self.stride
        x = input
        if self.stride != (1, 1):
            # With gaps it would not be one product: torch would copy the weights for each row of each map.
            x = input[:, :, ::down, ::right].contiguous(memory_format=torch.channels_last)
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class TrimmedConv2d(nn.Conv2d):
    """A convolution that keeps the map's size, stride 1, whose kernel is cut to the taps that can meet the map at all.

    A tap more than ``size - 1`` from the centre only ever meets the zeros around the map. oneDNN has no quick kernel
    for the depthwise 5×5 on 1×1 of FDFtNet's MB blocks at 64 px: 98 ms for 576 channels and batch 128; one
    multiplication is 0.1 ms. And its bfloat16 gradient of a 5×5 on 1×1 is wrong: for 128 channels the weights' came out
    of memory nobody had written (torch 2.15, on a CPU with AVX-512 BF16), which is where the CFFN ends at 64 px.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        height, width = input.shape[-2:]
        cut = (max(0, self.kernel_size[0] // 2 - height + 1), max(0, self.kernel_size[1] // 2 - width + 1))
        if not runs_here(input) or cut == (0, 0):
            return super().forward(input)
        rows, columns = (slice(c, k - c) for c, k in zip(cut, self.kernel_size, strict=True))
        weight = self.weight[:, :, rows, columns]
        if weight.shape[2:] == (1, 1) and self.groups == self.in_channels == self.out_channels:
            y = input * weight.view(1, -1, 1, 1)
            return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)
        if weight.shape[2:] == (1, 1) and self.groups == 1:
            return F.linear(input.permute(0, 2, 3, 1), weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        padding = (self.kernel_size[0] // 2 - cut[0], self.kernel_size[1] // 2 - cut[1])
        return F.conv2d(input, weight, self.bias, 1, padding, 1, self.groups)


def quick_convolutions(module: nn.Module) -> nn.Module:
    """Let every convolution of ``module`` that has a quick way take it. In place; parameters and hooks stay."""
    for part in module.modules():
        if type(part) is nn.Conv2d and part.padding_mode == "zeros":
            plain = part.dilation == (1, 1)
            if part.kernel_size == (1, 1) and part.groups == 1 and part.padding == (0, 0):
                part.__class__ = PointwiseConv2d
            elif plain and part.kernel_size != (1, 1) and _same_size(part):
                part.__class__ = TrimmedConv2d
    return module


def _same_size(conv: nn.Conv2d) -> bool:
    rows, columns = conv.kernel_size
    return conv.stride == (1, 1) and rows % 2 == columns % 2 == 1 and conv.padding == (rows // 2, columns // 2)


def runs_here(x: Tensor) -> bool:
    """Whether ``x`` is on a CPU and computed now; on other devices and in an export the plain operators are right."""
    traced = jit.is_tracing() or compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]
    return x.device.type == "cpu" and not traced
