"""The unsure band keeps what it promises: coverage per class, by simulation, with groups and without."""

from __future__ import annotations

import numpy as np
import pytest

from facetell.errors import DataError, SettingsError
from facetell.evaluation.conformal import Band, fit_band, upper_bound

REPETITIONS = 1000


def test_it_is_the_finite_sample_quantile() -> None:
    rng = np.random.default_rng(0)
    for n, coverage in ((9, 0.9), (10, 0.9), (50, 0.9), (99, 0.99), (137, 0.8), (19, 0.95)):
        values = rng.random(n)
        k = int(np.ceil((n + 1) * coverage - 1e-9))
        assert upper_bound(values, np.arange(n), coverage) == np.sort(values)[k - 1]


def test_every_group_weighs_the_same_by_hand() -> None:
    # Three groups, coverage 1/2: half of the four places must be reached. One face of weight 1/4, then two of 1/8.
    values, groups = np.array([1.0, 2.0, 3.0, 9.0, 9.5]), np.array(["a", "b", "b", "c", "c"])
    assert upper_bound(values, groups, 0.5) == 3.0
    assert upper_bound(values, groups, 0.375) == 2.0


@pytest.mark.parametrize(("n", "coverage"), [(30, 0.9), (200, 0.9), (40, 0.95)])
def test_coverage_on_new_faces_per_class(n: int, coverage: float) -> None:
    rng = np.random.default_rng(n)
    y = np.repeat([0, 1], [n, 2 * n])
    covered = []
    for _ in range(REPETITIONS):
        band = fit_band(y, rng.normal(y, 1), np.arange(3 * n), coverage)
        new = rng.normal(size=400)
        covered.append([np.mean(new <= band.real_to), np.mean(new + 1 >= band.fake_from)])
    for column, size in zip(np.array(covered).T, (n, 2 * n), strict=True):
        # The coverage given the validation faces is Beta(k, size + 1 - k) distributed.
        k = np.ceil((size + 1) * coverage - 1e-9)
        mean = k / (size + 1)
        spread = np.sqrt(mean * (1 - mean) / (size + 2) + mean * (1 - mean) / 400)
        assert coverage <= mean <= coverage + 1 / (size + 1)
        assert column.mean() == pytest.approx(mean, abs=4 * spread / np.sqrt(REPETITIONS))
        assert column.std() == pytest.approx(spread, rel=0.12)


def test_coverage_holds_for_a_new_group_of_alike_faces() -> None:
    rng = np.random.default_rng(5)
    naive, grouped = [], []
    for _ in range(REPETITIONS):
        # A few groups are videos of 60 faces that score alike and higher; most have one face.
        sizes = np.where(rng.random(40) < 0.2, 60, 1)
        groups = np.repeat(np.arange(40), sizes)
        values = rng.normal(size=40)[groups] + 0.1 * rng.normal(size=groups.size)
        new = rng.normal() + 0.1 * rng.normal()
        grouped.append(new <= upper_bound(values, groups, 0.9))
        naive.append(new <= upper_bound(values, np.arange(values.size), 0.9))
    assert np.mean(grouped) >= 0.9 - 2 * np.sqrt(0.09 / REPETITIONS)
    assert np.mean(naive) < np.mean(grouped)


@pytest.mark.parametrize("separation", [0.5, 4.0])
@pytest.mark.parametrize("threshold", [-1.0, 0.3, 2.0, 3.0])
def test_at_most_a_tenth_of_a_class_is_called_the_other_wherever_the_threshold(
    separation: float, threshold: float
) -> None:
    rng = np.random.default_rng(7)
    y = np.repeat([0, 1], 60)
    wrong = np.zeros(2)
    for _ in range(REPETITIONS):
        band = fit_band(y, rng.normal(separation * y, 1), np.arange(120), 0.9)
        real, fake = rng.normal(0, 1), rng.normal(separation, 1)
        wrong += [band.decision(real, threshold) == "fake", band.decision(fake, threshold) == "real"]
    assert (wrong / REPETITIONS <= 0.1 + 3 * np.sqrt(0.09 / REPETITIONS)).all()


def test_decisions_by_hand() -> None:
    overlapping = Band(fake_from=0.4, real_to=0.6)
    said = [overlapping.decision(score, 0.5) for score in (0.39, 0.4, 0.5, 0.6, 0.61)]
    assert said == ["real", "unsure", "unsure", "unsure", "fake"]
    assert overlapping.around(0.5) == (0.4, 0.6)
    # A threshold above the band: what it does not call fake is not real either.
    assert [overlapping.decision(score, 0.8) for score in (0.39, 0.7, 0.8)] == ["real", "unsure", "fake"]
    assert overlapping.around(0.8) == (0.4, 0.8)
    apart = Band(fake_from=0.7, real_to=0.3)
    assert [apart.decision(score, 0.5) for score in (0.2, 0.49, 0.5, 0.9)] == ["real", "real", "fake", "fake"]
    assert apart.around(0.5) == (0.5, 0.5)


def test_too_few_groups_say_how_many_are_needed() -> None:
    with pytest.raises(DataError, match="0.9 needs 9 groups of each label, there are 8"):
        upper_bound(np.arange(8.0), np.arange(8), 0.9)
    assert upper_bound(np.arange(9.0), np.arange(9), 0.9) == 8
    with pytest.raises(DataError, match="needs 99 groups"):
        fit_band(np.repeat([0, 1], 200), np.arange(400) / 400, np.arange(400) // 10, 0.99)
    for coverage in (0.0, 1.0, np.nan):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            upper_bound([1.0], [0], coverage)
