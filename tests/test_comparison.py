"""Tests of a difference of AUROC: slow loops, a case by hand, error rates under the null, both tests side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from facetell.errors import DataError, SettingsError
from facetell.evaluation import auroc_covariance, delong, holm, paired_bootstrap

Column = np.ndarray[Any, Any]


def pair(n: int, seed: int, gap: float = 0.0, shared: float = 0.5) -> tuple[Column, Column, Column]:
    """Labels and two score columns whose noise is partly the same; ``gap``: how much better the first separates."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    common = shared * rng.normal(size=n)
    a, b = (y * (1 + extra) + common + rng.normal(size=n) for extra in (gap, 0.0))
    return y, a, b


def slow_components(y: Column, s: Column) -> tuple[list[float], list[float]]:
    """V10 of the fakes and V01 of the reals by definition (DeLong 1988, eq. 4)."""

    def wins(x: float, z: float) -> float:
        return 1.0 if x > z else 0.5 if x == z else 0.0

    fakes, reals = s[y == 1].tolist(), s[y == 0].tolist()
    v10 = [sum(wins(x, z) for z in reals) / len(reals) for x in fakes]
    v01 = [sum(wins(x, z) for x in fakes) / len(fakes) for z in reals]
    return v10, v01


def slow_covariance(y: Column, columns: list[Column], groups: Column) -> Column:
    """Obuchowski 1997, eq. 2 to 5, group by group; DeLong's where every group is one face."""
    m, n = int(y.sum()), int((1 - y).sum())
    found = [slow_components(y, column) for column in columns]
    areas = [sum(v10) / m for v10, _ in found]
    names = sorted(set(groups.tolist()))
    names10 = sorted(set(groups[y == 1].tolist()))
    names01 = sorted(set(groups[y == 0].tolist()))
    result = np.zeros((len(columns), len(columns)))

    def excess(k: int, label: int, name: object) -> float:
        mine = groups[y == label].tolist()
        values = found[k][0 if label else 1]
        return sum(v - areas[k] for v, group in zip(values, mine, strict=True) if group == name)

    for i in range(len(columns)):
        for j in range(len(columns)):
            s10 = sum(excess(i, 1, g) * excess(j, 1, g) for g in names10) * len(names10) / ((len(names10) - 1) * m)
            s01 = sum(excess(i, 0, g) * excess(j, 0, g) for g in names01) * len(names01) / ((len(names01) - 1) * n)
            s11 = sum(excess(i, 1, g) * excess(j, 0, g) + excess(j, 1, g) * excess(i, 0, g) for g in names)
            result[i, j] = s10 / m + s01 / n + s11 * len(names) / (len(names) - 1) / (m * n)
    return result


@pytest.mark.parametrize("steps", [4, 1000])
@pytest.mark.parametrize("size", [1, 3])
def test_areas_variances_and_covariance_are_those_of_a_slow_loop(steps: int, size: int) -> None:
    y, a, b = pair(60, 3, gap=0.5)
    a, b = np.round(a * steps), np.round(b * steps)  # few steps: many ties
    groups = np.arange(60) // size  # three faces: groups of both labels
    areas, covariance = auroc_covariance(y, [a, b], groups)
    assert areas == pytest.approx([roc_auc_score(y, a), roc_auc_score(y, b)], abs=1e-12)
    np.testing.assert_allclose(covariance, slow_covariance(y, [a, b], groups), rtol=1e-10)
    found = delong(y, a, b, groups)
    assert found.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)
    assert found.standard_error**2 == pytest.approx(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found.groups == 60 // size


def test_delong_variance_is_the_sample_covariance_of_the_components() -> None:
    """Without groups: S10 / m + S01 / n with numpy's own covariance (DeLong 1988, eq. 5 and 6)."""
    y, a, b = pair(41, 5)
    (a10, a01), (b10, b01) = slow_components(y, a), slow_components(y, b)
    expected = np.cov(a10, b10) / y.sum() + np.cov(a01, b01) / (1 - y).sum()
    np.testing.assert_allclose(auroc_covariance(y, [a, b])[1], expected, rtol=1e-10)
    alone = auroc_covariance(y, [a, b], np.arange(41))[1]
    np.testing.assert_allclose(auroc_covariance(y, [a, b])[1], alone, rtol=1e-12)  # groups of one: the same


def test_a_case_by_hand() -> None:
    """Two fakes, then two reals.

    a: fakes 4, 2, reals 3, 1. V10 = 1, 1/2; V01 = 1/2, 1; AUROC 3/4.
    b: fakes 1, 4, reals 3, 2. V10 = 0, 1; V01 = 1/2, 1/2; AUROC 1/2.
    a - b: 1/4. D10 = 1, -1/2, variance 9/8; D01 = 0, 1/2, variance 1/8; (9/8 + 1/8) / 2 = 5/8.
    z = (1/4) / sqrt(5/8) = 0.316228, two-sided p 0.751830.
    """
    y, a, b = [1, 1, 0, 0], [4, 2, 3, 1], [1, 4, 3, 2]
    found = delong(y, a, b)
    assert found.difference == 0.25
    assert found.standard_error == pytest.approx(math.sqrt(5 / 8))
    assert found.p == pytest.approx(0.751830, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.25 - 1.5494, 0.25 + 1.5494), abs=1e-3)
    assert found.detectable == pytest.approx((1.959964 + 0.841621) * math.sqrt(5 / 8), abs=1e-5)
    # A fake and a real each in groups (first fake, first real), (second, second): the cross term is
    # 2 · [(3/4)(-1/4) + (-3/4)(1/4)] · 2 / 4 = -3/8; the rest 2 · (9/8 + 1/8) / 4 = 5/8 as before.
    assert delong(y, a, b, ["p", "q", "p", "q"]).standard_error == pytest.approx(math.sqrt(5 / 8 - 3 / 8))


