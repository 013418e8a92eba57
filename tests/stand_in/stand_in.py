"""A runtime without a network: the logit is linear in how far neighbouring pixels differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.detector.weights import read_weights


class StandIn:
    def __init__(self, size: int, slope: float, offset: float) -> None:
        self.size, self.slope, self.offset = size, slope, offset

    def vectors(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        pixels = crops.astype(np.float64)
        steps = np.abs(np.diff(pixels, axis=2)).mean(axis=(1, 2, 3))
        return np.column_stack([steps, pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2))])

    def logits_and_vectors(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        return self.logits(crops), self.vectors(crops)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (self.slope * self.vectors(crops)[:, 0] + self.offset).astype(np.float32)


def load(path: Path, description: dict[str, Any], device: str, threads: int | None) -> StandIn:
    weights = read_weights(path, description)
    return StandIn(description["input"]["size"], float(weights["slope"]), float(weights["offset"]))
