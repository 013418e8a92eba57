"""Dealing folds, and what choosing the best of several is worth: against simulation and a slow loop."""

from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetell.evaluation.bootstrap import draw_groups
from facetell.evaluation.choice_gain import assign_folds, gain_of_choice
from facetell.evaluation.metrics import auroc

RNG = np.random.default_rng


@settings(max_examples=150, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.sampled_from(["real", "fake", "both"]), st.integers(2, 4)), min_size=1, max_size=25),
    folds=st.integers(2, 4),
    seed=st.integers(0, 3),
)
def test_groups_stay_whole_and_kinds_are_dealt_evenly(kinds: list[tuple[str, int]], folds: int, seed: int) -> None:
    labels, groups = [], []
    for group, (kind, size) in enumerate(kinds):
        labels += {"real": [0] * size, "fake": [1] * size, "both": [k % 2 for k in range(size)]}[kind]
        groups += [f"g{group}"] * size
    order = RNG(0).permutation(len(labels))
    y, members = np.array(labels)[order], np.array(groups)[order]
    fold = assign_folds(y, members, folds, seed)
    assert set(fold.tolist()) <= set(range(folds))
    assert assign_folds(y, members, folds, seed).tolist() == fold.tolist()
    home = {group: set(fold[members == group].tolist()) for group in set(members.tolist())}
    assert all(len(places) == 1 for places in home.values())
    counts = np.array([sum(places == {part} for places in home.values()) for part in range(folds)])
    assert counts.max() - counts.min() <= 1
    for kind in ("real", "fake", "both"):
        own = [home[f"g{k}"] for k, (each, _) in enumerate(kinds) if each == kind]
        shares = [sum(places == {part} for places in own) for part in range(folds)]
        assert max(shares) - min(shares) <= 1, kind
        if len(own) >= folds:
            assert min(shares) >= 1, kind


def test_each_fold_has_both_labels_where_there_are_as_many_groups() -> None:
    y = np.repeat([0, 1], [3, 90])
    for seed in range(20):
        fold = assign_folds(y, np.arange(93), 3, seed)
        assert all(set(y[fold == part].tolist()) == {0, 1} for part in range(3))
    assert len({tuple(assign_folds(y, np.arange(93), 3, seed).tolist()) for seed in range(20)}) == 20


def out_of_bag(y: np.ndarray, groups: np.ndarray, before: np.ndarray, after: np.ndarray, seed: int) -> list[float]:
    """The difference on what each resample of groups leaves out, face by face."""
    found = []
    names = sorted(set(groups.tolist()))
    for weights in itertools.chain.from_iterable(map(np.atleast_2d, draw_groups(len(names), len(y), 300, seed))):
        left = [i for i in range(len(y)) if weights[names.index(groups[i])] == 0]
        kept = [i for i in range(len(y)) if weights[names.index(groups[i])] > 0]
        if any({int(y[i]) for i in side} != {0, 1} for side in (left, kept)):
            continue
        pairs = [(i, j) for i in left for j in left if y[i] == 1 and y[j] == 0]
        areas = [
            sum(1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0 for i, j in pairs) / len(pairs)
            for scores in (after, before)
        ]
        found.append(areas[0] - areas[1])
    return found


def test_one_candidate_is_the_out_of_bag_bootstrap() -> None:
    rng = RNG(1)
    y = np.tile([0, 1], 14)
    groups = np.repeat([f"person {k:02}" for k in range(14)], 2)
    before, after = rng.normal(0.3 * y), np.round(rng.normal(0.9 * y), 1)  # with ties
    gain = gain_of_choice(y, groups, before, after[None, None], 5, repetitions=300)
    slow = np.array(out_of_bag(y, groups, before, after, 5))
    assert gain.difference == pytest.approx(slow.mean(), abs=1e-12)
    likely = slow.mean() + np.sqrt(0.368 / 0.632) * (slow - slow.mean())
    assert (gain.low, gain.high) == pytest.approx(tuple(np.quantile(likely, [0.025, 0.975])), abs=1e-12)
    assert gain.risk == pytest.approx(np.mean(likely <= 0))


@pytest.mark.slow
def test_the_interval_holds_the_true_gain_as_often_as_it_says() -> None:
    true = NormalDist().cdf(0.8 / 2**0.5) - 0.5  # AUROC of two normals 0.8 apart, less that of nothing
    y, held = np.repeat([0, 1], 25), 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        before, after = rng.normal(size=50), rng.normal(size=50) + 0.8 * y
        gain = gain_of_choice(y, np.arange(50), before, after[None, None], seed, 200)
        held += gain.low <= true <= gain.high
    assert 106 <= held <= 119  # 95% of 120 are 114; between three standard errors below and one above, but never all
    assert gain.after - gain.before == pytest.approx(gain.difference)


@pytest.mark.slow
def test_the_best_of_many_that_know_nothing_gains_nothing() -> None:
    """Uncorrected it gains well; the corrected gain is 0 but for noise."""
    seen, corrected, believed = [], [], 0
    for seed in range(40):
        rng = RNG(seed)
        y = np.repeat([0, 1], 25)
        before, after = rng.normal(size=50), rng.normal(size=(1, 12, 50))
        seen.append(max(auroc(y, scores) for scores in after[0]) - auroc(y, before))
        gain = gain_of_choice(y, np.arange(50), before, after, seed, repetitions=100)
        corrected.append(gain.difference)
        believed += gain.difference > 0 and gain.risk <= 0.1
    assert np.mean(seen) > 0.10
    assert abs(np.mean(corrected)) < 3 * np.std(corrected) / 40**0.5
    assert np.mean(corrected) < np.mean(seen) / 3
    assert believed <= 7  # of 40, at a risk of 10%


@pytest.mark.slow
def test_one_truly_good_among_many_gains_what_it_is_worth() -> None:
    found = []
    for seed in range(25):
        rng = RNG(seed)
        y = np.repeat([0, 1], 60)
        after = rng.normal(size=(2, 8, 120))
        after[:, 3] += 2 * y  # an AUROC of Φ(√2) = 0.921
        gain = gain_of_choice(y, np.arange(120), rng.normal(size=120), after, seed, repetitions=100)
        found.append(gain.difference)
        assert gain.risk < 0.1
        assert gain.low > 0
    assert np.mean(found) == pytest.approx(0.921 - 0.5, abs=0.025)


def test_the_luck_of_the_folds_is_in_the_interval() -> None:
    """Where repetitions of the cross-validation disagree, all of them have a say."""
    y = np.repeat([0, 1], 30)
    before = RNG(0).normal(size=60)
    good, bad = y + 0.0, RNG(1).normal(size=60)
    alone = gain_of_choice(y, np.arange(60), before, good[None, None], 2)
    both = gain_of_choice(y, np.arange(60), before, np.stack([good, bad])[:, None], 2)
    assert alone.after == 1.0
    assert both.after == pytest.approx((1 + auroc(y, bad)) / 2, abs=0.03)
    assert both.high - both.low > 1.5 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same() -> None:
    rng = RNG(0)
    y = np.repeat([0, 1], 10)
    arguments = (y, np.arange(20), rng.normal(size=20), rng.normal(size=(1, 3, 20)))
    assert gain_of_choice(*arguments, 4, 100) == gain_of_choice(*arguments, 4, 100)
    assert gain_of_choice(*arguments, 4, 100) != gain_of_choice(*arguments, 5, 100)
