"""ShallowNetV3 (FDFtNet, section 3.2), layer by layer: 4,835,106 parameters at 64×64 in the Keras count."""

from __future__ import annotations

from torch import nn

from facetell.networks.heads import TwoWay

__all__ = ["shallownet_features", "shallownet_head"]

DROPOUT = 0.25


def _conv(c_in: int, c_out: int, kernel: int, *, pool: bool = False) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(c_in, c_out, kernel), nn.ReLU(inplace=True)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return [*layers, nn.Dropout(DROPOUT)]  # dropout stands after the pool where one follows


def shallownet_features() -> nn.Sequential:
    """The eight convolutions (109,344 parameters): 64×64×3 to 12×12×32; "valid" padding throughout."""
    return nn.Sequential(
        *_conv(3, 32, 5),
        *_conv(32, 32, 1),
        *_conv(32, 32, 1, pool=True),
        *_conv(32, 64, 3),
        *_conv(64, 64, 1),
        *_conv(64, 64, 1, pool=True),
        *_conv(64, 128, 3),
        *_conv(128, 32, 1),
    )


def shallownet_head(positions: int) -> nn.Sequential:
    """Flatten → dense 1,024 → ReLU → BN → dropout → dense 2 (4,725,762 parameters for 12×12 positions)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(32 * positions, 1024),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(1024),
        nn.Dropout(DROPOUT),
        TwoWay(1024),
    )
