"""An engine that computes one face at a time on each core.

A face alone stays in a core's near memory, so a batch gains nothing on a CPU (docs/speed.md), and a logit never depends on
what else is judged with it. No engine starts threads of its own: there are as many as the caller has cores for.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import numpy.typing as npt

from facetell.errors import SettingsError
from facetell.threads import usable_cores

__all__ = ["EmbedsPerFace", "PerFace", "check_device"]

Crops = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Compute = Callable[[Crops], list[Floats]]
"""Crops (1, S, S, 3) to logits (1,) and, where the network gives them, vectors (1, D)."""


class PerFace:
    """Implements `Runtime` by ``compute``, which several threads call at once."""

    def __init__(self, compute: Compute, size: int, threads: int | None = None) -> None:
        self.size = size
        self._compute = compute
        self._threads = threads or usable_cores()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, "facetell-judge")

    def logits(self, crops: Crops) -> Floats:
        """Logits (N,) of crops (N, size, size, 3)."""
        return np.concatenate([np.zeros(0, np.float32), *(found[0] for found in self._each(crops))])

    def _each(self, crops: Crops) -> list[list[Floats]]:
        alone = [crops[at : at + 1] for at in range(len(crops))]
        if self._threads == 1 or len(alone) == 1:
            return [self._compute(one) for one in alone]
        return list(self._pool.map(self._compute, alone))


class EmbedsPerFace(PerFace):
    """The same with `Embeds`, for a network that gives ``length`` numbers as vectors."""

    def __init__(self, compute: Compute, size: int, length: int, threads: int | None = None) -> None:
        super().__init__(compute, size, threads)
        self._length = length

    def logits_and_vectors(self, crops: Crops) -> tuple[Floats, npt.NDArray[np.float64]]:
        """Logits (N,) and vectors (N, D) of crops (N, size, size, 3)."""
        found = self._each(crops)
        if not found:
            return np.zeros(0, np.float32), np.zeros((0, self._length))
        logits, vectors = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return logits, vectors.astype(np.float64)


def check_device(device: str) -> None:
    """Raise ``SettingsError`` for a device that is no processor."""
    if device.startswith("cuda"):
        raise SettingsError("this runtime computes on processors alone", hint="on a GPU: --runtime torch")
    if device not in ("auto", "cpu"):
        raise SettingsError(f"unknown device '{device}'", hint="auto, cpu or cuda")
