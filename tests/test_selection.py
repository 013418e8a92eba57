"""Dealing folds, and what choosing the best of several is worth: against simulation and a slow loop."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetell.adaptation.selection import Candidate, Trial, cross_validate, held_out_models, untouched
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


@pytest.mark.slow
def test_what_a_race_has_left_over_is_measured_where_it_was_not_run() -> None:
    """One of twelve that know nothing wins on the first fold; what it gains on the other two is nothing but noise."""
    whole, apart = [], []
    for seed in range(60):
        rng = RNG(seed)
        y = np.tile([0, 1], 45)
        fold = assign_folds(y, np.arange(90), 3, seed)
        before, after = rng.normal(size=90), rng.normal(size=(12, 90))
        winner = max(after, key=lambda scores: auroc(y[fold == 0], scores[fold == 0]))
        given = (y, np.arange(90), before, winner[None, None], seed, 60)
        whole.append(gain_of_choice(*given).difference)
        apart.append(gain_of_choice(*given, untouched=fold != 0).difference)
    error = np.std(apart) / 60**0.5
    assert abs(np.mean(apart)) < 3 * error
    assert np.mean(whole) > 4 * error, "on all faces the winner's luck is taken for a gain"


@dataclass(frozen=True)
class Samples:
    labels: np.ndarray
    groups: np.ndarray
    places: np.ndarray

    def subset(self, positions: np.ndarray) -> Samples:
        return Samples(self.labels[positions], self.groups[positions], self.places[positions])


@dataclass(frozen=True)
class Task:
    new: Samples
    seed: int = 0
    replay: None = None
    model: None = None

    def subset(self, positions: np.ndarray) -> Task:
        return replace(self, new=self.new.subset(positions))

    def predict(self, model: Any, samples: Samples) -> np.ndarray:
        given: np.ndarray = model.scores[samples.places]
        return given


def strategy(name: str, scores: np.ndarray) -> Any:
    """Learns nothing: what it says of each face is given."""
    return SimpleNamespace(
        name=name,
        interpolates=False,
        light=False,
        learn=lambda task: SimpleNamespace(learned=task.new.places, scores=scores),
    )


def videos(seed: int, frames: int = 9) -> tuple[Task, list[np.ndarray]]:
    """Frames of 60 real and 60 fake videos, that get one logit each from two candidates of which the first is better."""
    rng = RNG(seed)
    labels = np.repeat(np.tile([0, 1], 60), frames)
    logits = [np.repeat(rng.normal(shift * np.tile([0, 1], 60)), frames) for shift in (1.0, 0.75)]
    groups = np.repeat(np.arange(120), frames)
    return Task(Samples(labels.astype(np.int8), groups, np.arange(len(labels)))), logits


def spread(task: Task, first: np.ndarray, second: np.ndarray, members: np.ndarray) -> float:
    """Standard error of a difference of AUROC by drawing ``members`` again: the slow way."""
    rng, y, found = RNG(0), task.new.labels, []
    own = {name: np.flatnonzero(members == name) for name in np.unique(members)}
    names = np.array(list(own))
    for _ in range(200):
        rows = np.concatenate([own[name] for name in rng.choice(names, len(names))])
        found.append(auroc(y[rows], first[rows]) - auroc(y[rows], second[rows]))
    return float(np.std(found))


@pytest.mark.slow
def test_a_race_takes_frames_of_one_video_together() -> None:
    """A candidate stays that is behind by more than an error over frames, and less than one over videos."""
    for seed in range(100):
        task, (first, second) = videos(seed)
        held = task.subset(np.flatnonzero(assign_folds(task.new.labels, task.new.groups, 3, 0) == 0))
        mine = first[held.new.places], second[held.new.places]
        behind = auroc(held.new.labels, mine[0]) - auroc(held.new.labels, mine[1])
        over_videos = spread(held, *mine, held.new.groups)
        if over_videos / 2 < behind < 0.8 * over_videos:
            break
    assert behind > 1.2 * spread(held, *mine, held.new.places), "over frames it would be given up"
    trials = cross_validate(cast("Any", task), [strategy("first", first), strategy("second", second)], 0.02)
    assert [trial.finished for trial in trials] == [True, True]
    assert untouched(cast("Any", task), trials).all()


def test_who_is_far_behind_is_given_up_and_the_first_fold_no_longer_measures() -> None:
    task, (first, _) = videos(0)
    trials = cross_validate(cast("Any", task), [strategy("first", first), strategy("noise", -first)], 0.02)
    assert [trial.finished for trial in trials] == [True, False]
    fold = assign_folds(task.new.labels, task.new.groups, 3, 0)
    assert untouched(cast("Any", task), trials).tolist() == (fold != 0).tolist()


def test_few_videos_of_many_frames_run_no_race() -> None:
    labels = np.repeat([0, 1, 0, 1, 0, 1], 60).astype(np.int8)
    task = Task(Samples(labels, np.repeat(np.arange(6), 60), np.arange(360)))
    scores = RNG(0).normal(labels)
    trials = cross_validate(cast("Any", task), [strategy("good", scores), strategy("bad", -scores)], 0.02)
    assert all(trial.finished for trial in trials)


def test_shortcuts_are_asked_of_models_that_have_not_seen_the_faces() -> None:
    task, (first, _) = videos(1)
    seen = []
    trial = Trial(Candidate(strategy("first", first)), np.zeros((1, 1)))
    for model, held in held_out_models(cast("Any", task), trial):
        learned = cast("Any", model).learned
        assert not set(task.new.groups[learned].tolist()) & set(task.new.groups[held].tolist())
        assert len(learned) + len(held) == len(first)
        seen += held.tolist()
    assert sorted(seen) == list(range(len(first)))
