"""What a bundle holds of a trained network: its weights, the same as ONNX, and proof that both say the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from facetell.detector.bundle import Tensors
from facetell.detector.runtimes.onnx import runtime_of
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.detector.selftest import PARITY, difference
from facetell.errors import FacetellError
from facetell.faceset.samples import Samples
from facetell.methods.building import arrays_of
from facetell.networks.classical import has_steps

__all__ = ["FACES", "NetworkParts", "parts_of", "some_crops"]

FACES = 256
"""Faces on which both must say the same, beside the self-test."""
OFF = 0.02
"""Of decision trees the share of faces that may differ: where a feature lies on a threshold, rounding decides a branch."""


@dataclass(frozen=True)
class NetworkParts:
    """``weights``, ``selftest`` and ``model`` as `write_bundle` takes them; ``parameters``: how many numbers were learned.

    ``parity``: how far the logits of torch and ONNX Runtime were apart at most, in units of 1 + |logit|, on ``faces`` faces.
    """

    weights: Tensors
    selftest: Tensors
    model: bytes
    parameters: int
    parity: float
    faces: int


def some_crops(samples: Samples, seed: int) -> NDArray[np.uint8]:
    """At most `FACES` crops (N, S, S, 3) of ``samples``, drawn by ``seed``."""
    order = np.random.default_rng([seed, 11]).permutation(len(samples))[:FACES]
    return samples.images.gather(samples.rows[np.sort(order)])


def parts_of(network: nn.Module, size: int, crops: NDArray[np.uint8], *, vectors: bool) -> NetworkParts:
    """Write a network down, and compare torch with ONNX Runtime on the self-test and on ``crops`` (N, size, size, 3).

    ``vectors``: the detector keeps known faces, so its graph must give their vectors too. The network is on the CPU then.
    Raises ``FacetellError`` where ONNX has no words for it, or where the two differ.
    """
    from facetell.networks.onnx_graph import detector_graph  # it takes seconds to import

    runtime = TorchRuntime(network, size)
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    selftest: Tensors = {"images": images, "logits": runtime.logits(images)}
    model = detector_graph(network, size, vectors=vectors)
    faces = np.concatenate([images, crops])
    apart = difference(runtime_of(model, Path(), size).logits(faces), runtime.logits(faces))
    off = int((apart > PARITY).sum())
    if off > OFF * len(faces) * has_steps(network):
        raise FacetellError(
            f"torch and ONNX Runtime differ on {off} of {len(faces)} faces, by up to {apart.max():.1e} of 1 + |logit|",
            hint="choose another --backbone: this one cannot be written as ONNX",
        )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkParts(arrays_of(network), selftest, model, parameters, float(apart.max()), len(crops))
