"""Temperature scaling against a slow search, and where the search has no answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetell.errors import DataError
from facetell.evaluation import auroc, calibrated, fit_temperature, log_loss
from facetell.evaluation.calibration import TEMPERATURE_RANGE


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
