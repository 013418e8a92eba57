"""MobileNet block V3 as FDFtNet uses it (Table 3)."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["MBBlockV3", "MobileNetHead", "SqueezeExcite"]


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: GAP → 1×1 conv /4 → ReLU → 1×1 conv → hard sigmoid → multiply; no biases (Table 3).

    The factor multiplies the depthwise map, as in the paper; the released code multiplies the expanded map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x * self.gate(x)


class MBBlockV3(nn.Module):
    """1×1 expand → BN → h-swish → depthwise → BN → SE → h-swish → 1×1 linear → BN, residual where shapes agree."""

    def __init__(self, c_in: int, c_out: int = 128, expanded: int = 576, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(c_in, expanded, 1, bias=False),
            nn.BatchNorm2d(expanded),
            nn.Hardswish(),
            nn.Conv2d(expanded, expanded, kernel, stride, kernel // 2, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            SqueezeExcite(expanded),
            nn.Hardswish(),
            nn.Conv2d(expanded, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = self.block(x)
        return x + y if self.residual else y


class MobileNetHead(nn.Module):
    """``blocks`` MB blocks on a backbone's map, then 1×1 conv → BN → h-swish → global average pool.

    The first block is 3×3 with stride 2; the others have stride 1 and ``kernel`` 5 as in the authors' code (Table 3
    prints 3). With 0 blocks the 1×1 conv takes the backbone's map directly: the ablation "without MB blocks".
    Maps (N, channels, H, W) in, vectors (N, features) out.
    """

    def __init__(
        self,
        channels: int,
        blocks: int = 4,
        width: int = 128,
        expanded: int = 576,
        kernel: int = 5,
        features: int = 576,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(blocks):
            first = index == 0
            layers.append(
                MBBlockV3(channels if first else width, width, expanded, 3 if first else kernel, 2 if first else 1)
            )
        self.blocks = nn.Sequential(*layers)
        self.project = nn.Sequential(
            nn.Conv2d(width if blocks else channels, features, 1, bias=False), nn.BatchNorm2d(features), nn.Hardswish()
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = self.project(self.blocks(x))
        return y.mean(dim=(2, 3))
