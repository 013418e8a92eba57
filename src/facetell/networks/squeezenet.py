"""SqueezeNet's body up to its last feature map, as torchvision has it: names, weights and random start are the same.

Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016
(arXiv:1602.07360). Written out here because importing torchvision takes longer than importing torch, and every
``detect`` would wait for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["squeezenet_features"]

_POOL = "pool"
_Layer = tuple[int, int, int] | str
_STEMS = {"squeezenet1_0": (96, 7), "squeezenet1_1": (64, 3)}
_LAYERS: dict[str, tuple[_Layer, ...]] = {
    "squeezenet1_0": (
        (96, 16, 64), (128, 16, 64), (128, 32, 128), _POOL, (256, 32, 128), (256, 48, 192), (384, 48, 192),
        (384, 64, 256), _POOL, (512, 64, 256),
    ),
    "squeezenet1_1": (
        (64, 16, 64), (128, 16, 64), _POOL, (128, 32, 128), (256, 32, 128), _POOL, (256, 48, 192), (384, 48, 192),
        (384, 64, 256), (512, 64, 256),
    ),
}  # fmt: skip
"""Channels in, squeezed to, and expanded to by each of the two kernels of a Fire module."""


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1×1 and by 3×3 kernels side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        one, three = self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([one, three], 1)


def squeezenet_features(name: str) -> nn.Sequential:
    """``squeezenet1_0`` or ``squeezenet1_1`` without its classifier, with random weights."""
    channels, kernel = _STEMS[name]
    layers: list[nn.Module] = [nn.Conv2d(3, channels, kernel, stride=2), nn.ReLU(inplace=True), _pool()]
    layers += [_pool() if isinstance(layer, str) else Fire(*layer) for layer in _LAYERS[name]]
    features = nn.Sequential(*layers)
    # torchvision draws its classifier too; without these draws a seed would give other weights than before.
    classifier = nn.Conv2d(512, 1000, 1)
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(classifier.weight, 0.0, 0.01)
    return features


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
