"""What an embedding of faces looks like: how far it is spread, how well it parts the classes, and its plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["nearness", "plane", "spread"]

Floats = NDArray[np.float64]


def spread(embeddings: ArrayLike) -> float:
    """Mean squared distance between two different rows of (N, D), N ≥ 2: 0 for a collapsed embedding."""
    x = np.asarray(embeddings, dtype=np.float64)
    return float(2 * np.square(x - x.mean(axis=0)).sum() / (len(x) - 1))


def nearness(embeddings: ArrayLike, labels: ArrayLike) -> Floats:
    """How much nearer each row of (N, D) is to the fakes than to the reals: (N,), higher = more fake.

    The mean squared distance to all other reals minus that to all other fakes. Nothing is compared with itself, so
    where an embedding knows nothing these scores know nothing. Each class needs two rows.
    """
    x, y = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    x = x - x.mean(axis=0)  # distances stay; what is summed below becomes small
    own = np.square(x).sum(axis=1)
    distances = []
    for label in (0, 1):
        members = y == label
        total = members.sum() * own - 2 * x @ x[members].sum(axis=0) + own[members].sum()
        distances.append(total / (members.sum() - members))
    return np.asarray(distances[0] - distances[1])


def plane(embeddings: ArrayLike, labels: ArrayLike) -> Floats:
    """The rows of (N, D), D ≥ 2, on their two principal axes: (N, 2); signs are such that fakes lie right and above."""
    x, y = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    x = x - x.mean(axis=0)
    _, axes = np.linalg.eigh(x.T @ x)  # eigenvalues rise
    points = x @ axes[:, :-3:-1]
    return np.asarray(points * np.where(points[y == 1].mean(axis=0) < points[y == 0].mean(axis=0), -1.0, 1.0))
