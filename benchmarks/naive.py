"""The naive port: FDFtNet written the obvious way, kept as the thing to be faster than.

Eager single precision, default memory layout, attention as three matrix products with the whole map in memory.
Parameter names match ``facetell.networks``, so the same weights load into both and the answers can be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facetell.networks.backbones import build_backbone

__all__ = ["NaiveAttention", "NaiveFDFtNet", "naive_attend"]


def naive_attend(f: Tensor, g: Tensor, h: Tensor) -> Tensor:
    """``softmax(f gᵀ) h`` with the whole (N, positions, positions) map in memory."""
    return torch.softmax(f @ g.transpose(1, 2), dim=-1) @ h


class NaiveAttention(nn.Module):
    """Table 1 as it stands."""

    def __init__(self, channels: int, bottleneck: int = 8) -> None:
        super().__init__()
        self.f = nn.Conv2d(channels, channels // bottleneck, 1)
        self.g = nn.Conv2d(channels, channels // bottleneck, 1)
        self.h = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        f, g, h = (conv(x).flatten(2).transpose(1, 2) for conv in (self.f, self.g, self.h))
        o = naive_attend(f, g, h).transpose(1, 2).reshape(x.shape)
        return self.gamma * o + x


class _Transformer(nn.Module):
    """Table 2 as it stands, M = 3."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(c_in, c_in, 3, stride=2, padding=1, groups=c_in, bias=False),
                    nn.Conv2d(c_in, c_out, 1, bias=False),
                    nn.BatchNorm2d(c_out),
                    nn.ReLU(),
                    NaiveAttention(c_out),
                )
                for c_in, c_out in ((3, 32), (32, 64), (64, 128))
            )
        )
        self.project = nn.Sequential(nn.Conv2d(128, 576, 1, bias=False), nn.BatchNorm2d(576), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.stages(images)).mean(dim=(2, 3))


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class _MBBlock(nn.Module):
    """Table 3 as it stands."""

    def __init__(self, c_in: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(c_in, 576, 1, bias=False),
            nn.BatchNorm2d(576),
            nn.Hardswish(),
            nn.Conv2d(576, 576, kernel, stride, kernel // 2, groups=576, bias=False),
            nn.BatchNorm2d(576),
            _SqueezeExcite(576),
            nn.Hardswish(),
            nn.Conv2d(576, 128, 1, bias=False),
            nn.BatchNorm2d(128),
        )
        self.residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return x + y if self.residual else y


class _MobileNetHead(nn.Module):
    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        later = [_MBBlock(128, 5, 1) for _ in range(blocks - 1)]
        self.blocks = nn.Sequential(_MBBlock(channels, 3, 2), *later)
        self.project = nn.Sequential(nn.Conv2d(128, 576, 1, bias=False), nn.BatchNorm2d(576), nn.Hardswish())

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.blocks(x)).mean(dim=(2, 3))


class _TwoWay(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(576, 2)

    def forward(self, x: Tensor) -> Tensor:
        real, fake = self.dense(x).unbind(dim=1)
        return fake - real


class NaiveFDFtNet(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to one logit per image: the given backbone, N = 4 MB blocks, M = 3."""

    def __init__(self, backbone: str, size: int, blocks: int = 4) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, size)
        self.mb = _MobileNetHead(self.backbone.map_shape(size)[0], blocks)
        self.ftt = _Transformer()
        self.head = _TwoWay()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.mb(self.backbone(images)) + self.ftt(images))
