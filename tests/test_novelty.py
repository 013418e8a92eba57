"""Clusters of new points: gaussians by hand, slow loops, and the probability against scipy and counting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse, stats

from facetell.errors import DataError
from facetell.evaluation.novelty import FAR, LINK, Novelty, crowding_p
from facetell.evaluation.novelty import novelty as labelled

RNG = np.random.default_rng


def novelty(points: np.ndarray, known: np.ndarray, groups: np.ndarray, **options: float) -> Novelty:
    """All known faces of one label."""
    return labelled(points, known, groups, np.zeros(len(known)), **options)  # type: ignore[arg-type]


def known_points(seed: int = 0, n: int = 300, d: int = 6) -> np.ndarray:
    return RNG(seed).normal(0, 1, (n, d))


def test_the_probability_is_that_of_random_order() -> None:
    """Three files and four known faces: all 35 orders, counted."""
    orders = list(itertools.combinations(range(7), 3))
    for k, crowd in itertools.product(range(1, 5), range(4)):
        hits = 0
        for places in orders:
            known = [at for at in range(7) if at not in places]
            hits += sum(at < known[k - 1] for at in places) >= crowd
        assert crowding_p([crowd], k, 3, 4)[0] == pytest.approx(hits / len(orders))


def test_the_probability_is_scipys_negative_hypergeometric() -> None:
    crowd = np.array([0, 1, 20, 80, 200, 999])
    # The k-th known face comes after `crowd` files or more: scipy counts the files (successes) before k failures.
    expected = stats.nhypergeom(M=999 + 500, n=999, r=10).sf(crowd - 1)
    np.testing.assert_allclose(crowding_p(crowd, 10, 999, 500), expected, rtol=1e-6, atol=1e-10)


def test_a_new_cluster_is_found_and_only_that() -> None:
    rng = RNG(1)
    old, new = known_points(2, 300), rng.normal(0, 0.3, (40, 6)) + 4
    found = novelty(np.concatenate([old, new]), known_points(), np.arange(300))
    assert [sorted(members.tolist()) for members in found.clusters] == [list(range(300, 340))]
    assert found.known == [0]
    assert found.p[300:].max() < 1e-6
    middle = new.mean(axis=0)
    nearest = 300 + int(np.linalg.norm(new - middle, axis=1).argmin())
    assert found.clusters[0][0] == nearest


def test_two_new_clusters_stay_apart_the_larger_first() -> None:
    rng = RNG(3)
    apart = np.zeros(6)
    apart[0] = 9.0
    new = np.concatenate([rng.normal(0, 0.3, (15, 6)) + 6, rng.normal(0, 0.3, (25, 6)) - apart])
    found = novelty(np.concatenate([known_points(4, 200), new]), known_points(), np.arange(300))
    assert [sorted(each.tolist()) for each in found.clusters] == [list(range(215, 240)), list(range(200, 215))]


def test_traffic_of_known_faces_has_no_cluster() -> None:
    """At most one in twenty draws may have one; a core alone is none."""
    seen = sum(
        bool(novelty(known_points(100 + seed, 250), known_points(seed), np.arange(300)).clusters) for seed in range(40)
    )
    assert seen <= 2


def test_outliers_that_lie_alone_are_no_cluster() -> None:
    far = 8 * np.eye(6)[RNG(5).integers(0, 6, 4)] * RNG(6).uniform(1, 5, (4, 1))
    found = novelty(np.concatenate([known_points(7, 200), far]), known_points(), np.arange(300))
    assert found.clusters == []
    assert found.far[200:].all()


def test_a_crowd_among_the_known_is_not_new() -> None:
    """Another share of a known kind: many more files, in the middle of known faces."""
    crowd = RNG(8).normal(0, 0.2, (200, 6))
    found = novelty(crowd, known_points(), np.arange(300))
    assert found.p.min() < 1e-6
    assert found.clusters == []


def test_against_slow_loops() -> None:
    rng = RNG(9)
    known, groups = known_points(10, 80, 3), rng.integers(0, 50, 80)
    x = np.concatenate([rng.normal(0, 1, (60, 3)), rng.normal(0, 0.4, (25, 3)) + 2.5])
    k = 4
    found = novelty(x, known, groups, k=k, alpha=0.2)
    own = np.array(
        [
            sorted(float(np.linalg.norm(a - b)) for j, b in enumerate(known) if groups[j] != groups[i])[k - 1]
            for i, a in enumerate(known)
        ]
    )
    limit, link = np.quantile(own, [FAR, LINK])
    distance = np.array([sorted(float(np.linalg.norm(a - b)) for b in known)[k - 1] for a in x])
    np.testing.assert_allclose(found.distances, distance)
    assert found.far.tolist() == (distance > limit).tolist()
    for i, a in enumerate(x):
        nearest = {j for j, b in enumerate(known) if np.linalg.norm(a - b) <= distance[i] + 1e-9}
        assert set(found.nearest[i].tolist()) == nearest
    p = np.full(85, 1.0)
    for scale in (1, 3, k):
        for i, a in enumerate(x):
            radius = sorted(float(np.linalg.norm(a - b)) for b in known)[scale - 1]
            crowd = sum(bool(np.linalg.norm(a - b) < radius) for j, b in enumerate(x) if j != i)
            p[i] = min(p[i], 3 * 85 * float(stats.nhypergeom(M=84 + 80, n=84, r=scale).sf(crowd - 1)))
    np.testing.assert_allclose(found.p, p, rtol=1e-6)
    cores = [i for i in range(85) if found.far[i] and p[i] < 0.2]
    near = np.array([[np.linalg.norm(x[i] - x[j]) < link for j in cores] for i in cores])
    count, names = sparse.csgraph.connected_components(sparse.csr_matrix(near))
    expected: dict[int, set[int]] = {name: set() for name in range(count)}
    for i, a in enumerate(x):
        to = [float(np.linalg.norm(a - x[core])) for core in cores]
        if i in cores or (found.far[i] and min(to) < min(distance[i], link)):
            expected[int(names[int(np.argmin(to))])].add(i)
    whole = [members for members in expected.values() if len(members) >= 5]
    assert len(whole) >= 1
    assert sorted(map(sorted, whole)) == sorted(sorted(each.tolist()) for each in found.clusters)
    for members, among in zip(found.clusters, found.known, strict=True):
        inside = [core for core in cores if core in members]
        reached = sum(
            own[j] > limit and min(float(np.linalg.norm(b - x[core])) for core in inside) < min(own[j], link)
            for j, b in enumerate(known)
        )
        assert among == reached


def test_another_mix_of_known_kinds_is_not_new() -> None:
    """Fakes that lie apart from the reals: traffic of fakes alone is twice as dense there as all known faces."""
    labels = np.repeat([0, 1], 150)
    shift = np.where(labels == 1, 12.0, 0.0)[:, None] * np.eye(6)[0]
    known = known_points(20) + shift
    apart = 12 * np.eye(6)[0]
    alarms = 0
    for seed in range(20):
        some = known_points(500 + seed) + apart
        found = labelled(some, known, np.arange(300), labels)
        alarms += bool(found.clusters)
        # Against all known faces at once, more of the same files would be too many.
        assert found.p.mean() > novelty(some, known, np.arange(300)).p.mean()
    assert alarms <= 3
    fakes = known_points(21, 200) + apart
    new = np.concatenate([fakes, RNG(22).normal(0, 0.3, (40, 6)) + 6])
    (cluster,) = labelled(new, known, np.arange(300), labels).clusters
    assert sorted(cluster.tolist()) == list(range(200, 240))


def test_groups_are_left_out_of_their_own_distance() -> None:
    """Eleven photos of each person lie together: without their groups every new person would be far."""
    people = known_points(11, 60, 4)
    groups = np.repeat(np.arange(60), 11)
    shots = people[groups] + RNG(12).normal(0, 0.01, (660, 4))
    others = known_points(13, 200, 4)
    assert novelty(others, shots, groups, k=10).far.mean() < 0.4
    assert novelty(others, shots, np.arange(660), k=10).far.mean() == 1.0


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="too few groups"):
        novelty(known_points(1, 30), known_points(2, 60), np.zeros(60))
    with pytest.raises(DataError, match="too few groups"):
        novelty(known_points(1, 30), known_points(2, 8), np.arange(8))


def test_files_that_are_known_faces_crowd_nowhere() -> None:
    known = RNG(0).normal(size=(60, 8)) * 1e3  # large, so that distances of 0 are rounding
    found = labelled(known[:30].copy(), known, np.arange(60), np.tile([0, 1], 30))  # warnings are errors here
    assert not found.clusters
