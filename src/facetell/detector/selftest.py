"""Whether a detector still says what it said when it was written: by each of its runtimes that is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facetell.detector.description import MODEL, WEIGHTS
from facetell.detector.runtimes import RUNTIMES, Runtime, load_runtime
from facetell.detector.runtimes.onnx_model import read_onnx
from facetell.detector.weights import model_bytes, read_selftest, read_weights
from facetell.errors import BundleError

if TYPE_CHECKING:
    from facetell.detector.detector import Detector

__all__ = ["PARITY", "difference", "replayed"]

TOLERANCE = 2e-2
"""Largest difference of a replayed logit, in units of 1 + |logit|: other processors round otherwise."""
PARITY = 1e-3
"""The same between runtimes on one machine."""
MODULES = {"onnx": "onnxruntime", "torch": "torch", "openvino": "openvino"}


def difference(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """How far (N,) logits (N,) are from others, in units of 1 + |logit|; infinity where one is not finite."""
    apart = np.abs(found.astype(np.float64) - expected) / (1 + np.abs(expected.astype(np.float64)))
    return np.where(np.isfinite(apart), apart, np.inf)


def replayed(detector: Detector) -> dict[str, float]:
    """How far the self-test's logits are from the stored ones, by runtime: its own, and torch where that is installed.

    Raises ``BundleError`` for one that is too far, and where the weights of the runtimes are not the same.
    """
    path, description = detector.path, detector.description
    assert path is not None
    stored, own = read_selftest(path), description["runtime"]
    runtimes: dict[str, Runtime] = {own: detector.runtime}
    if own in RUNTIMES:
        others = ("torch", "onnx") if MODEL in description["files"] else ("torch",)
        runtimes |= {
            name: load_runtime(path, description, name, "cpu") for name in others if name != own and _installed(name)
        }
    found = {name: runtime.logits(stored["images"]) for name, runtime in runtimes.items()}
    apart = {name: float(difference(logits, stored["logits"]).max()) for name, logits in found.items()}
    for name, far in apart.items():
        if not far <= TOLERANCE:
            raise BundleError(
                f"{path}: the self-test gives logits {found[name].tolist()} ({name}), {stored['logits'].tolist()} were stored",
                hint="the weights do not belong to this description, or the libraries differ too much",
            )
    if MODEL in description["files"]:
        _check_same(path, description)
    return apart


def _check_same(path: Path, description: dict[str, Any]) -> None:
    """Raise ``BundleError`` unless every tensor that ``model.onnx`` has by the name of a weight is that weight."""
    tensors = read_onnx(model_bytes(path, description)).tensors
    for name, weight in read_weights(path, description).items():
        if name in tensors and not np.array_equal(tensors[name], weight, equal_nan=weight.dtype.kind == "f"):
            raise BundleError(
                f"{path}: {MODEL} and {WEIGHTS} are of different networks: '{name}' differs", hint="copy it again"
            )


def _installed(runtime: str) -> bool:
    try:
        return find_spec(MODULES[runtime]) is not None
    except (ImportError, ValueError):
        return False
