"""What a detector remembers of the faces it was validated on: points in a space of few dimensions, and no picture.

A point is the vector of the detector's own backbone at several depths (see `Embeds`) on the principal axes of the
faces kept, each axis scaled to variance 1 (whitened). Whitened, because the few axes of largest variance are those that
tell pose and light; what a generator does lies on smaller ones. At several depths, because the end of a backbone that was
fitted for long tells nothing but the fakes it knows. Vectors are not scaled to length 1 as in the paper that the search is
from: here length tells most. What was measured is on the page about `watch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from facetell.detector.description import EMBEDDING
from facetell.detector.runtimes import Embeds
from facetell.errors import BundleError, SettingsError, UsageError
from facetell.evaluation.out_of_distribution import Tail, deviation, held_out_deviation, standard

if TYPE_CHECKING:
    from facetell.faceset.samples import Samples

__all__ = ["UNLIKE", "Embedding", "also_known", "check_unlike", "embedding_reference", "groups_of", "read_embedding"]

UNLIKE = 0.01
"""Share of known faces that are called unlike all a detector knows, unless another is asked for."""

FACES = 500
DIMENSIONS = 32
LEAST = 50
"""Faces below which nothing is kept: a tenth as many dimensions and ten neighbours would be most of them."""
BATCH = 64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Embedding:
    """The known faces of a detector, N of them."""

    mean: Floats
    """(D,) of their vectors, see `Embeds`."""
    basis: Floats
    """(D, d): a vector less the mean, times this, is a point."""
    points: Floats
    """(N, d)."""
    labels: NDArray[np.int64]
    """(N,): 0 real, 1 fake."""
    groups: NDArray[np.int64]
    """(N,): the faces of a group have the same number, which says nothing else."""
    weights: Floats | None = None
    """(D,) see `facetell.evaluation.out_of_distribution.standard`; None in a detector of before."""
    deviations: Floats | None = None
    """(N,) how far each of them lies from the others."""

    def deviation(self, vectors: NDArray[np.floating[Any]]) -> Floats:
        """How far (M,) vectors (M, D) lie from the known faces. Raises ``BundleError`` for those of another backbone."""
        if vectors.shape[1] != len(self.mean):
            raise BundleError("the detector's known faces are of another backbone", hint="copy the detector again")
        assert self.weights is not None
        return deviation(vectors, self.mean, self.weights)

    def p(self, deviations: NDArray[np.floating[Any]]) -> Floats:
        """P-values (M,) of deviations (M,), see `facetell.evaluation.out_of_distribution.conformal_p`."""
        return self._tail.p(deviations)

    @cached_property
    def _tail(self) -> Tail:
        assert self.deviations is not None
        return Tail.of(self.deviations, self.groups)

    def unlike(self, asked: float | None) -> float | None:
        """The share of known faces that shall be called unlike all of them: what is ``asked`` for, else `UNLIKE`.

        None where no face is to be called so, or none can be: with G groups no share is below 1 / (G + 1).
        Raises ``UsageError`` where what is asked for cannot be.
        """
        if asked == 0 or (self.weights is None and asked is None):
            return None
        groups = len(np.unique(self.groups))
        if self.weights is not None and (asked or UNLIKE) * (groups + 1) >= 1:
            return asked or UNLIKE
        if asked is None:
            return None
        raise UsageError(
            f"the detector knows faces of {groups} groups: too few to call {asked:g} of them unlike the others"
            if self.weights is not None
            else "the detector keeps nothing by which a face could be called unlike those it knows",
            hint=f"--unlike {1 / groups:.2g} or more" if self.weights is not None else "fit it again",
        )

    def project(self, vectors: NDArray[np.floating[Any]]) -> Floats:
        """Points (M, d) of vectors (M, D)."""
        return np.asarray((np.asarray(vectors, dtype=np.float64) - self.mean) @ self.basis)


def embedding_reference(runtime: Embeds, samples: Samples, seed: int) -> dict[str, NDArray[Any]]:
    """The tensors of `Embedding` for at most 500 faces of ``samples``, half of each label, drawn by ``seed``.

    Every group gives one face before any gives a second. Empty where there are fewer than 50 faces.
    """
    rows = _drawn(samples.labels, samples.groups, seed)
    if len(rows) < LEAST:
        return {}
    batches = samples.images.batches(samples.rows[rows], BATCH)
    vectors = np.concatenate([runtime.logits_and_vectors(crops)[1] for crops in batches])
    mean = vectors.mean(axis=0)
    _, spread, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    varied = int((spread > 1e-6 * max(float(spread[0]), 1e-12)).sum())
    dimensions = min(DIMENSIONS, len(rows) // 10, varied)
    if not dimensions or not np.isfinite(vectors).all():
        return {}
    basis = axes[:dimensions].T / (spread[:dimensions] / np.sqrt(len(rows) - 1))
    _, groups = np.unique(samples.groups[rows], return_inverse=True)
    return {
        "mean": mean.astype(np.float32),
        "basis": basis.astype(np.float32),
        "points": ((vectors - mean) @ basis).astype(np.float32),
        "labels": samples.labels[rows].astype(np.int32),
        "groups": groups.astype(np.int32),
        "weights": standard(vectors)[1].astype(np.float32),
        "deviations": held_out_deviation(vectors, groups).astype(np.float32),
    }


def also_known(
    embedding: dict[str, NDArray[Any]], runtime: Embeds, samples: Samples, seed: int
) -> dict[str, NDArray[Any]]:
    """The tensors of an embedding with more faces, of a kind that came later: at most 500, as `embedding_reference` draws.

    Mean, basis and weights stay: how far a face lies from all is measured as before, and more lie far out now.
    """
    if "deviations" not in embedding:
        return embedding
    rows = _drawn(samples.labels, samples.groups, seed)
    vectors = np.concatenate(
        [runtime.logits_and_vectors(crops)[1] for crops in samples.images.batches(samples.rows[rows], BATCH)]
    )
    mean, basis, weights = (embedding[name].astype(np.float64) for name in ("mean", "basis", "weights"))
    _, groups = np.unique(samples.groups[rows], return_inverse=True)
    more = {
        "points": (vectors - mean) @ basis,
        "labels": samples.labels[rows],
        "groups": groups + embedding["groups"].max() + 1,
        "deviations": deviation(vectors, mean, weights),
    }
    return embedding | {
        name: np.concatenate([embedding[name], each.astype(embedding[name].dtype)]) for name, each in more.items()
    }


def groups_of(embedding: Mapping[str, NDArray[Any]]) -> int:
    """Of how many groups the faces are that `embedding_reference` keeps."""
    return len(np.unique(embedding["groups"])) if embedding else 0


def check_unlike(unlike: float | None) -> None:
    """Raise ``SettingsError`` for what is no share of known faces."""
    if unlike is not None and not 0 <= unlike < 1:
        raise SettingsError(f"a share of known faces lies between 0 and 1, got {unlike:g}", hint="for example 0.01")


def read_embedding(path: Path, description: dict[str, Any]) -> Embedding:
    """The known faces of the detector at ``path``, whose files were checked by ``read_bundle``.

    Raises UsageError for a detector that keeps none, BundleError for tensors that do not fit together.
    """
    if EMBEDDING not in description["files"]:
        raise UsageError(
            f"{path} keeps no points of known faces: it was fitted on fewer than {LEAST} validation faces",
            hint="fit it again, or watch it without looking at faces",
        )
    try:
        tensors = load_file(path / EMBEDDING)
        mean, basis, points = (tensors[name].astype(np.float64) for name in ("mean", "basis", "points"))
        labels, groups = (tensors[name].astype(np.int64) for name in ("labels", "groups"))
        more = [tensors[name].astype(np.float64) if name in tensors else None for name in ("weights", "deviations")]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path / EMBEDDING} cannot be read: {error!r}") from error
    found = Embedding(mean, basis, points, labels, groups, *more)
    if not _fits(found):
        raise BundleError(f"{path / EMBEDDING} is damaged: its tensors do not fit together")
    return found


def _fits(found: Embedding) -> bool:
    n, shape = len(found.labels), found.basis.shape
    return (
        found.mean.ndim == found.labels.ndim == found.groups.ndim == 1
        and found.basis.ndim == found.points.ndim == 2
        and shape == (len(found.mean), found.points.shape[1])
        and 0 < shape[1] <= shape[0]
        and len(found.points) == len(found.groups) == n >= LEAST
        and all(bool(np.isfinite(each).all()) for each in (found.mean, found.basis, found.points))
        and bool(np.isin(found.labels, (0, 1)).all())
        and (found.weights is None) == (found.deviations is None)
        and (found.weights is None or _fits_too(found.weights, len(found.mean)))
        and (found.deviations is None or _fits_too(found.deviations, n))
    )


def _fits_too(values: Floats, length: int) -> bool:
    return values.shape == (length,) and bool((np.isfinite(values) & (values >= 0)).all())


def _drawn(labels: NDArray[np.int8], groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most half of `FACES` rows of each label, ascending; one of each group comes before any second one."""
    order = np.random.default_rng([seed, 7]).permutation(len(labels))
    by_group = order[np.argsort(groups[order], kind="stable")]
    _, starts, sizes = np.unique(groups[by_group], return_index=True, return_counts=True)
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_group] = np.arange(len(labels)) - np.repeat(starts, sizes)
    queue = order[np.argsort(turn[order], kind="stable")]
    return np.sort(np.concatenate([queue[labels[queue] == label][: FACES // 2] for label in (0, 1)]))
