"""Intervals of rates against scipy, by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from facetell.errors import DataError, SettingsError
from facetell.evaluation.rates import effective_share, operating_rates, precision_at, rate_interval


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (1, 50), (50, 50), (37, 1000), (5, 5), (0, 1), (2.5, 12.7)])
def test_the_interval_is_clopper_and_pearsons(hits: float, n: float) -> None:
    low, high = rate_interval(hits, n)
    assert low == pytest.approx(stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0, abs=1e-9)
    assert high == pytest.approx(stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1, abs=1e-9)


def test_no_false_alarm_among_fifty_by_hand() -> None:
    # (1 - p)^50 = 0.025
    assert rate_interval(0, 50)[1] == pytest.approx(1 - 0.025 ** (1 / 50), abs=1e-12)
    assert all(math.isnan(end) for end in rate_interval(0, 0))


def test_the_upper_end_holds_although_the_scores_chose_the_threshold() -> None:
    rng = np.random.default_rng(0)
    n, hits = 200, 2
    upper = rate_interval(hits, n)[1]
    # Uniform scores: above the third highest of 200 lies a share 1 - x of all new ones.
    true = 1 - np.sort(rng.random((4000, n)), axis=1)[:, -hits - 1]
    assert np.mean(true <= upper) == pytest.approx(0.975, abs=0.01)


def test_faces_of_a_group_count_as_fewer() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(100), 10)
    own = rng.normal(size=1000)
    assert effective_share(own, np.arange(1000)) == 1
    assert effective_share(own, np.zeros(1000)) == 1 / 1000
    assert effective_share(own, groups) == pytest.approx(1, abs=0.25)
    assert effective_share(np.repeat(rng.normal(size=100), 10), groups) == pytest.approx(0.1)
    half = np.repeat(rng.normal(size=100), 10) + own  # ρ = 1/2: 1 / (1 + 9 / 2)
    assert effective_share(half, groups) == pytest.approx(1 / 5.5, abs=0.04)
    assert effective_share(np.ones(1000), groups) == pytest.approx(0.1)  # equal scores err together


def test_rates_by_hand() -> None:
    labels, scores = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.9, 0.4, 0.6, 0.8, 0.95])
    rates = operating_rates(labels, scores, np.arange(8), 0.5)
    assert (rates["fpr"]["value"], rates["recall"]["value"], rates["precision"]["value"]) == (0.25, 0.75, 0.75)
    assert (rates["recall"]["low"], rates["recall"]["high"]) == rate_interval(3, 4)
    assert rates["precision"]["effective"] == 4
    nothing = operating_rates(labels, scores, np.arange(8), 1.5)
    assert nothing["precision"] == {"value": None, "low": None, "high": None, "effective": 0}


def test_one_in_a_hundred_is_fake_by_hand() -> None:
    labels, scores = np.repeat([0, 1], 100), np.repeat([0.1, 0.9, 0.1, 0.9], [95, 5, 10, 90])
    found = precision_at(0.01, labels, scores, np.arange(200), 0.5)
    assert found["precision"]["value"] == pytest.approx(0.009 / (0.009 + 0.0495))
    assert found["npv"]["value"] == pytest.approx(0.9405 / (0.9405 + 0.001))
    assert found["called_fake"]["value"] == pytest.approx(0.0585)
    for rate in found.values():
        assert rate["low"] < rate["value"] < rate["high"]
    # No false alarm seen is none promised.
    perfect = precision_at(0.01, labels, labels * 0.8 + 0.1, np.arange(200), 0.5)
    assert perfect["precision"]["value"] == 1
    assert perfect["precision"]["low"] < 0.3
    assert precision_at(0.01, labels, scores, np.arange(200), 1.5)["precision"]["value"] is None


def test_a_prevalence_is_a_share() -> None:
    for prevalence in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            precision_at(prevalence, [0, 1], [0.1, 0.9], [0, 1], 0.5)
    with pytest.raises(DataError, match="real and fake"):
        precision_at(0.5, [1, 1], [0.1, 0.9], [0, 1], 0.5)
