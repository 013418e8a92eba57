"""Which faces lie far from all known ones and close to each other? By distances between points.

*Far* is measured as by Sun et al. (2022, "Out-of-distribution detection with deep nearest neighbors"): by the distance
to the k-th nearest known face, held against the same distance of the known faces themselves, each without its own group.
Unlike there points are not scaled to length 1, and far is not rare: a fifth of the known faces is.

What makes a cluster is a local two-sample test. Had the files been drawn like the known faces, all points round a file
would come in random order of distance, so the number of other files before the k-th known face is negative
hypergeometric, exactly. A file is the *core* of a cluster where it is far and that number is too large for one of
three k, at ``alpha`` over all files and k (Bonferroni). How many of the files are fake is not known, and traffic is old
news if it is like known reals and fakes in *some* mix: nowhere is it denser than the denser of the two. So the test is
made against the known reals and against the known fakes, and the larger p counts. All this holds for points that are
independent; those of one person are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError

__all__ = ["FAR", "LEAST", "NEIGHBOURS", "Novelty", "crowding_p", "novelty"]

NEIGHBOURS = 10
SCALES = (1, 3, NEIGHBOURS)
"""Which known neighbour ends the neighbourhood of the local test: the nearest for a small cluster that lies alone (15 of
240 files beside 300 known faces: p = 0.002, adjusted for files, where the tenth gives 0.8), the tenth for one that touches
the known faces."""
FAR = 0.8
"""Share of the known faces that is nearer to the others than what is called far."""
LINK = 0.95
"""Share of the known faces whose distance is less than that over which two cores belong to one cluster."""
LEAST = 5
"""Files of a cluster."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Novelty:
    """What is said of N files against M known faces."""

    distances: Floats
    """(N,) to the k-th nearest known face."""
    far: NDArray[np.bool_]
    """(N,) whether that is more than `FAR` of the known faces have."""
    p: Floats
    """(N,) of the local test, adjusted for all tests, at most 1."""
    nearest: NDArray[np.int64]
    """(N, k) the known faces nearest to each file, in no order."""
    clusters: list[NDArray[np.int64]]
    """The files of each cluster, those nearest to its mean first; the largest cluster first."""
    known: list[int]
    """How many known faces would be members of each cluster."""


def novelty(
    points: ArrayLike,
    known: ArrayLike,
    groups: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = NEIGHBOURS,
    alpha: float = 0.05,
) -> Novelty:
    """Find clusters among ``points`` (N, D) that are new beside ``known`` (M, D) of ``groups`` and ``labels`` (M,).

    A member is a core, or a far file that is nearer to a core than to its own k-th known face (and not farther than
    cores are linked). A cluster has at least `LEAST` members.

    Raises DataError where a known face has fewer than ``k`` others outside its group.
    """
    from scipy.sparse.csgraph import connected_components  # slow to import, as the other
    from scipy.spatial.distance import cdist

    x, r = np.asarray(points, dtype=np.float64), np.asarray(known, dtype=np.float64)
    names = np.asarray(groups)
    own = cdist(r, r)
    own[names[:, None] == names] = np.inf
    if len(r) <= k or not np.isfinite(apart := np.partition(own, k - 1, axis=1)[:, k - 1]).all():
        raise DataError(f"the reference has too few groups: every face needs {k} others outside its own")
    limit, link = np.quantile(apart, [FAR, LINK])
    to_known, between = cdist(x, r), cdist(x, x)
    nearest = np.argpartition(to_known, k - 1, axis=1)[:, :k]
    distances = np.take_along_axis(to_known, nearest, axis=1).max(axis=1)
    far = distances > limit
    kinds = [to_known[:, np.asarray(labels) == label] for label in np.unique(labels)]
    p = np.max([_crowded(between, kind, k) for kind in kinds], axis=0)
    cores = np.flatnonzero(far & (p < alpha))
    _, of_core = connected_components(between[np.ix_(cores, cores)] < link, directed=False)
    clusters, counts = [], []
    belongs = _belongs(between[:, cores], of_core, np.where(far, np.minimum(distances, link), 0.0))
    belongs[cores] = of_core
    faces = _belongs(to_known[cores].T, of_core, np.where(apart > limit, np.minimum(apart, link), 0.0))
    for name in range(of_core.max(initial=-1) + 1):
        members = np.flatnonzero(belongs == name)
        if len(members) >= LEAST:
            off = np.square(x[members] - x[members].mean(axis=0)).sum(axis=1)
            clusters.append(members[np.argsort(off, kind="stable")])
            counts.append(int((faces == name).sum()))
    order = sorted(range(len(clusters)), key=lambda i: -len(clusters[i]))
    return Novelty(distances, far, p, nearest, [clusters[i] for i in order], [counts[i] for i in order])


def _crowded(between: Floats, to_known: Floats, k: int) -> Floats:
    """The adjusted p (N,) of the local test, with ``between`` (N, N) and ``to_known`` (N, M)."""
    n, m = to_known.shape
    scales = sorted({min(scale, k, m) for scale in SCALES})
    radii = np.sort(np.partition(to_known, scales[-1] - 1, axis=1)[:, : scales[-1]], axis=1)
    lowest = np.ones(n)
    for scale in scales:
        radius = radii[:, scale - 1]
        # A file is no neighbour of its own; one that is a known face has a radius of nothing but rounding.
        crowd = np.maximum(np.sum(between < radius[:, None], axis=1) - (radius > 0), 0)
        lowest = np.minimum(lowest, crowding_p(crowd, scale, n - 1, m) * len(scales) * n)
    return lowest


def crowding_p(crowd: ArrayLike, k: int, files: int, known: int) -> Floats:
    """Return (N,) how often at least ``crowd`` (N,) of ``files`` come before the k-th of ``known`` in random order.

    That is: among the first crowd + k - 1 of all are at most k - 1 known ones, which is hypergeometric. 1 ≤ k ≤ known.
    """
    from scipy.stats import hypergeom  # slow to import

    first = np.asarray(crowd, dtype=np.int64) + k - 1
    return np.asarray(hypergeom.cdf(k - 1, files + known, known, first))


def _belongs(to_cores: Floats, of_core: NDArray[np.integer[Any]], reach: Floats) -> NDArray[np.int64]:
    """The component (N,) of the nearest core by ``to_cores`` (N, C) where that is nearer than ``reach`` (N,), else -1."""
    if not len(of_core):
        return np.full(len(to_cores), -1, dtype=np.int64)
    return np.where(to_cores.min(axis=1) < reach, of_core[to_cores.argmin(axis=1)], -1)
