"""Feature vectors of a frozen backbone, or statistics of its maps: computed once for a set of rows, then read from the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facetell.errors import FacetellError
from facetell.faceset.cache import ELSEWHERE, cache_dir, prune
from facetell.faceset.decoded import DecodedImages
from facetell.faceset.samples import Samples
from facetell.files import locked, whole_file
from facetell.networks.acceleration import fast_inference
from facetell.networks.backbones import Backbone
from facetell.networks.depth import DepthStatistics
from facetell.networks.tensors import add_tensors
from facetell.progress import Progress, Step, silent
from facetell.threads import ordered
from facetell.training.batches import iterate
from facetell.training.degraded import degraded
from facetell.training.onnx_reader import OnnxReader

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["MIRRORED", "extract", "keep_vectors", "kept_vectors", "logits_from", "statistics_reader", "vectors_of"]

VERSION = 2
"""Part of the key: raise it whenever the same pictures and weights give other vectors."""
BATCH = 64
MIRRORED = -1
"""The view that is the crop's mirror image."""


class _Vectors(nn.Module):
    """The backbone's vector as a forward pass, which is what `fast_inference` speeds up."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.vector(images)


def extract(
    backbone: Backbone | DepthStatistics, samples: Samples, fabric: Fabric, progress: Progress = silent, view: int = 0
) -> NDArray[np.float32]:
    """Vectors (N, D) of ``samples`` in order, from the cache or computed now and kept.

    Of view 0, the crops as they are, of `MIRRORED`, or of another one: each number above 0 is another draw of `degraded`.

    The key covers all that decides them: the pictures (the decoded file's name carries the face set's fingerprint,
    split, size and version of the decoding), the rows, the backbone's name and weights, and the precision. Raises
    ``FacetellError`` when a vector is not finite.
    """
    rows, place = np.unique(samples.rows, return_inverse=True)  # the same rows in another order are the same vectors
    key = _key(backbone, samples.images, rows, str(fabric.strategy.precision.precision), view)
    vectors = kept_vectors(key, len(rows))
    if vectors is None:
        with locked(_path(key), hint=ELSEWHERE):  # another process may be computing the same ones
            vectors = kept_vectors(key, len(rows))
            if vectors is None:
                vectors = _compute(backbone, samples.images, rows, fabric, progress, view)
                keep_vectors(key, vectors)
    return vectors[place]


@torch.no_grad()
def logits_from(head: nn.Module, vectors: NDArray[np.float32], fabric: Fabric) -> NDArray[np.float32]:
    """Logits (N,) of a head on vectors (N, D)."""
    logits: NDArray[np.float32] = head(torch.from_numpy(vectors).to(fabric.device)).cpu().numpy()
    return logits


@torch.no_grad()
def vectors_of(backbone: Backbone, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Vectors (N, D) of crops in memory, uint8 (N, S, S, 3)."""
    network = fast_inference(_Vectors(backbone), pixels.shape[1])
    parts = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    made = [network(torch.from_numpy(part).permute(0, 3, 1, 2).float().div_(255)).float().numpy() for part in parts]
    return np.concatenate(made)


def _key(
    backbone: Backbone | DepthStatistics, images: DecodedImages, rows: NDArray[np.int64], precision: str, view: int
) -> str:
    pictures = [VERSION, images.path.name, backbone.name, precision, view]
    digest = hashlib.sha256(json.dumps(pictures).encode())
    digest.update(rows.tobytes())
    add_tensors(digest, backbone.state_dict())
    return digest.hexdigest()[:32]


@torch.no_grad()
def _compute(
    backbone: Backbone | DepthStatistics,
    images: DecodedImages,
    rows: NDArray[np.int64],
    fabric: Fabric,
    progress: Progress,
    view: int,
) -> NDArray[np.float32]:
    network, length, batch = statistics_reader(backbone, images.size, fabric)
    vectors = np.empty((len(rows), length), np.float32)
    done = 0
    for pixels, chosen in iterate(images, rows, batch, fabric.device):
        if view:
            pixels = pixels.flip(3) if view == MIRRORED else _degraded(pixels, view, chosen)
        vectors[done : done + len(chosen)] = network(pixels.float().div_(255))
        done += len(chosen)
        progress(Step("features", done, len(rows), "faces"))
    if not np.isfinite(vectors).all():
        raise FacetellError(f"the features of {backbone.name} are not finite", hint="are its weights whole?")
    return vectors


def statistics_reader(
    backbone: Backbone | DepthStatistics, size: int, fabric: Fabric
) -> tuple[Callable[[Tensor], NDArray[np.float32]], int, int]:
    """The quickest that gives the vectors of images (B, 3, S, S) in [0, 1], the length of these, and the best B."""
    reads: nn.Module
    if isinstance(backbone, DepthStatistics):  # its maps are large
        reads, length, batch = backbone, backbone.length, BATCH
        if fabric.device.type == "cpu":
            batch = min(BATCH, max(BATCH * 128**2 // size**2, 4))
            with contextlib.suppress(ImportError):
                return OnnxReader(backbone, size), length, BATCH
    else:
        reads, length, batch = _Vectors(backbone), backbone.vector_length(size), BATCH
    network = fast_inference(reads.to(fabric.device), size)

    def read(images: Tensor) -> NDArray[np.float32]:
        with fabric.autocast():
            found: NDArray[np.float32] = network(images).float().cpu().numpy()
        return found

    return read, length, batch


def _degraded(pixels: Tensor, view: int, rows: NDArray[np.int64]) -> Tensor:
    """Another view of a batch (B, 3, S, S): that of a row is the same whatever the batch."""
    crops = pixels.permute(0, 2, 3, 1).cpu().numpy()
    changed = list(
        ordered(lambda place: degraded(crops[place], np.random.default_rng([view, rows[place]])), range(len(rows)))
    )
    return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2).to(pixels.device)


def kept_vectors(key: str, rows: int) -> NDArray[np.float32] | None:
    """The vectors (rows, D) in the cache folder under ``key``, or None. A damaged file counts as none: it is made again."""
    path = _path(key)
    try:
        vectors = np.load(path, allow_pickle=False)
        os.utime(path)  # the least recently used go first
    except (OSError, ValueError, EOFError):
        return None
    whole = vectors.ndim == 2 and len(vectors) == rows and vectors.dtype == np.float32
    return vectors if whole else None


def keep_vectors(key: str, vectors: NDArray[np.float32]) -> None:
    """Write vectors (N, D) under ``key``, whole or not at all, beside the decoded pictures and under their limit.

    Raises:
        DataError: the cache folder cannot be written.
    """
    target = _path(key)
    prune(keep=target, coming=vectors.nbytes)
    with whole_file(target, hint=ELSEWHERE) as partial, partial.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)


def _path(key: str) -> Path:
    return cache_dir() / f"vectors-{key}.npy"
