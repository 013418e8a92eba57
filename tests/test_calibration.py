"""Temperature scaling against a slow search, isotonic curves against scikit-learn, priors by Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from facetell.errors import DataError
from facetell.evaluation import auroc, calibrated, ece, fit_temperature, log_loss
from facetell.evaluation.score_curves import (
    TEMPERATURE_RANGE,
    Curve,
    fit_isotonic,
    log_odds,
    pool_violators,
    prior_shift,
)


def overconfident(n: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``factor`` times too large: the right temperature is ``factor``."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n) * 2
    labels = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(int)
    return truth * factor, labels


@pytest.mark.parametrize("factor", [0.2, 1.0, 4.0])
def test_the_known_temperature_is_found(factor: float) -> None:
    logits, labels = overconfident(40_000, factor)
    assert fit_temperature(logits, labels) == pytest.approx(factor, rel=0.03)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5))
def test_no_other_temperature_has_a_smaller_log_loss(seed: int, factor: float) -> None:
    logits, labels = overconfident(60, factor, seed)
    if len(set(labels.tolist())) < 2 or np.all((logits >= 0) == labels):
        return
    signed = np.where(labels == 1, -logits, logits)

    def loss(temperatures: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, signed / temperatures[:, None]).mean(axis=1)

    best = loss(np.array([fit_temperature(logits, labels)]))[0]
    assert best <= loss(np.geomspace(*TEMPERATURE_RANGE, 2000)).min() + 1e-9


def test_separable_logits_do_not_run_to_certainty() -> None:
    logits, labels = np.array([-3.0, -1.0, 2.0, 4.0]), np.array([0, 0, 1, 1])
    temperature = fit_temperature(logits, labels)
    # Platt's targets 3/4 and 1/4 for two faces a class; checked by brute force.
    targets = np.array([0.25, 0.25, 0.75, 0.75])
    grid = np.geomspace(*TEMPERATURE_RANGE, 20_001)
    z = logits[None] / grid[:, None]
    loss = (targets * np.logaddexp(0, -z) + (1 - targets) * np.logaddexp(0, z)).mean(axis=1)
    assert temperature == pytest.approx(grid[np.argmin(loss)], rel=1e-3)
    assert calibrated(logits, temperature).max() < 0.95


def test_the_bounds_hold_when_the_logits_say_nothing_or_the_opposite() -> None:
    labels = np.array([0, 0, 1, 1])
    assert fit_temperature(np.array([1.0, 2.0, -1.0, -2.0]), labels) == TEMPERATURE_RANGE[1]
    assert fit_temperature(np.array([-1e-3, -1e-3, 1e-3, 1e-3]), labels) == TEMPERATURE_RANGE[0]
    assert TEMPERATURE_RANGE[0] <= fit_temperature(np.zeros(4), labels) <= TEMPERATURE_RANGE[1]


def test_scores_are_stable_ordered_and_symmetric() -> None:
    logits = np.array([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e4])
    scores = calibrated(logits, 1.0)
    assert (scores[0], scores[3], scores[-1]) == (0.0, 0.5, 1.0)
    np.testing.assert_allclose(scores + scores[::-1], 1)
    assert (np.diff(scores) >= 0).all()
    assert calibrated(2.0, 4.0) == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_calibration_keeps_the_ranking_and_lowers_the_loss() -> None:
    logits, labels = overconfident(2000, 6.0)
    temperature = fit_temperature(logits, labels)
    assert auroc(labels, calibrated(logits, temperature)) == pytest.approx(auroc(labels, logits), abs=1e-12)
    assert log_loss(labels, calibrated(logits, temperature)) < log_loss(labels, calibrated(logits, 1.0))


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_one_class_cannot_be_calibrated(labels: list[int]) -> None:
    with pytest.raises(DataError, match="needs real and fake"):
        fit_temperature([0.1, 0.2], labels)


# --- isotonic, prevalence


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=60))
@settings(deadline=None)  # the first call imports scipy.optimize
def test_pooled_violators_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    z, y = np.array(rows).T
    distinct, members, counts = np.unique(z, return_inverse=True, return_counts=True)
    values, lengths = pool_violators(np.bincount(members, weights=y) / counts, counts)
    expected = IsotonicRegression().fit(z, y).predict(distinct)
    np.testing.assert_allclose(np.repeat(values, lengths), expected, atol=1e-12)
    assert (np.diff(values) > 0).all()


def test_pooling_by_hand() -> None:
    values, lengths = pool_violators([1, 3, 2, 4], [1, 1, 1, 1])
    assert (values.tolist(), lengths.tolist()) == ([1, 2.5, 4], [1, 2, 1])
    values, lengths = pool_violators([3, 1, 1], [1, 2, 1])
    assert (values.tolist(), lengths.tolist()) == ([1.5], [3])


def test_an_isotonic_curve_repairs_what_no_temperature_can() -> None:
    rng = np.random.default_rng(3)
    logits = rng.uniform(-6, 6, 20_000)
    labels = (rng.random(20_000) < calibrated(logits, 1.0) ** 3).astype(int)  # not half at logit 0
    fit, test = slice(0, 10_000), slice(10_000, None)
    curve = fit_isotonic(logits[fit], labels[fit])
    plain = calibrated(logits[test], fit_temperature(logits[fit], labels[fit]))
    assert ece(labels[test], plain) > 0.05
    assert ece(labels[test], curve.scores(logits[test])) < 0.02
    assert auroc(labels[test], curve.scores(logits[test])) == pytest.approx(
        auroc(labels[test], logits[test]), abs=1e-12
    )


def test_a_curve_rises_everywhere_and_can_be_undone() -> None:
    curve = Curve(2.0, ((-1.0, -3.0), (0.0, 0.5), (2.0, 1.0)))
    # Knots; half-way between two; one unit beyond each end, with slope 1/2.
    logits = np.array([-1.0, 0.0, 2.0, -0.5, 1.0, -2.0, 3.0])
    np.testing.assert_allclose(log_odds(curve.scores(logits)), [-3, 0.5, 1, -1.25, 0.75, -3.5, 1.5])
    wide = np.linspace(-30, 30, 1001)
    for each in (curve, Curve(0.7)):
        assert (np.diff(each.scores(wide)) > 0).all() or each.scores(30.0) == 1
        inner = wide[np.abs(wide) < 9]
        np.testing.assert_allclose(each.logits(each.scores(inner)), inner, atol=1e-6)
        assert each.scores(each.logits([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_few_faces_get_no_isotonic_curve() -> None:
    with pytest.raises(DataError, match="needs 1,000 faces, there are 999"):
        fit_isotonic(np.arange(999.0), np.arange(999) % 2)


def test_a_prior_shift_is_bayes_rule() -> None:
    # Densities 0.8 and 0.1 at some score: half fake gives 8/9; one in a hundred 0.008 / (0.008 + 0.099).
    before = log_odds(8 / 9)
    assert calibrated(before + prior_shift(0.01, 0.5), 1.0) == pytest.approx(0.008 / (0.008 + 0.099))
    assert prior_shift(0.3, 0.3) == 0


def test_shifted_scores_are_calibrated_where_fakes_are_rare() -> None:
    rng = np.random.default_rng(4)
    y = (rng.random(200_000) < 0.02).astype(int)
    z = rng.normal(2 * y - 1, 1) * 2  # log-odds of N(1, 1) against N(-1, 1): calibrated at half fake
    assert ece(y, calibrated(z, 1.0)) > 0.1
    assert ece(y, calibrated(z + prior_shift(0.02, 0.5), 1.0)) < 0.002
