"""Parameter counts the way the papers count."""

from __future__ import annotations

from torch import nn

__all__ = ["keras_count"]


def keras_count(module: nn.Module) -> tuple[int, int]:
    """Return (all, trainable) parameters as Keras counts them: a batch norm's moving mean and variance are included."""
    trainable = sum(p.numel() for p in module.parameters())
    moving = sum(2 * m.num_features for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d))
    return trainable + moving, trainable
