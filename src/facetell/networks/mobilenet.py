"""MobileNetV2's body with batch norms folded into its convolutions, and TensorFlow's padding.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018 (arXiv:1801.04381), table 2. It is for
weights that come from Keras: their statistics are often folded away, so a batch norm could not go on learning from
them, and a strided convolution pads right and below first. Tensors have the names of torchvision's ``mobilenet_v2``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["fold_norms", "mobilenet_features"]

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Widening inside a block, channels, blocks, stride of the first block."""
EPSILON = 1e-5


class StridedConv(nn.Conv2d):
    """3×3, stride 2, "same" as TensorFlow has it: a row and column after the map, and before it only if it is odd."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1)))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    if stride == 2:
        conv: nn.Conv2d = StridedConv(inputs, outputs, kernel, stride, groups=groups)
    else:
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
    return nn.Sequential(conv, nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Widen by 1×1, 3×3 on each channel, narrow by 1×1 without activation; plus the skip where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, widening: int) -> None:
        super().__init__()
        inside = inputs * widening
        widen = [_conv(inputs, inside, 1)] if widening > 1 else []
        self.conv = nn.Sequential(*widen, _conv(inside, inside, 3, stride, inside), nn.Conv2d(inside, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


def mobilenet_features() -> nn.Sequential:
    """Images (N, 3, S, S) to (N, 1280, S/32, S/32), rounded up, with random weights."""
    layers: list[nn.Module] = [_conv(3, 32, 3, 2)]
    channels = 32
    for widening, outputs, count, stride in STAGES:
        for index in range(count):
            layers.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, widening))
            channels = outputs
    features = nn.Sequential(*layers, _conv(channels, 1280, 1))
    for module in features.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            nn.init.zeros_(module.bias)
    return features


def fold_norms(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply every batch norm into the convolution before it, ``a.0`` before ``a.1``; the rest is left as it is."""
    folded = dict(tensors)
    for name in [key.removesuffix(".running_var") for key in tensors if key.endswith(".running_var")]:
        parent, _, index = name.rpartition(".")
        conv = f"{parent}.{int(index) - 1}"
        parts = [f"{name}.{part}" for part in ("running_var", "running_mean", "weight", "bias")]
        if f"{conv}.weight" not in tensors or not set(parts) <= set(tensors):
            continue  # reported as a misfit
        variance, mean, gain, bias = (folded.pop(part) for part in parts)
        folded.pop(f"{name}.num_batches_tracked", None)
        scale = gain / torch.sqrt(variance + EPSILON)
        folded[f"{conv}.weight"] = tensors[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{conv}.bias"] = bias - mean * scale
    return folded
