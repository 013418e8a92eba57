"""Rows of a face set, decoded, with their labels and groups: what is learned from and measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, near_miss
from facetell.faceset.decoded import DecodedImages, decoded
from facetell.faceset.table import FaceSet
from facetell.labels import LABELS
from facetell.progress import Progress, silent

__all__ = ["Samples", "check_split", "draw_shots", "group_codes", "samples_of"]


@dataclass(frozen=True)
class Samples:
    """Decoded images, the rows of them to use, and for each of these rows a label (0 real, 1 fake) and a group's number.

    The rows of a group (a person, a source video) belong on one side of every cross-validation. ``sources``: the number of
    each row's generator or data set, where it is known, and ``source_names`` what these are called.
    """

    images: DecodedImages
    rows: NDArray[np.int64]
    labels: NDArray[np.int8]
    groups: NDArray[np.int64]
    sources: NDArray[np.int64] | None = None
    source_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Samples:
        """Those at some positions, or where a mask (N,) is true."""
        sources = None if self.sources is None else self.sources[which]
        return Samples(
            self.images, self.rows[which], self.labels[which], self.groups[which], sources, self.source_names
        )


def check_split(faceset: FaceSet, split: str, purpose: str) -> None:
    """Raise ``DataError`` unless the face set has the split."""
    if split not in faceset.splits:
        raise DataError(
            f"{faceset.path} has no split '{split}' to {purpose}{near_miss(split, faceset.splits)}",
            hint=f"it has: {', '.join(faceset.splits)}",
        )


def samples_of(
    faces: FaceSet, split: str, size: int, progress: Progress = silent, shots: int | None = None, seed: int = 0
) -> Samples:
    """The decoded images of a split with their labels, groups and sources; ``shots`` per class, drawn by ``seed``, or all."""
    labels = faces.labels(split)
    rows = np.arange(len(labels)) if shots is None else draw_shots(labels, shots, seed)
    (groups, _), (sources, names) = (_codes(faces, column, split) for column in ("group", "source"))
    return Samples(decoded(faces, split, size, progress), rows, labels[rows], groups[rows], sources[rows], names)


def group_codes(faces: FaceSet, split: str | None = None) -> NDArray[np.int64]:
    """Codes (N,) of the groups of a split, or of all rows, in the order in which they come."""
    return _codes(faces, "group", split)[0]


def _codes(faces: FaceSet, column: str, split: str | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Codes (N,) of a column's values, and these in the order of their codes."""
    encoded = faces.columns([column], split)[column].combine_chunks().dictionary_encode()
    codes: NDArray[np.int32] = encoded.indices.to_numpy()
    return codes.astype(np.int64), tuple(map(str, encoded.dictionary.to_pylist()))


def draw_shots(labels: ArrayLike, shots: int, seed: int) -> NDArray[np.int64]:
    """Draw ``shots`` rows of each class: (2 · shots,) indices into ``labels``, real and fake in turns.

    Draws are nested: those for 25 shots are the beginning of those for 100 with the same seed, so that learning curves
    compare like with like.

    Raises:
        DataError: a class has fewer rows, or ``shots`` is not positive.
    """
    values = np.asarray(labels)
    if shots < 1:
        raise DataError(f"shots must be at least 1, not {shots}")
    drawn = []
    for label in range(len(LABELS)):
        members = np.flatnonzero(values == label)
        if len(members) < shots:
            most = min(int((values == 0).sum()), int((values == 1).sum()))
            raise DataError(
                f"{shots} shots need as many pictures of each label; there are {len(members)} {LABELS[label]} ones",
                hint=f"ask for at most {most} shots, or add pictures",
            )
        drawn.append(np.random.default_rng([seed, label]).permutation(members)[:shots])
    return np.stack(drawn, axis=1).reshape(-1).astype(np.int64)
