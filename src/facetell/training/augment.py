"""Augmentation of a whole batch at once, on its device: geometry and Cutout (FDFtNet, section 4.1), and colours.

Random numbers are drawn on the CPU from one generator, so that every device sees the same augmentations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["NO_AUGMENTATION", "Augmentation", "ViewParameters", "apply", "draw", "jitter"]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""
CUTOUT_UNIT = 1 / 16
"""Side of the smallest Cutout square as a part of the image: 4 px at 64×64."""


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random transforms; the defaults are the paper's.

    ``translate``: pixels at 64×64, each axis in ±translate. ``zoom``: each axis scaled by 1 ± zoom, independently as
    Keras does. ``rotate``: degrees, ±rotate. ``flip``: mirror half of the images. Empty pixels repeat the border.
    ``cutout_holes`` (α): 0..α black squares of side 4·k px at 64×64, k in 1..``cutout_size`` (β).
    """

    flip: bool = True
    translate: float = 2.0
    zoom: float = 0.2
    rotate: float = 0.2
    cutout_holes: int = 3
    cutout_size: int = 5


NO_AUGMENTATION = Augmentation(flip=False, translate=0.0, zoom=0.0, rotate=0.0, cutout_holes=0)


@dataclass(frozen=True)
class ViewParameters:
    """What makes augmented views of N images: ``matrix`` (N, 2, 3) for ``affine_grid``, ``holes`` (N, α, 4) in pixels.

    A hole is (top, left, bottom, right), exclusive at the end; unused holes are empty.
    """

    matrix: Tensor
    holes: Tensor


def draw(count: int, size: int, ranges: Augmentation, generator: torch.Generator) -> ViewParameters:
    """Draw an augmented view of each of ``count`` images of ``size`` × ``size`` pixels."""

    def uniform(extent: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * extent

    angle = uniform(math.radians(ranges.rotate))
    zoom_x, zoom_y = 1 + uniform(ranges.zoom), 1 + uniform(ranges.zoom)
    shift = ranges.translate * 2 / 64  # affine_grid's coordinates run from -1 to 1
    shift_x, shift_y = uniform(shift), uniform(shift)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0) if ranges.flip else torch.ones(count)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack(
        [
            torch.stack([mirror * zoom_x * cos, -zoom_y * sin, shift_x], dim=1),
            torch.stack([mirror * zoom_x * sin, zoom_y * cos, shift_y], dim=1),
        ],
        dim=1,
    )
    alpha = ranges.cutout_holes
    used = torch.randint(0, alpha + 1, (count, 1), generator=generator) > torch.arange(alpha)
    unit = max(1, round(size * CUTOUT_UNIT))
    side = unit * torch.randint(1, ranges.cutout_size + 1, (count, alpha), generator=generator) * used
    top = torch.randint(0, size, (count, alpha), generator=generator) - side // 2
    left = torch.randint(0, size, (count, alpha), generator=generator) - side // 2
    return ViewParameters(matrix, torch.stack([top, left, top + side, left + side], dim=2))


def apply(images: Tensor, views: ViewParameters) -> Tensor:
    """Transform float images (N, 3, S, S): one resampling for all geometry, then Cutout. Channels-last, as networks like."""
    matrix, holes = views.matrix.to(images.device), views.holes.to(images.device)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if holes.shape[1]:
        axis = torch.arange(images.shape[-1], device=images.device)
        top, left, bottom, right = holes[..., None].unbind(dim=2)  # each (N, α, 1)
        inside_y, inside_x = (axis >= top) & (axis < bottom), (axis >= left) & (axis < right)  # (N, α, S)
        covered = (inside_y[..., :, None] & inside_x[..., None, :]).any(dim=1)
        moved.masked_fill_(covered[:, None], 0.0)
    return moved.contiguous(memory_format=torch.channels_last)


def jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Scale brightness, contrast and saturation of each of ``images`` (N, 3, S, S) in [0, 1] (Salpekar, section 3).

    In this order. Each factor is drawn from 1 ± ``strength``; contrast is scaled about the image's mean brightness,
    saturation about each pixel's. Values are clipped to [0, 1].
    """
    if strength == 0:
        return images
    drawn = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, generator=generator) - 1)
    brightness, contrast, saturation = drawn.to(images.device)
    images = images * brightness
    mean = _grey(images).mean(dim=(2, 3), keepdim=True)
    images = mean + contrast * (images - mean)
    grey = _grey(images)
    return (grey + saturation * (images - grey)).clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)
