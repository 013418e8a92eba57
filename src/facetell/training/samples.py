"""Face sets as arguments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError, near_miss
from facetell.faceset.decoded import decoded
from facetell.faceset.table import FaceSet
from facetell.training.batches import draw_shots
from facetell.training.loop import Samples

__all__ = ["check_split", "group_codes", "samples_of"]


def check_split(faceset: FaceSet, split: str, purpose: str) -> None:
    """Raise ``DataError`` unless the face set has the split."""
    if split not in faceset.splits:
        raise DataError(
            f"{faceset.path} has no split '{split}' to {purpose}{near_miss(split, faceset.splits)}",
            hint=f"it has: {', '.join(faceset.splits)}",
        )


def samples_of(
    faces: FaceSet,
    split: str,
    size: int,
    progress: Callable[[int, int], None] | None = None,
    shots: int | None = None,
    seed: int = 0,
) -> Samples:
    """The decoded images of a split with their labels and groups; ``shots`` per class, drawn by ``seed``, or all."""
    labels = faces.labels(split)
    rows = np.arange(len(labels)) if shots is None else draw_shots(labels, shots, seed)
    return Samples(decoded(faces, split, size, progress), rows, labels[rows], group_codes(faces, split)[rows])


def group_codes(faces: FaceSet, split: str | None = None) -> NDArray[np.int64]:
    """Codes (N,) of the groups of a split, or of all rows, in the order in which they come."""
    codes: NDArray[np.int32] = (
        faces.columns(["group"], split)["group"].combine_chunks().dictionary_encode().indices.to_numpy()
    )
    return codes.astype(np.int64)
