"""The small model of an audit, and where errors lie: against scikit-learn, SciPy and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from facetell.detector.shortcut_warnings import shortcut_warnings
from facetell.evaluation.concentration import error_rates, followed_families, rank_correlation, worst_groups
from facetell.evaluation.shortcuts import MIN_GROUPS, crossfit, enough_groups, logistic_ridge, shortcut_strengths


@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
def test_the_regression_is_scikit_learns(penalty: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    y = rng.random(300) < 1 / (1 + np.exp(-(2 * x[:, 0] - x[:, 1] - 1)))
    weights, intercept = logistic_ridge(x, y, penalty)
    theirs = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(intercept, theirs.intercept_[0], rtol=1e-4, atol=1e-5)


def test_rows_that_count_more_than_once() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 4))
    y = rng.random(120) < 1 / (1 + np.exp(-x[:, 0] + 2))
    counts = rng.uniform(0.1, 4, 120)
    weights, intercept = logistic_ridge(x, y, 2.0, counts)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(x, y, sample_weight=counts)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(intercept, theirs.intercept_[0], rtol=1e-4, atol=1e-5)


def test_the_regression_survives_separable_labels() -> None:
    x = np.r_[np.full((40, 1), -3.0), np.full((40, 1), 3.0)]
    weights, intercept = logistic_ridge(x, x[:, 0] > 0)
    assert 0.5 < weights[0] < 10
    assert abs(intercept) < 1e-6


def columns(rng: np.random.Generator, groups: int, per: int, families: int = 6) -> tuple:
    """Features that resemble each other within a group, and labels that have nothing to do with them."""
    members = np.repeat(np.arange(2 * groups), per)
    base = rng.normal(size=(2 * groups, families, 4))[members]
    x = base + 0.3 * rng.normal(size=base.shape)
    return {str(k): x[:, k] for k in range(families)}, members % 2, members


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "per"), [(MIN_GROUPS, 1), (MIN_GROUPS, 5), (60, 1)])
def test_clean_data_stays_quiet(groups: int, per: int) -> None:
    alarms = 0
    for seed in range(100):
        features, labels, members = columns(np.random.default_rng(seed), groups, per)
        found, _ = shortcut_strengths(features, labels, members, None, seed, {})
        alarms += any(one["verdict"] != "none" for one in found)
    assert alarms <= 5


def test_a_feature_that_only_differs_in_spread_is_found() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(400) % 2
    features = {"spread": (rng.normal(size=400) * (1 + 6 * labels))[:, None], "nothing": np.ones((400, 2))}
    found, scores = shortcut_strengths(features, labels, np.arange(400), None, 0, {})
    assert found[0]["verdict"] == "strong"
    assert found[0]["low"] < found[0]["auroc"] < found[0]["high"]
    assert (found[1]["auroc"], found[1]["low"], found[1]["high"]) == (0.5, 0.5, 0.5)
    assert scores.shape == (2, 400)
    learned = ({name: column[:200] for name, column in features.items()}, labels[:200])
    apart, _ = shortcut_strengths(
        {name: column[200:] for name, column in features.items()}, labels[200:], np.arange(200), learned, 0, {}
    )
    assert apart[0]["verdict"] == "strong"
    assert shortcut_warnings(found) == [
        f"spread alone tells real from fake in the training data: AUROC {found[0]['auroc']:.2f} "
        f"({found[0]['low']:.2f}–{found[0]['high']:.2f}, n = 400): what this detector measures may be that"
    ]


def test_a_family_must_beat_its_control() -> None:
    rng = np.random.default_rng(4)
    labels = np.arange(300) % 2
    texture = rng.normal(size=(300, 1)) + 4 * labels[:, None]
    features = {"border": texture, "inner ring": texture + 0.1 * rng.normal(size=(300, 1)), "flat": np.ones((300, 1))}

    def verdict(control: str) -> str:
        found, _ = shortcut_strengths(features, labels, np.arange(300), None, 0, {"border": control})
        return str(found[0]["verdict"])

    assert verdict("inner ring") == "none"
    assert verdict("flat") == "strong"


def test_a_group_never_teaches_its_own_fold() -> None:
    """Features that name the group exactly, labels of groups at random: nothing can be learned for another group."""
    rng = np.random.default_rng(0)
    members = np.repeat(np.arange(80), 10)
    labels = np.repeat(rng.permutation(np.arange(80) % 2), 10)
    code = np.repeat(rng.normal(size=80), 10)[:, None]
    scores = crossfit(code, labels, members, [slice(0, 1)], folds=5, seed=0)[0]
    assert abs(np.mean(scores[labels == 1]) - np.mean(scores[labels == 0])) < 1.0
    assert enough_groups(labels, members)
    assert not enough_groups(labels[:300], members[:300])


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 9, 200)
    b = a + rng.integers(0, 6, 200)
    found = rank_correlation(a, b, 200)
    assert found["value"] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found["low"] < found["value"] < found["high"]
    assert rank_correlation(a, np.ones(200), 200) == {"value": None, "low": None, "high": None}
    assert rank_correlation(a, b, 3)["value"] is None


def test_worst_groups_by_hand() -> None:
    groups = np.repeat([f"g{k:02d}" for k in range(40)], 10)
    labels = np.tile([0, 1], 200)
    wrong = np.zeros(400, bool)
    wrong[:20] = True  # all of g00 and g01
    wrong[[100, 200]] = True
    found = worst_groups(labels, wrong, groups, 0)
    assert (found["groups"], found["worst"], found["errors"]) == (40, 2, 22)
    assert found["share"] == pytest.approx(20 / 22)
    assert 0.1 < found["chance"] < 0.4
    assert found["p"] == pytest.approx(1 / 1001)
    assert [one["group"] for one in found["examples"]] == ["g00", "g01", "g10", "g20"]
    assert found["examples"][0] == {"group": "g00", "n": 10, "errors": 10}
    assert worst_groups(labels, np.zeros(400, bool), groups, 0)["share"] is None
    scattered = np.random.default_rng(0).random(400) < 0.2
    assert worst_groups(labels, scattered, groups, 0)["p"] > 0.05


def test_error_rates_by_source() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1])
    wrong = np.array([False, True, True, True, True, False])
    found = error_rates(labels, wrong, np.arange(6), np.array(["a", "a", "a", "a", "b", "b"]))
    assert [(one["source"], one["label"], one["n"], one["errors"]) for one in found] == [
        ("a", "fake", 2, 2), ("a", "real", 2, 1), ("b", "fake", 2, 1),
    ]  # fmt: skip
    assert all(one["low"] <= one["rate"] <= one["high"] for one in found)


def test_a_detector_that_follows() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    shortcut, other = rng.normal(size=(2, 400))
    logits = shortcut + 0.3 * rng.normal(size=400) + 5 * labels
    found = followed_families(["a", "b"], np.stack([shortcut, other]), logits, labels, np.arange(400))
    assert [one["follows"] for one in found] == [True, False]
    assert found[0]["real"]["value"] > 0.8
