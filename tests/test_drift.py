"""The drift test: against scipy, against simulated truth, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from facetell.errors import DataError, SettingsError
from facetell.evaluation.drift import Sketch, drift

RNG = np.random.default_rng


def sample(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    """Logits of files of which about ``share`` are fake: reals around -2, fakes around 2."""
    fake = rng.random(n) < share
    return np.where(fake, rng.normal(2, 1.2, n), rng.normal(-2, 1, n))


def reference(rng: np.random.Generator, n: int = 400) -> tuple[Sketch, Sketch]:
    return Sketch.of(sample(rng, n, 0)), Sketch.of(sample(rng, n, 1))


def test_distances_are_those_of_scipy() -> None:
    rng = RNG(0)
    known, z = rng.normal(0, 1, 5000), rng.normal(0.3, 1.2, 800)
    found = drift(z, [Sketch.of(known)], repetitions=50)
    truth = stats.ks_2samp(z, known)
    assert found.kuiper >= found.ks
    assert found.ks == pytest.approx(truth.statistic, abs=0.006)  # the sketch has steps of 0.005
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(z, known), abs=0.01)
    assert found.fakes is None


def test_p_is_that_of_kuiper_without_a_share_to_estimate() -> None:
    """Against the asymptotic law in Numerical Recipes, section 14.3."""
    j = np.arange(1, 100)
    for seed in range(6):
        rng = RNG(seed)
        known, z = rng.normal(0, 1, 900), rng.normal(0.03 * seed, 1, 700)
        found = drift(z, [Sketch.of(known)], seed=seed)
        both = np.sort(np.concatenate([z, known]))
        gap = np.searchsorted(np.sort(z), both, "right") / 700 - np.searchsorted(np.sort(known), both, "right") / 900
        exact = max(gap.max(), 0) - min(gap.min(), 0)
        root = np.sqrt(700 * 900 / 1600)
        scaled = (root + 0.155 + 0.24 / root) * exact
        truth = 2 * np.sum((4 * j**2 * scaled**2 - 1) * np.exp(-2 * j**2 * scaled**2))
        assert found.kuiper == pytest.approx(exact, abs=0.011)
        assert found.p == pytest.approx(truth, abs=0.1)  # every point there, the grid here


@pytest.mark.slow
def test_one_in_twenty_mixes_of_the_known_is_called_new() -> None:
    rng = RNG(1)
    p = []
    for k in range(200):
        share = float(rng.choice([0.0, 1.0, rng.random()], p=[0.2, 0.1, 0.7]))
        p.append(drift(sample(rng, 300, share), reference(rng, 200), repetitions=150, seed=k).p)
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09  # 0.05 ± 2.6 standard errors
    assert 0.4 <= np.mean(p) <= 0.62


def test_a_new_mode_is_found_and_where_it_lies() -> None:
    rng = RNG(2)
    found, between = 0, []
    for k in range(20):
        z = np.concatenate([sample(rng, 340, 0.2), rng.normal(0, 0.3, 60)])  # 15% between the two
        one = drift(z, reference(rng), repetitions=200, seed=k)
        found += one.p <= 0.05
        between.append(one.between)
        assert 0.07 < one.excess <= one.kuiper < 0.25
    assert found >= 18
    low, high = np.median(between, axis=0)
    assert -1.2 < low < -0.2 < 0.2 < high < 1.2


@pytest.mark.slow
def test_a_share_is_found_again_and_its_interval_holds_it() -> None:
    rng = RNG(3)
    held = []
    for k in range(60):
        share = float(rng.uniform(0.05, 0.95))
        value, low, high = drift(sample(rng, 500, share), reference(rng), repetitions=200, seed=k).fakes or (0, 0, 0)
        assert value == pytest.approx(share, abs=0.12)
        held.append(low <= share <= high)
    assert np.mean(held) >= 0.87


def test_dependent_references_make_less_certain() -> None:
    rng = RNG(4)
    z = sample(rng, 2000, 0.3) + 0.4
    alone = reference(RNG(5))
    fewer = [Sketch(one.quantiles, one.n, 20.0) for one in alone]
    assert drift(z, alone).p < 0.01 < 0.05 < drift(z, fewer).p
    groups = np.repeat(np.arange(40), 10)
    together = Sketch.of(np.repeat(rng.normal(size=40), 10), groups)
    assert (together.n, together.effective) == (400, pytest.approx(40))


def test_a_sketch_by_hand() -> None:
    one = Sketch.of([0.0, 1.0, 1.0, 1.0, 2.0])
    assert one.cdf(np.array([-1.0, 0.5, 1.0, 1.5, 2.0, 9.0])).tolist() == pytest.approx(
        [0, 0.125, 0.75, 0.875, 1, 1], abs=0.006
    )
    assert Sketch.from_dict(one.as_dict()).as_dict() == one.as_dict()
    assert one.clipped(0.5, 1.0).quantiles.max() == 1.0


def test_same_seed_same_result_in_any_order() -> None:
    z, known = sample(RNG(6), 100, 0.5), reference(RNG(7))
    assert drift(z, known, repetitions=50, seed=3) == drift(z[::-1], known, repetitions=50, seed=3)


def test_useless_classes_say_nothing_of_the_share() -> None:
    same = Sketch.of(RNG(8).normal(size=300))
    found = drift(RNG(9).normal(size=300), [same, same], repetitions=200)
    assert found.p > 0.05
    assert found.fakes is not None
    assert found.fakes[2] - found.fakes[1] > 0.9


def test_bad_input() -> None:
    with pytest.raises(DataError):
        drift([], [Sketch.of([0.0, 1.0])])
    with pytest.raises(DataError):
        drift([np.inf], [Sketch.of([0.0, 1.0])])
    with pytest.raises(DataError):
        Sketch.of([])
    with pytest.raises(SettingsError):
        drift([0.0], [])
    with pytest.raises(ValueError, match="quantiles"):
        Sketch.from_dict({"n": 2, "effective": 2.0, "quantiles": [1.0, 0.0]})
