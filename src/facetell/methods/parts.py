"""What a bundle holds of a trained network: its weights, the same as ONNX, and proof that both say the same."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from facetell.detector.bundle import Tensors
from facetell.detector.description import MODEL
from facetell.detector.runtimes.onnx import runtime_of
from facetell.detector.runtimes.per_face import PerFace
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.detector.selftest import PARITY, difference
from facetell.errors import BundleError, FacetellError
from facetell.faceset.samples import Samples
from facetell.methods.building import arrays_of
from facetell.networks.backbones import NAMED, Backbone, build_backbone
from facetell.networks.classical import has_steps
from facetell.networks.seeding import seeded

__all__ = ["FACES", "NetworkParts", "check_backbone", "parts_of", "some_crops"]

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


class _Pooled(nn.Module):
    """A backbone with the plainest of heads."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images).mean(dim=(1, 2, 3))


@functools.cache
def check_backbone(name: str, size: int) -> None:
    """Raise ``FacetellError`` where a backbone cannot be written as ONNX: before hours of training, not after.

    Those that are offered by name can. One that could is not tried again by the same process.
    """
    if name in NAMED:
        return
    from facetell.networks.onnx_graph import detector_graph

    with seeded(0):
        backbone = build_backbone(name, size)
    _readable(detector_graph(_Pooled(backbone), size), size)


def _readable(model: bytes, size: int) -> PerFace:
    """What judges by the file. Raises ``FacetellError`` for what we would not read from others."""
    try:
        return runtime_of(model, Path(), size)
    except BundleError as error:
        reason = error.message.removeprefix(f"{MODEL} is refused: ")
        raise FacetellError(
            f"the network as ONNX would not be read: {reason}", hint="choose another --backbone"
        ) from None


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
    apart = difference(_readable(model, size).logits(faces), runtime.logits(faces))
    off = int((apart > PARITY).sum())
    if off > OFF * len(faces) * has_steps(network):
        raise FacetellError(
            f"torch and ONNX Runtime differ on {off} of {len(faces)} faces, by up to {apart.max():.1e} of 1 + |logit|",
            hint="choose another --backbone: this one cannot be written as ONNX",
        )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkParts(arrays_of(network), selftest, model, parameters, float(apart.max()), len(crops))
