"""Feature vectors kept in the cache folder, one ``.npy`` file per key, beside the decoded pictures and under their limit."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facetell.faceset.decoded import ELSEWHERE, cache_dir, prune
from facetell.files import locked, whole_file

__all__ = ["keep_vectors", "kept_vectors", "making"]


def making(key: str) -> AbstractContextManager[None]:
    """One process at a time computes the vectors of ``key``; the others wait, and then find them kept."""
    return locked(_path(key), hint=ELSEWHERE)


def kept_vectors(key: str, rows: int) -> NDArray[np.float32] | None:
    """The vectors (rows, D) that were kept under ``key``, or None. A damaged file counts as none: it is made again."""
    path = _path(key)
    try:
        vectors = np.load(path, allow_pickle=False)
        os.utime(path)  # the least recently used go first
    except (OSError, ValueError, EOFError):
        return None
    whole = vectors.ndim == 2 and len(vectors) == rows and vectors.dtype == np.float32
    return vectors if whole else None


def keep_vectors(key: str, vectors: NDArray[np.float32]) -> None:
    """Write vectors (N, D) under ``key``, whole or not at all.

    Raises:
        DataError: the cache folder cannot be written.
    """
    target = _path(key)
    prune(keep=target, coming=vectors.nbytes)
    with whole_file(target, hint=ELSEWHERE) as partial, partial.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)


def _path(key: str) -> Path:
    return cache_dir() / f"vectors-{key}.npy"
