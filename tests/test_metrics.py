"""Metrics against scikit-learn on random, tied and degenerate scores, and against numbers worked out by hand."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from facetell.errors import DataError
from facetell.evaluation import metrics as m

# Few distinct values make ties the rule; both classes are present.
TIED = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=60).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)

# Five faces, worked out by hand: fakes at .9 .6 .6, reals at .6 .2
HAND_LABELS = [1, 1, 0, 1, 0]
HAND_SCORES = [0.9, 0.6, 0.6, 0.6, 0.2]


def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, steps = zip(*rows, strict=True)
    return np.array(labels), np.array(steps) / 6


@settings(max_examples=60, deadline=None)
@given(TIED)
def test_ranking_metrics_equal_scikit_learn(rows: list[tuple[int, int]]) -> None:
    y, s = columns(rows)
    assert m.auroc(y, s) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-12)
    assert m.average_precision(y, s) == pytest.approx(sk.average_precision_score(y, s), abs=1e-12)
    for ours, theirs in zip(m.roc_curve(y, s), sk.roc_curve(y, s, drop_intermediate=False), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    for ours, theirs in zip(m.precision_recall_curve(y, s), sk.precision_recall_curve(y, s), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(TIED, st.integers(-1, 14))
def test_decisions_equal_scikit_learn(rows: list[tuple[int, int]], twelfth: int) -> None:
    y, s = columns(rows)
    threshold = twelfth / 12
    called = (s >= threshold).astype(int)
    found = m.confusion(y, s, threshold)
    tn, fp, fn, tp = sk.confusion_matrix(y, called, labels=[0, 1]).ravel()
    assert found == m.Confusion(tn, fp, fn, tp)
    assert found.accuracy == pytest.approx(sk.accuracy_score(y, called))
    assert found.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(y, called))
    assert found.recall == pytest.approx(sk.recall_score(y, called))
    assert found.fpr == pytest.approx(1 - sk.recall_score(y, called, pos_label=0))
    assert found.f1 == pytest.approx(sk.f1_score(y, called, zero_division=np.nan), nan_ok=True)
    if called.any():
        assert found.precision == pytest.approx(sk.precision_score(y, called))
    else:
        assert math.isnan(found.precision)


@settings(max_examples=60, deadline=None)
@given(TIED, st.sampled_from([np.float32, np.float64]))
def test_probability_metrics_equal_scikit_learn(rows: list[tuple[int, int]], dtype: type) -> None:
    y, s = columns(rows)
    s = s.astype(dtype)
    assert m.log_loss(y, s) == pytest.approx(sk.log_loss(y, s), rel=1e-5 if dtype is np.float32 else 1e-12)
    assert m.brier(y, s) == pytest.approx(sk.brier_score_loss(y, s), rel=1e-6, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(TIED)
def test_eer_is_where_a_walk_along_the_curve_meets_the_diagonal(rows: list[tuple[int, int]]) -> None:
    y, s = columns(rows)
    fpr, tpr, _ = sk.roc_curve(y, s, drop_intermediate=False)
    steps = np.linspace(0, len(fpr) - 1, 20_001)  # a fine walk; no interpolation formula shared with the code
    x, height = np.interp(steps, np.arange(len(fpr)), fpr), np.interp(steps, np.arange(len(fpr)), tpr)
    nearest = np.argmin(np.abs(x - (1 - height)))
    assert m.eer(y, s) == pytest.approx((x[nearest] + 1 - height[nearest]) / 2, abs=4e-3)


@settings(max_examples=60, deadline=None)
@given(TIED, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[int, int]], random) -> None:
    mixed = list(rows)
    random.shuffle(mixed)
    before, after = m.summary(*columns(rows), 0.5), m.summary(*columns(mixed), 0.5)
    assert after == pytest.approx(before, nan_ok=True)


def test_five_faces_by_hand() -> None:
    # Pairs (fake above real): .9 beats both (2); each .6 ties one (.5) and beats one (1): 2 + 1.5 + 1.5 of 6.
    assert m.auroc(HAND_LABELS, HAND_SCORES) == pytest.approx(5 / 6)
    # Recall 1/3 at precision 1, then 2/3 more at precision 3/4.
    assert m.average_precision(HAND_LABELS, HAND_SCORES) == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)
    # From (0, 1/3) to (1/2, 1): fpr = x, tpr = 1/3 + 4/3 x; x = 1 - tpr gives x = 2/7.
    assert m.eer(HAND_LABELS, HAND_SCORES) == pytest.approx(2 / 7)
    found = m.confusion(HAND_LABELS, HAND_SCORES, 0.6)
    assert found == m.Confusion(tn=1, fp=1, fn=0, tp=3)
    assert (found.accuracy, found.balanced_accuracy) == pytest.approx((0.8, 0.75))
    assert (found.precision, found.recall, found.fpr, found.f1) == pytest.approx((0.75, 1.0, 0.5, 6 / 7))


def test_summary_by_hand() -> None:
    found = m.summary(HAND_LABELS, HAND_SCORES, 0.7)
    assert tuple(found) == m.SUMMARY_KEYS
    # 15 bins: .9, .6 (three, 2/3 fake) and .2 each alone in a bin.
    assert found["ece"] == pytest.approx((0.1 + 3 * abs(0.6 - 2 / 3) + 0.2) / 5)
    assert found["log_loss"] == pytest.approx(-math.log(0.9 * 0.6 * 0.4 * 0.6 * 0.8) / 5)
    assert (found["n"], found["n_real"], found["n_fake"]) == (5, 2, 3)
    assert (found["recall"], found["fpr"], found["precision"], found["f1"]) == pytest.approx((1 / 3, 0, 1, 0.5))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_ranking_undefined_and_the_rest_defined(label: int) -> None:
    found = m.summary([label] * 4, [0.1, 0.4, 0.6, 0.6], 0.5)
    for key in ("auroc", "average_precision", "eer", "balanced_accuracy", "fpr" if label else "recall"):
        assert math.isnan(found[key])
    assert found["accuracy"] == 0.5
    assert found["recall" if label else "fpr"] == 0.5


def test_no_rows_at_all_is_nan_without_a_warning() -> None:
    found = m.summary([], [], 0.5)
    assert found["n"] == 0
    assert all(math.isnan(value) for key, value in found.items() if not key.startswith("n"))


def test_perfect_inverted_and_constant_scores() -> None:
    y = [0, 0, 1, 1]
    assert (m.auroc(y, [1, 2, 3, 4]), m.eer(y, [1, 2, 3, 4]), m.average_precision(y, [1, 2, 3, 4])) == (1, 0, 1)
    assert (m.auroc(y, [4, 3, 2, 1]), m.eer(y, [4, 3, 2, 1])) == (0, 1)
    assert (m.auroc(y, [7, 7, 7, 7]), m.eer(y, [7, 7, 7, 7]), m.average_precision(y, [7, 7, 7, 7])) == (0.5, 0.5, 0.5)


def test_reliability_bins_by_a_slow_loop() -> None:
    rng = np.random.default_rng(3)
    p, y = np.append(rng.random(200), [0.0, 1.0]), rng.integers(0, 2, 202)
    found = m.reliability_bins(y, p, bins=7)
    gap = 0.0
    for k in range(7):
        low, high = found.edges[k], found.edges[k + 1]
        inside = [i for i in range(202) if low <= p[i] < high or (k == 6 and p[i] == 1)]
        assert found.counts[k] == len(inside)
        assert found.predicted[k] == pytest.approx(np.mean(p[inside]))
        assert found.observed[k] == pytest.approx(np.mean(y[inside]))
        gap += len(inside) / 202 * abs(np.mean(p[inside]) - np.mean(y[inside]))
    assert m.ece(y, p, bins=7) == pytest.approx(gap)


def test_a_float32_score_is_compared_with_the_threshold_as_it_is() -> None:
    score = np.array([0.1], dtype=np.float32)  # a little more than 0.1
    between = (0.1 + float(score[0])) / 2  # rounds to the score itself in float32
    assert m.confusion([1], score, between).tp == 1
    assert m.confusion([1], score, float(score[0]) + 1e-12).tp == 0


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1], "one length"),
        ([0, 2], [0.1, 0.2], "0 .real. or 1"),
        ([0, 1], [0.1, float("nan")], "not finite.*row 1"),
    ],
)
def test_unusable_columns_are_named(labels: list[int], scores: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        m.auroc(labels, scores)


def test_probabilities_must_be_probabilities() -> None:
    with pytest.raises(DataError, match=r"\[0, 1\], found -3 to 2"):
        m.log_loss([0, 1], [-3, 2])


def test_a_million_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 2, 1_000_000), rng.random(1_000_000)
    start = time.perf_counter()
    found = m.summary(y, s, 0.5)
    assert time.perf_counter() - start < 10
    assert found["auroc"] == pytest.approx(0.5, abs=0.005)
