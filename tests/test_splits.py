"""Splits: nothing known changes, groups stay whole, fractions and labels hold, seeds repeat."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, LeakError
from facetell.faceset.splits import FRACTIONS, SPLITS, assign, check_groups

MADE = ("train", "validation", "test")


def make_splits(
    labels: ArrayLike, groups: ArrayLike, sources: ArrayLike, known: ArrayLike, seed: int
) -> NDArray[np.str_]:
    """`assign` with the names of splits, "" where a row has none, and with any codes of groups and sources."""
    codes = np.array([SPLITS.index(name) if name else -1 for name in np.asarray(known)], dtype=np.int8)
    group_codes, source_codes = (np.unique(np.asarray(each), return_inverse=True)[1] for each in (groups, sources))
    return np.asarray(SPLITS)[assign(np.asarray(labels, dtype=np.int8), group_codes, source_codes, codes, seed)]


def unknown(n: int) -> NDArray[np.str_]:
    return np.full(n, "", dtype="U10")


@st.composite
def row_tables(draw: st.DrawFn) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    n = draw(st.integers(1, 60))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), dtype=np.int8)
    groups = np.array(draw(st.lists(st.integers(0, 25), min_size=n, max_size=n)))
    sources = np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    of_group = {g: draw(st.sampled_from(["", "", "", *SPLITS])) for g in range(26)}
    known = np.array([of_group[g] if draw(st.booleans()) else "" for g in groups], dtype="U10")
    return labels, groups, sources, known


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(row_tables(), st.integers(0, 5))
def test_rules_hold_for_any_table(table: tuple, seed: int) -> None:
    labels, groups, sources, known = table
    try:
        splits = make_splits(labels, groups, sources, known, seed)
    except DataError:
        assert not feasible(labels, groups, known)
        return
    assert (splits[known != ""] == known[known != ""]).all(), "what is known stays"
    for group in np.unique(groups):
        assert len(set(splits[groups == group])) == 1, "groups are whole"
    assert set(splits) <= set(SPLITS)
    np.testing.assert_array_equal(splits, make_splits(labels, groups, sources, known, seed))
    with_split = np.unique(groups[known != ""])
    if np.isin(groups, with_split).all():
        return
    for split in open_splits(known):
        assert set(labels[splits == split]) == {0, 1}, f"{split} has both labels"
    for split in set(known) - {"", "train"}:
        assert set(groups[splits == split]) <= set(with_split), "a given held-out split is never added to"


def open_splits(known: NDArray[np.str_]) -> list[str]:
    return [split for split in MADE if split == "train" or split not in known]


def feasible(labels: NDArray[np.int8], groups: NDArray[np.int64], known: NDArray[np.str_]) -> bool:
    """Whether whole free groups can give every open split both labels, by trying every way to use them."""
    of_group = {g: next(iter(set(known[groups == g]) - {""}), "") for g in set(groups.tolist())}
    kinds = [frozenset(labels[groups == g].tolist()) for g, split in of_group.items() if not split]
    needs = []
    for split in open_splits(known):
        has = {int(label) for label, g in zip(labels, groups.tolist(), strict=True) if of_group[g] == split}
        needs.append(frozenset({0, 1} - has))
    count = {kind: kinds.count(frozenset(kind)) for kind in ((0,), (1,), (0, 1))}

    def possible(left: dict[tuple[int, ...], int], rest: list[frozenset[int]]) -> bool:
        if not rest:
            return True
        need, *others = rest
        ways = [[], [(0,)], [(1,)], [(0, 1)], [(0,), (1,)]]
        for way in ways:
            if need <= {label for kind in way for label in kind} and all(left[kind] for kind in way):
                after = {kind: number - way.count(kind) for kind, number in left.items()}
                if possible(after, others):
                    return True
        return False

    return possible(count, needs)


def test_fractions_hold_in_every_label_and_source() -> None:
    rng = np.random.default_rng(0)
    n = 6000
    labels = rng.integers(0, 2, n)
    sources = rng.choice(["ffhq", "gan", "diffusion"], n, p=[0.5, 0.3, 0.2])
    groups = rng.integers(0, 1500, n)
    splits = make_splits(labels, groups, sources, unknown(n), 3)
    for label in (0, 1):
        for source in np.unique(sources):
            cell = (labels == label) & (sources == source)
            for split, fraction in FRACTIONS.items():
                assert abs((splits[cell] == split).mean() - fraction) < 0.03


def test_single_pictures_are_split_to_the_row() -> None:
    n = 2000
    labels = np.arange(n) % 2
    splits = make_splits(labels, np.arange(n), np.zeros(n), unknown(n), 0)
    for label in (0, 1):
        assert [(splits[labels == label] == split).sum() for split in MADE] == [700, 150, 150]


def test_seed_matters() -> None:
    labels = np.arange(100) % 2
    first, second = (make_splits(labels, np.arange(100), np.zeros(100), unknown(100), seed) for seed in (0, 1))
    assert (first != second).any()


def test_a_given_test_split_is_complete() -> None:
    labels = np.arange(200) % 2
    known = unknown(200)
    known[:10] = "test"
    splits = make_splits(labels, np.arange(200), np.zeros(200), known, 0)
    assert (splits == "test").sum() == 10
    assert abs((splits == "validation").sum() / 190 - 0.15 / 0.85) < 0.02


def test_one_huge_group_does_not_starve_a_split() -> None:
    labels = np.array([0, 1] * 50 + [0, 0, 0, 1, 1, 1])
    groups = np.array([0] * 100 + [1, 2, 3, 4, 5, 6])
    splits = make_splits(labels, groups, np.zeros(106), unknown(106), 0)
    for split in MADE:
        assert set(labels[splits == split]) == {0, 1}


def test_too_few_groups_is_said_with_a_remedy() -> None:
    with pytest.raises(DataError, match=r"too few groups.*2 groups with real, 2 with fake") as caught:
        make_splits([0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 0, 0], unknown(4), 0)
    assert "index" in str(caught.value.hint)


def test_torn_groups_are_named() -> None:
    groups = np.repeat(np.arange(7), 2)
    splits = np.tile(np.array([0, 2], dtype=np.int8), 7)
    with pytest.raises(LeakError) as caught:
        check_groups(groups, splits, lambda code: f"vid{code}")
    text = caught.value.message
    assert text.startswith("7 groups in two splits: 'vid0' in train and test; ")
    assert "'vid4'" in text
    assert "'vid5'" not in text
    assert text.endswith("and 2 more")


def test_rows_without_split_do_not_tear_a_group() -> None:
    check_groups(np.array([0, 0, 1]), np.array([1, -1, 2], dtype=np.int8))


def test_half_a_million_groups_take_seconds() -> None:
    n = 500_000
    labels = (np.arange(n) % 2).astype(np.int8)
    start = time.perf_counter()
    splits = assign(labels, np.arange(n), np.arange(n) % 3, np.full(n, -1, np.int8), 0)
    assert time.perf_counter() - start < 20
    np.testing.assert_array_equal(np.bincount(splits), [n * 7 // 10, n * 15 // 100, n * 15 // 100])
