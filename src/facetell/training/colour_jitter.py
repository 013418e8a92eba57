"""Random brightness, contrast and saturation of a whole batch at once (Salpekar, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["jitter"]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


def jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Scale brightness, contrast and saturation of each of ``images`` (N, 3, S, S) in [0, 1], in this order.

    Each factor is drawn from 1 ± ``strength``; contrast is scaled about the image's mean brightness, saturation about
    each pixel's. Values are clipped to [0, 1]. Draws are made on the CPU, so that every device sees the same.
    """
    if strength == 0:
        return images
    drawn = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, generator=generator) - 1)
    brightness, contrast, saturation = drawn.to(images.device)
    images = images * brightness
    mean = _grey(images).mean(dim=(2, 3), keepdim=True)
    images = mean + contrast * (images - mean)
    grey = _grey(images)
    jittered: Tensor = (grey + saturation * (images - grey)).clamp_(0, 1)
    return jittered


def _grey(images: Tensor) -> Tensor:
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    grey: Tensor = (images * weights).sum(dim=1, keepdim=True)
    return grey
