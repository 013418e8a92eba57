"""Feature vectors of a frozen backbone: computed once for a set of rows, then read from the cache."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from facetell.data.batches import iterate
from facetell.data.vectors import keep_vectors, kept_vectors
from facetell.errors import FacetellError
from facetell.networks.backbones import Backbone
from facetell.training.loop import Samples, Step
from facetell.training.runtime import fast_inference

__all__ = ["extract"]

VERSION = 1
"""Part of the key: raise it whenever the same pictures and weights give other vectors."""
BATCH = 64


class _Vectors(nn.Module):
    """The backbone's vector as a forward pass, which is what `fast_inference` speeds up."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.vector(images)


def extract(
    backbone: Backbone, samples: Samples, fabric: Fabric, on_step: Callable[[Step], None] | None = None
) -> NDArray[np.float32]:
    """Vectors (N, D) of ``samples`` in order, from the cache or computed now and kept.

    The key covers all that decides them: the pictures (the decoded file's name carries the face set's fingerprint,
    split, size and version of the decoding), the rows, the backbone's name and weights, and the precision. Raises
    ``FacetellError`` when a vector is not finite.
    """
    key = _key(backbone, samples, str(fabric.strategy.precision.precision))
    vectors = kept_vectors(key, len(samples))
    if vectors is None:
        vectors = _compute(backbone, samples, fabric, on_step)
        keep_vectors(key, vectors)
    return vectors


def _key(backbone: Backbone, samples: Samples, precision: str) -> str:
    pictures = [VERSION, samples.images.path.name, backbone.name, samples.images.size, precision]
    digest = hashlib.sha256(json.dumps(pictures).encode())
    digest.update(samples.rows.tobytes())
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@torch.no_grad()
def _compute(
    backbone: Backbone, samples: Samples, fabric: Fabric, on_step: Callable[[Step], None] | None
) -> NDArray[np.float32]:
    size = samples.images.size
    network = fast_inference(_Vectors(backbone).to(fabric.device), size)
    vectors = np.empty((len(samples), backbone.vector_length(size)), np.float32)
    began, done = time.perf_counter(), 0
    for pixels, rows in iterate(samples.images, samples.rows, BATCH, fabric.device):
        with fabric.autocast():
            vectors[done : done + len(rows)] = network(pixels.float().div_(255)).float().cpu().numpy()
        done += len(rows)
        if on_step:
            rate = done / (time.perf_counter() - began)
            on_step(
                Step(done, len(samples), 1, 1, math.nan, math.nan, rate, (len(samples) - done) / rate, stage="features")
            )
    if not np.isfinite(vectors).all():
        raise FacetellError(f"the features of {backbone.name} are not finite", hint="are its weights whole?")
    return vectors
