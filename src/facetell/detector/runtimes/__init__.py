"""Runtimes: what computes logits from crops. Whoever judges knows a network by this page alone.

A runtime is a module with a function ``load(path, description, weights, device, threads)`` that returns a `Runtime`. A
detector's description names the runtime that its weights are for: one of `RUNTIMES`, or one that an installed package
offers in the entry point group ``facetell.runtimes``. A bundle cannot name a module, so reading one runs no code of its
own.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from facetell.errors import BundleError, learning, near_miss
from facetell.faceset.decoded import DecodedImages
from facetell.progress import Progress

__all__ = ["RUNTIMES", "Embeds", "ReadsCache", "ReadsForExperts", "Runtime", "home_of", "load_runtime"]

RUNTIMES = {"torch": "facetell.detector.runtimes.torch"}
"""Names of runtimes, and the module that holds each."""

Crops = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


class Runtime(Protocol):
    """A network, ready to judge."""

    size: int
    """Side of its crops in pixels."""
    parameters: int
    """How many numbers it has learned."""

    def logits(self, crops: Crops) -> Logits:
        """Logits (N,) of crops (N, size, size, 3), RGB; higher = more fake."""


@runtime_checkable
class Embeds(Protocol):
    """A runtime whose network has a backbone that can be looked into."""

    def logits_and_vectors(self, crops: Crops) -> tuple[Logits, npt.NDArray[np.float64]]:
        """Logits (N,) of crops (N, size, size, 3), and from the same pass vectors (N, D): what the backbone makes of them at
        several depths."""


@runtime_checkable
class ReadsForExperts(Protocol):
    """A runtime whose network may be a mixture of experts that can be added to."""

    def read_for_experts(self, crops: Crops) -> tuple[Logits, npt.NDArray[np.float32]]:
        """Of crops (N, size, size, 3) the logits (N,) of the oldest network and the statistics (N, D) that experts read."""


@runtime_checkable
class ReadsCache(Protocol):
    """A runtime that knows a shorter way to the logits of a face set than crop by crop, such as cached vectors."""

    def logits_of(self, images: DecodedImages, rows: npt.NDArray[np.int64], progress: Progress) -> Logits:
        """Logits (N,) of ``rows`` of ``images``, in order; ``progress`` is told how far it is."""


def home_of(name: str) -> str:
    """The module of the runtime ``name``. Raises ``BundleError`` where no installed package has it."""
    if name in RUNTIMES:
        return RUNTIMES[name]
    offered = {each.name: each.value for each in metadata.entry_points(group="facetell.runtimes")}
    if name not in offered:
        known = [*RUNTIMES, *offered]
        raise BundleError(
            f"the detector needs the runtime '{name}', which is not installed{near_miss(name, known)}",
            hint=f"here there are: {', '.join(known)}",
        )
    return offered[name]


def load_runtime(
    path: Path,
    description: dict[str, Any],
    weights: dict[str, npt.NDArray[Any]],
    device: str = "auto",
    threads: int | None = None,
) -> Runtime:
    """The runtime that ``description`` names, with ``weights``, on ``device``: ``auto``, ``cpu`` or ``cuda``.

    ``path`` is where both were read, for messages. ``threads``: of the whole process, which must be the caller's own;
    None leaves them as they are.

    Raises ``BundleError`` for weights that do not fit the description, ``SettingsError`` for an unknown device,
    ``MissingExtraError`` where the runtime is torch and that is not installed.
    """
    name = description["runtime"]
    with learning(f"the runtime '{name}'"):
        module = importlib.import_module(home_of(name))
    runtime: Runtime = module.load(path, description, weights, device, threads)
    return runtime
