"""Occlusion (Zeiler and Fergus, ECCV 2014, arXiv:1311.2901), computed by captum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from facetell.errors import MissingExtraError

__all__ = ["occlusion", "window_of"]

BATCH = 64


def window_of(size: int) -> tuple[int, int]:
    """Side and stride in pixels of the square that hides a part: an eighth of the face, moved by half of that."""
    side = max(2, round(size / 8))
    return side, max(1, side // 2)


def occlusion(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """How far the logit falls when a place is hidden: (N, 3, S, S) in [0, 1] to (N, S, S), positive = spoke for fake.

    A square slides over the face, filled with the face's own mean colour: one that stands out less than black. A pixel
    has the mean over the squares that hid it, in logits. At S = 64 a face costs 226 passes.

    Raises ``MissingExtraError`` without captum.
    """
    try:
        from captum.attr import Occlusion
    except ImportError as error:
        raise MissingExtraError("occlusion", "explain") from error
    side, stride = window_of(images.shape[-1])
    with torch.no_grad():
        falls: Tensor = Occlusion(forward).attribute(
            images,
            sliding_window_shapes=(3, side, side),
            strides=(3, stride, stride),
            baselines=images.mean(dim=(2, 3), keepdim=True).expand_as(images),
            perturbations_per_eval=max(1, BATCH // len(images)),
        )
    return falls[:, 0]
