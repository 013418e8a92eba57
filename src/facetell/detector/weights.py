"""The tensors of a bundle: of its network, wherever they are, and of its self-test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from facetell.detector.bundle import Tensors, hash_of_tensors
from facetell.detector.description import MODEL, SELFTEST, WEIGHTS, weights_hash
from facetell.detector.runtimes.onnx_model import read_onnx
from facetell.errors import BundleError

__all__ = ["model_bytes", "read_selftest", "read_weights"]


def read_weights(path: Path, description: dict[str, Any]) -> Tensors:
    """All tensors of the network of the bundle at ``path``, whose files were checked by ``read_bundle``.

    Those that its description says are in ``model.onnx`` alone are read there: numbers of the same names and types. Raises
    ``BundleError``.
    """
    found = _read(path / WEIGHTS)
    if "weights" not in description:
        return found
    there = read_onnx(model_bytes(path, description)).tensors
    found |= {name: there[name].copy() for name in description["weights"]["in_model"] if name in there}
    if hash_of_tensors(found) != weights_hash(description):
        raise BundleError(f"{path}: the tensors in {MODEL} and {WEIGHTS} are not those that were written")
    return found


def read_selftest(path: Path) -> Tensors:
    """``images`` and ``logits`` that `verify` replays. Raises ``BundleError``."""
    found = _read(path / SELFTEST)
    if set(found) != {"images", "logits"}:
        raise BundleError(f"{path}: the self-test is damaged")
    return found


def model_bytes(path: Path, description: dict[str, Any]) -> bytes:
    """``model.onnx`` of the bundle at ``path``, whose files were checked. Raises ``BundleError`` where it has none."""
    if MODEL not in description["files"]:
        raise BundleError(f"{path} has no {MODEL}", hint="--runtime torch, or fit it again")
    try:
        return (path / MODEL).read_bytes()
    except OSError as error:
        raise BundleError(f"{path / MODEL} cannot be read: {error}") from error


def _read(file: Path) -> Tensors:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{file} cannot be read: {error}") from error
