"""Which faces of a face set a small memory of it keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facetell.faceset.table import FaceSet

__all__ = ["remembered"]


def remembered(faces: FaceSet, split: str, most: int, seed: int) -> NDArray[np.int64]:
    """Rows of a split, at most ``most``: half real and half fake, within each label equally many of every source.

    A label or source that has less leaves the rest to the others. A group gives a second face only when every group of
    its source has given one. Drawn by ``seed``; the draw for a smaller number is part of that for a larger one only
    within a source.
    """
    table = faces.columns(["label", "source", "group"], split)
    labels = table["label"].to_numpy()
    sources = table["source"].combine_chunks().dictionary_encode().indices.to_numpy()
    groups = table["group"].combine_chunks().dictionary_encode().indices.to_numpy()
    rng = np.random.default_rng(seed)
    walks: dict[int, list[NDArray[np.int64]]] = {0: [], 1: []}
    for label, cells in walks.items():
        for source in np.unique(sources[labels == label]):
            members = rng.permutation(np.flatnonzero((labels == label) & (sources == source)))
            cells.append(members[np.argsort(_turns(groups[members]), kind="stable")])
    counts = _shared([sum(map(len, cells)) for cells in walks.values()], most)
    chosen = [
        walk[:count]
        for cells, number in zip(walks.values(), counts, strict=True)
        for walk, count in zip(cells, _shared([len(walk) for walk in cells], number), strict=True)
    ]
    return np.sort(np.concatenate(chosen)) + faces.rows(split).start


def _turns(groups: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many of the same group come before each."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    turns = np.empty(len(groups), np.int64)
    turns[order] = np.arange(len(groups)) - np.repeat(starts, np.diff([*starts, len(groups)]))
    return turns


def _shared(sizes: list[int], most: int) -> list[int]:
    """Parts of ``most`` as equal as ``sizes`` allow."""
    counts = [0] * len(sizes)
    left = most
    for place, index in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        counts[index] = min(sizes[index], left // (len(sizes) - place))
        left -= counts[index]
    return counts
