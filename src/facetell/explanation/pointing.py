"""The pointing game: does a map's highest point lie where the fake is? (Zhang et al., IJCV 2018, arXiv:1608.00507)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Pointing", "peak", "pointing_game", "wilson"]


@dataclass(frozen=True)
class Pointing:
    """``hits`` of ``n`` faces; 95% interval ``low`` to ``high`` of the rate.

    ``chance``: rate of a point drawn anywhere (the masks' mean area); ``centre``: rate of always pointing at the middle.
    """

    n: int
    hits: int
    rate: float
    low: float
    high: float
    chance: float
    centre: float


def peak(values: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Row and column of the highest value of a map (h, w); of several, the one nearest to their middle."""
    highest = np.argwhere(values == values.max())
    away = ((highest - highest.mean(axis=0)) ** 2).sum(axis=1)
    row, column = highest[int(np.argmin(away))]
    return int(row), int(column)


def pointing_game(maps: npt.NDArray[np.float32], masks: npt.NDArray[np.bool_]) -> Pointing:
    """Count the faces whose map (N, S, S) has its highest value inside the mask (N, S, S); no pixel of tolerance.

    A map that is the same everywhere points nowhere: a miss.
    """
    hits = 0
    for values, mask in zip(maps, masks, strict=True):
        hits += bool(np.ptp(values) > 0 and mask[peak(values)])
    n = len(maps)
    low, high = wilson(hits, n)
    middle = masks.shape[-1] // 2
    return Pointing(n, hits, hits / n, low, high, float(masks.mean()), float(masks[:, middle, middle].mean()))


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson 1927), good for few faces too."""
    rate, spread = hits / n, z * z / n
    middle = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / n + spread / (4 * n))
    return max(0.0, min(rate, middle - half)), min(1.0, max(rate, middle + half))  # rounding at rates of 0 and 1
