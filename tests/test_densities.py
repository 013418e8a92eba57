"""Densities against a slow sum, crossings where theory puts them, intervals over groups."""

from __future__ import annotations

import numpy as np
import pytest

from facetell.evaluation import calibrated, choose_threshold
from facetell.evaluation.densities import clipped_log_odds, density, ideal_thresholds, silverman_bandwidth


def two_normals(n: int, seed: int, shift: float = 0.0, wide: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores: log-odds N(-1, 1) and N(1, wide), moved."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return y, calibrated(np.where(y == 1, rng.normal(1, wide, n), rng.normal(-1, 1, n)) + shift, 1.0)


def test_a_density_is_the_slow_sum() -> None:
    values, grid = np.random.default_rng(0).normal(1, 1, 300), np.linspace(-6, 8, 512)
    width = silverman_bandwidth(values)
    slow = [np.mean(np.exp(-0.5 * ((point - values) / width) ** 2)) / (width * np.sqrt(2 * np.pi)) for point in grid]
    np.testing.assert_allclose(density(values, grid), slow, atol=2e-3)
    assert width == pytest.approx(0.9 * 300**-0.2, rel=0.1)


def test_a_density_has_area_one_and_its_peak_in_place() -> None:
    values, grid = np.random.default_rng(0).normal(1, 1, 5000), np.linspace(-6, 8, 512)
    curve = density(values, grid)
    assert curve.sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(curve, np.exp(-0.5 * (grid - 1) ** 2) / np.sqrt(2 * np.pi), atol=0.03)


@pytest.mark.parametrize("shift", [0.0, 0.8, -1.5])
def test_normals_of_one_width_cross_midway(shift: float) -> None:
    y, s = two_normals(4000, 1, shift)
    found = ideal_thresholds(y, s, np.arange(4000), repetitions=200)
    assert found is not None
    truth = float(calibrated(shift, 1.0))
    for name in ("crossing", "youden"):
        assert found[name]["low"] <= truth <= found[name]["high"], name
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert float(clipped_log_odds(found["crossing"]["value"])) == pytest.approx(shift, abs=0.1)
    assert found["youden"]["value"] == choose_threshold(y, s, "youden")
    assert found["difference"]["value"] == found["crossing"]["value"] - found["youden"]["value"]
    assert found["agree"] is True
    assert found["crossing"]["high"] - found["crossing"]["low"] < found["youden"]["high"] - found["youden"]["low"]


def test_of_two_crossings_the_one_where_fakes_begin_to_prevail() -> None:
    # N(-1, 1) and N(1, 2): x² (1 - 1/4) + x (2 + 1/2) + 1 - 1/4 - 2 ln 2 = 0 has the roots -3.569 and 0.236.
    y, s = two_normals(40_000, 2, wide=2.0)
    found = ideal_thresholds(y, s, np.arange(40_000), repetitions=20)
    assert found is not None
    roots = np.roots([0.75, 2.5, 0.75 - 2 * np.log(2)])
    assert float(clipped_log_odds(found["crossing"]["value"])) == pytest.approx(roots.max(), abs=0.15)


def test_they_can_disagree() -> None:
    # Reals in one lump, fakes in two: the ideal threshold lies against the lump's edge, smoothing moves the crossing.
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(-1, 0, 3000), rng.uniform(0, 0.05, 1500), rng.uniform(3, 9, 1500)])
    found = ideal_thresholds(np.repeat([0, 1], 3000), calibrated(x, 1.0), np.arange(6000), repetitions=100)
    assert found is not None
    assert found["agree"] is False


def test_intervals_are_over_groups() -> None:
    y, s = two_normals(600, 4)
    alone = ideal_thresholds(y, s, np.arange(600), repetitions=100)
    repeated = ideal_thresholds(np.tile(y, 5), np.tile(s, 5), np.tile(np.arange(600), 5), repetitions=100)
    assert alone is not None
    assert repeated is not None
    widths = [one["crossing"]["high"] - one["crossing"]["low"] for one in (alone, repeated)]
    assert widths[1] == pytest.approx(widths[0], rel=0.35)
    assert ideal_thresholds(y, s, np.arange(600), repetitions=100) == alone


def test_what_is_not_defined() -> None:
    assert ideal_thresholds([1, 1], [0.2, 0.3], [0, 1]) is None
    one = ideal_thresholds([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], ["a"] * 4)
    assert one is not None
    assert one["agree"] is None
    assert np.isnan(one["crossing"]["low"])
    assert 0.2 < one["crossing"]["value"] < 0.8
    for scores in ([0.5, 0.5], [0.0, 1.0], [1.0, 0.0]):
        assert ideal_thresholds([0, 1], scores, [0, 1], repetitions=5) is not None