def rejected(trials: int, copies: int) -> tuple[float, float]:
    """How often DeLong and clustered DeLong call equal detectors different at 5%."""
    plain = clustered = 0
    for seed in range(trials):
        columns = pair(120, 1000 + seed)
        groups = np.repeat(np.arange(120), copies)
        y, a, b = (np.repeat(column, copies) for column in columns)
        plain += delong(y, a, b).p < 0.05
        clustered += delong(y, a, b, groups).p < 0.05
    return plain / trials, clustered / trials


def test_equal_detectors_are_called_different_in_one_of_twenty_trials() -> None:
    plain, clustered = rejected(400, 1)
    assert plain == clustered
    assert 0.025 < plain < 0.08  # 5% plus or minus 2.5 binomial errors


def test_dependent_faces_fool_the_plain_test_and_not_the_clustered() -> None:
    plain, clustered = rejected(400, 4)
    assert 0.025 < clustered < 0.08
    assert plain > 0.2  # four copies halve the error it believes in: P(|z| > 0.98) = 0.33


@pytest.mark.slow
def test_groups_of_both_labels_keep_the_level() -> None:
    """A group shifts its fakes and its reals together, by another amount for each detector."""
    y, groups = np.tile([0, 1, 0, 1], 60), np.repeat(np.arange(60), 4)
    found = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        shift, of_fakes, own = rng.normal(size=(2, 60)), rng.normal(size=(2, 60)), rng.normal(size=(2, 240))
        a, b = y + shift[:, groups] + 0.8 * of_fakes[:, groups] * y + own
        found.append((delong(y, a, b, groups), delong(y, a, b)))
    true_error = np.std([clustered.difference for clustered, _ in found])
    assert np.mean([clustered.standard_error for clustered, _ in found]) == pytest.approx(true_error, rel=0.07)
    assert np.mean([plain.standard_error for _, plain in found]) > 1.1 * true_error  # what the two share cancels
    assert 0.03 < np.mean([clustered.p < 0.05 for clustered, _ in found]) < 0.07  # 5% within three binomial errors


@pytest.mark.slow
def test_the_bootstrap_holds_its_level_too() -> None:
    trials = 200
    found = 0
    for seed in range(trials):
        y, a, b = (np.repeat(column, 2) for column in pair(120, 1000 + seed))
        found += paired_bootstrap(y, a, b, np.repeat(np.arange(120), 2), repetitions=199, seed=seed).p < 0.05
    assert 0.01 < found / trials < 0.09


@pytest.mark.parametrize("size", [1, 4])
def test_bootstrap_and_delong_agree_on_the_error(size: int) -> None:
    y, a, b = pair(600, 7, gap=0.4)
    groups = np.arange(600) // size
    exact = delong(y, a, b, groups)
    drawn = paired_bootstrap(y, a, b, groups, repetitions=2000)
    assert drawn.difference == pytest.approx(exact.difference, abs=1e-12)
    assert drawn.standard_error == pytest.approx(exact.standard_error, rel=0.1)
    assert drawn.low == pytest.approx(exact.low, abs=0.2 * exact.standard_error)
    assert drawn.high == pytest.approx(exact.high, abs=0.2 * exact.standard_error)
    assert (drawn.groups, drawn.repetitions, drawn.omitted) == (600 // size, 2000, 0)


def test_the_paired_bootstrap_is_that_of_a_slow_loop() -> None:
    y, a, b = pair(40, 9)
    groups = np.array([f"g{k}" for k in np.arange(40) // 4])
    a = np.stack([a, a[::-1]])
    found = paired_bootstrap(y, a, b, groups, repetitions=60, seed=4, level=0.8)
    names = np.unique(groups)
    rng = np.random.default_rng(4)
    values = []
    for _ in range(60):
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        rows = np.repeat(np.arange(40), drawn[np.searchsorted(names, groups)])
        mean = np.mean([roc_auc_score(y[rows], column[rows]) for column in a])
        values.append(mean - roc_auc_score(y[rows], b[rows]))
    below = min(sum(v <= 0 for v in values), sum(v >= 0 for v in values))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.1, 0.9])), abs=1e-12)
    assert found.p == pytest.approx(min(1, 2 * (below + 1) / 61))
    assert found.standard_error == pytest.approx(np.std(values, ddof=1))


