"""The bootstrap: weights against repeated rows, widths against closed forms, groups against single faces."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from facetell.errors import DataError, SettingsError
from facetell.evaluation import grouped_bootstrap, summary
from facetell.evaluation.bootstrap import WeightedMetrics
from facetell.evaluation.metrics import SUMMARY_KEYS

WEIGHTED = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 3)), min_size=2, max_size=40).filter(
    lambda rows: any(w for _, _, w in rows)
)


def faces(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(size=n))))


@settings(max_examples=80, deadline=None)
@given(WEIGHTED)
def test_a_weight_counts_like_repeated_rows(rows: list[tuple[int, int, int]]) -> None:
    y, steps, w = (np.array(column) for column in zip(*rows, strict=True))
    s = steps / 8
    weighted = WeightedMetrics(y, s, 0.5)
    w_rows = w[None].astype(float)
    found = weighted(w_rows[:, weighted.ranking.order], w_rows @ weighted.columns)
    ry, rs = np.repeat(y, w), np.repeat(s, w)
    expected = summary(ry, rs, 0.5)
    assert {key: float(value[0]) for key, value in found.items()} == pytest.approx(expected, abs=1e-12, nan_ok=True)
    if len(set(ry.tolist())) == 2:
        assert found["auroc"][0] == pytest.approx(sk.roc_auc_score(ry, rs), abs=1e-12)
        assert found["average_precision"][0] == pytest.approx(sk.average_precision_score(ry, rs), abs=1e-12)
        assert found["f1"][0] == pytest.approx(sk.f1_score(ry, rs >= 0.5, zero_division=np.nan), nan_ok=True)
        assert found["log_loss"][0] == pytest.approx(sk.log_loss(ry, rs))


def test_intervals_are_the_percentiles_of_a_slow_bootstrap() -> None:
    y, s = faces(60)
    groups = np.random.default_rng(1).integers(0, 12, 60)
    found = grouped_bootstrap(y, s, groups, 0.5, repetitions=80, seed=5, level=0.8)
    rng = np.random.default_rng(5)
    names = np.unique(groups.astype(str))
    values: dict[str, list[float]] = {key: [] for key in SUMMARY_KEYS}
    for _ in range(80):
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        rows = np.concatenate(
            [np.flatnonzero(groups.astype(str) == n) for n, k in zip(names, drawn, strict=True) for _ in range(k)]
        )
        for key, value in summary(y[rows], s[rows], 0.5).items():
            values[key].append(value)
    assert tuple(found) == SUMMARY_KEYS
    for key in SUMMARY_KEYS:
        assert found[key] == pytest.approx(tuple(np.quantile(values[key], [0.1, 0.9])), abs=1e-12), key


@pytest.mark.slow
def test_single_faces_give_the_normal_interval_of_a_share() -> None:
    y, s = faces(2000)
    low, high = grouped_bootstrap(y, s, np.arange(2000), 0.5, repetitions=2000)["accuracy"]
    share = summary(y, s, 0.5)["accuracy"]
    half = 1.96 * math.sqrt(share * (1 - share) / 2000)
    assert low == pytest.approx(share - half, abs=0.15 * half)
    assert high == pytest.approx(share + half, abs=0.15 * half)


def test_copies_of_a_face_in_its_group_do_not_narrow_the_interval() -> None:
    y, s = faces(150)
    groups = np.arange(150)
    once = grouped_bootstrap(y, s, groups, 0.5)
    copied = [np.repeat(column, 9) for column in (y, s, groups)]
    grouped = grouped_bootstrap(*copied, 0.5)
    ungrouped = grouped_bootstrap(copied[0], copied[1], np.arange(150 * 9), 0.5)
    for key in ("auroc", "accuracy", "recall"):
        assert grouped[key] == pytest.approx(once[key], abs=1e-9)
        width, narrow = np.diff(grouped[key]), np.diff(ungrouped[key])
        assert width / narrow == pytest.approx(3, rel=0.2)  # sqrt(9) too narrow


def test_the_same_seed_gives_the_same_intervals_in_any_order() -> None:
    y, s = faces(200)
    groups = np.array([f"id {k}" for k in np.arange(200) // 5])
    mixed = np.random.default_rng(2).permutation(200)
    first = grouped_bootstrap(y, s, groups, 0.5, repetitions=100, seed=1)
    again = grouped_bootstrap(y[mixed], s[mixed], groups[mixed], 0.5, repetitions=100, seed=1)
    other = grouped_bootstrap(y, s, groups, 0.5, repetitions=100, seed=2)
    for key in SUMMARY_KEYS:
        assert again[key] == pytest.approx(first[key], abs=1e-12)
    assert other["auroc"] != first["auroc"]


def test_repetitions_without_a_class_are_left_out_and_counted() -> None:
    # One of four groups holds the fakes: it is missed with probability (3/4)^4 = 0.316.
    y, s = np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.6, 0.7])
    found = grouped_bootstrap(y, s, ["a", "b", "c", "d"], 0.5, repetitions=2000)
    assert found.omitted / found.repetitions == pytest.approx(0.75**4 + 0.25**4, abs=0.04)
    assert found["n_fake"][0] >= 1
    assert found.groups == 4


def test_one_class_still_has_an_interval_for_its_rate() -> None:
    found = grouped_bootstrap([0] * 40, [0.1, 0.9] * 20, np.arange(40), 0.5)
    assert found.omitted == 0
    assert 0.3 < found["fpr"][0] < 0.5 < found["fpr"][1] < 0.7
    assert all(map(math.isnan, found["auroc"]))


def test_one_group_has_no_interval() -> None:
    y, s = faces(20)
    found = grouped_bootstrap(y, s, ["only"] * 20, 0.5)
    assert found.groups == 1
    assert all(math.isnan(bound) for interval in found.values() for bound in interval)


@pytest.mark.parametrize("bad", [{"repetitions": 0}, {"level": 1.0}])
def test_impossible_settings_are_refused(bad: dict) -> None:
    with pytest.raises(SettingsError):
        grouped_bootstrap([0, 1], [0.1, 0.9], ["a", "b"], 0.5, **bad)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="one column of 2 rows"):
        grouped_bootstrap([0, 1], [0.1, 0.9], ["a", "b", "c"], 0.5)


def test_a_thousand_repetitions_take_seconds() -> None:
    y, s = faces(1500)
    start = time.perf_counter()
    grouped_bootstrap(y, s, np.arange(1500) // 5, 0.5, repetitions=1000)
    assert time.perf_counter() - start < 10
