"""Runtimes: what computes logits from crops. Whoever judges knows a network by this page alone.

A runtime is a module with a function ``load(path, description, device, threads)`` that returns a `Runtime`. A detector's
description names the runtime that it is for: one of `RUNTIMES`, each of which computes what `facetell fit` writes, or one
that an installed package offers in the entry point group ``facetell.runtimes``. A bundle cannot name a module, so reading
one runs no code of its own.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from facetell.errors import BundleError, SettingsError, UsageError, learning, near_miss
from facetell.progress import Progress

if TYPE_CHECKING:
    from facetell.faceset.decoded import DecodedImages

__all__ = ["RUNTIMES", "Embeds", "ReadsCache", "ReadsForExperts", "Runtime", "home_of", "load_runtime", "runtime_for"]

RUNTIMES = {name: f"facetell.detector.runtimes.{name}" for name in ("onnx", "torch", "openvino")}
"""Names of runtimes, and the module that holds each: all compute the same network, see docs/detector.md."""

Crops = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


class Runtime(Protocol):
    """A network, ready to judge."""

    size: int
    """Side of its crops in pixels."""

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


def runtime_for(description: dict[str, Any], asked: str | None, device: str = "auto") -> str:
    """The name of the runtime that computes a detector: the one that is ``asked`` for, else its own.

    On a GPU it is torch. Raises ``SettingsError`` for an unknown one, ``UsageError`` for one that cannot compute it.
    """
    own: str = description["runtime"]
    if asked is None:
        return "torch" if own == "onnx" and device.startswith("cuda") else own
    if asked == own:
        return own
    if asked not in RUNTIMES:
        raise SettingsError(
            f"unknown runtime '{asked}'{near_miss(asked, RUNTIMES)}", hint=f"one of {', '.join(RUNTIMES)}"
        )
    if own not in RUNTIMES:
        raise UsageError(f"the detector is for the runtime '{own}', not for '{asked}'", hint="leave out --runtime")
    return asked


def load_runtime(
    path: Path, description: dict[str, Any], name: str, device: str = "auto", threads: int | None = None
) -> Runtime:
    """The runtime ``name`` for the detector at ``path``, whose files were checked by ``read_bundle``.

    ``device``: ``auto``, ``cpu`` or ``cuda``. ``threads``: of the whole process, which must be the caller's own; None
    leaves them as they are.

    Raises ``BundleError`` for files that do not fit the description, ``SettingsError`` for an unknown device, and
    ``MissingExtraError`` where the engine is not installed.
    """
    with learning(f"the runtime '{name}'"):
        module = importlib.import_module(home_of(name))
    runtime: Runtime = module.load(path, description, device, threads)
    return runtime