def test_seeds_are_averaged() -> None:
    y, a, b = pair(200, 11)
    _, c, _ = pair(200, 12)
    areas, covariance = auroc_covariance(y, [a, b, c])
    weights = np.array([0.5, -1.0, 0.5])  # mean of a and c, less b
    found = delong(y, [a, c], b)
    assert found.difference == pytest.approx(weights @ areas, abs=1e-12)
    assert found.standard_error == pytest.approx(math.sqrt(weights @ covariance @ weights))
    again = paired_bootstrap(y, np.stack([a, c]), np.stack([b, b, b]), np.arange(200), repetitions=20)
    assert again.difference == pytest.approx(found.difference, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 1000]), st.integers(1, 4))
def test_swapping_flips_the_sign_and_keeps_p(seed: int, steps: int, size: int) -> None:
    y, a, b = pair(48, seed, gap=0.6)
    a, b, groups = np.round(a * steps), np.round(b * steps), np.arange(48) // size
    for one, two in (
        (delong(y, a, b, groups), delong(y, b, a, groups)),
        (paired_bootstrap(y, a, b, groups, repetitions=99), paired_bootstrap(y, b, a, groups, repetitions=99)),
    ):
        assert two.p == pytest.approx(one.p)
        assert (two.difference, two.low, two.high) == pytest.approx((-one.difference, -one.high, -one.low), abs=1e-12)
        assert 0 < one.p <= 1


def test_a_detector_is_no_better_than_itself() -> None:
    y, a, _ = pair(90, 13)
    groups = np.arange(90) // 3
    for found in (delong(y, a, np.exp(a), groups), paired_bootstrap(y, a, np.exp(a), groups, repetitions=50)):
        assert (found.difference, found.standard_error, found.low, found.high, found.p) == (0, 0, 0, 0, 1)
    nothing = np.zeros(90)
    assert delong(y, y, nothing).p == 0  # perfect against chance: nothing varies
    assert delong(y, y, y + nothing).p == 1


def test_the_order_of_the_rows_does_not_matter() -> None:
    y, a, b = pair(80, 15)
    groups = np.array([f"id {k}" for k in np.arange(80) // 4])
    mixed = np.random.default_rng(0).permutation(80)
    first = paired_bootstrap(y, a, b, groups, repetitions=100)
    assert paired_bootstrap(y[mixed], a[mixed], b[mixed], groups[mixed], repetitions=100) == first


@pytest.mark.parametrize("test", [delong, paired_bootstrap])
def test_what_cannot_be_compared_is_refused(test: Any) -> None:
    y, a, b = pair(8, 0)
    groups = np.arange(8)
    with pytest.raises(DataError, match="one length"):
        test(y, a, b[:7], groups)
    with pytest.raises(DataError, match="groups must be one column of 8 rows"):
        test(y, a, b, groups[:7])
    with pytest.raises(DataError, match="real and fake faces, got 0 real and 8 fake"):
        test(np.ones(8), a, b, groups)
    with pytest.raises(DataError, match="one group"):
        test(y, a, b, np.zeros(8))
    with pytest.raises(DataError, match="not finite"):
        test(y, a, np.full(8, np.nan), groups)
    with pytest.raises(DataError, match=r"\(seeds, faces\)"):
        test(y, np.zeros((2, 2, 8)), b, groups)


def test_a_class_of_one_group_has_no_clustered_error() -> None:
    y, a, b = pair(8, 0)
    with pytest.raises(DataError, match="all fake faces are of one group"):
        delong(y, a, b, np.where(y == 1, "only", np.arange(8).astype(str)))


def test_repetitions_without_a_class_are_counted() -> None:
    y, a, b = pair(8, 1)
    found = paired_bootstrap(y, a, b, np.where(y == 1, "only", np.arange(8).astype(str)), repetitions=500)
    assert found.omitted / 500 == pytest.approx(0.8**5, abs=0.06)


@pytest.mark.parametrize("bad", [{"repetitions": 0}, {"level": 1.0}])
def test_impossible_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        paired_bootstrap([0, 1], [0.1, 0.9], [0.1, 0.9], ["a", "b"], **bad)


def test_holm_by_hand() -> None:
    """Sorted .01, .02, .04 times 3, 2, 1 gives .03, .04, .04; a later one is never below an earlier one."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.01, 0.012]) == pytest.approx([0.02, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([0.3]) == pytest.approx([0.3])
