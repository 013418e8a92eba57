"""Operating points that hold in two domains: order statistics by hand, new draws, folds that choose nothing themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facetell.adaptation.acceptance import point_check
from facetell.adaptation.operating_points import AtPoint, cross_fitted, held_scale
from facetell.detector.calibration import Calibration, Scale
from facetell.detector.measure import Sample
from facetell.evaluation.conformal import most_of

RULES = {"default": "balanced_accuracy", "fpr=0.05": "fpr=0.05", "recall=0.9": "recall=0.9"}


def domain(n: int, shift: float, apart: float, seed: int, name: str) -> Sample:
    """``n`` reals around ``shift`` and as many fakes ``apart`` from them, one face a group."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n).astype(np.int8)
    logits = rng.normal(shift, 1, 2 * n) + apart * labels
    return Sample(labels, logits.astype(np.float32), np.arange(2 * n).astype(str), name, name * 64, "validation")


OLD, NEW = domain(300, 0, 2.5, 0, "a"), domain(50, 1.5, 2, 1, "b")


@pytest.fixture(scope="module")
def held() -> Scale:
    return held_scale(OLD.scale(RULES), OLD, NEW, None)


def called(scale: Scale, name: str, sample: Sample, label: int) -> float:
    scores = scale.curve.scores(sample.logits[sample.labels == label])
    return float((scores >= scale.points[name].value).mean())


def test_of_50_reals_the_third_highest_is_not_exceeded_by_more_than_a_twentieth() -> None:
    """By hand: 51 · 0.95 = 48.45, so the 49th of 50; with 19 groups the highest, and with fewer no less than that."""
    values = np.random.default_rng(0).permutation(50).astype(float)
    assert most_of(values, np.arange(50), 0.05) == 48
    assert most_of(values[:19], np.arange(19), 0.05) == values[:19].max()
    assert most_of(values[:7], np.arange(7), 0.05) == values[:7].max()
    assert most_of(values, np.arange(50), 1.0) == -np.inf


def test_a_rate_holds_in_each_domain_by_itself(held: Scale) -> None:
    """On new faces of both: the old threshold alone calls a third of the new reals fake."""
    before = OLD.scale(RULES)
    later = {"old": domain(20_000, 0, 2.5, 7, "c"), "new": domain(20_000, 1.5, 2, 8, "d")}
    assert called(before, "fpr=0.05", later["new"], 0) > 0.3
    for sample in later.values():
        assert called(held, "fpr=0.05", sample, 0) < 0.07
    assert called(held, "recall=0.9", later["new"], 1) > 0.87
    assert called(held, "recall=0.9", later["old"], 1) > 0.87
    stated = held.points["default"].domains["old"].stated
    scores = before.curve.scores(OLD.logits[OLD.labels == 0])
    assert stated == pytest.approx((int((scores >= before.points["default"].value).sum()) + 1) / 301)
    rates = [
        called(held_scale(before, OLD, domain(50, 1.5, 2, 200 + k, "b"), None), "default", later["new"], 0)
        for k in range(40)
    ]
    assert stated - 0.035 < np.mean(rates) < stated + 0.01  # of 50 reals, 4 / 51 and a little less


def test_what_is_kept_of_it(held: Scale) -> None:
    for point in held.points.values():
        assert point.on == OLD.on
        assert set(point.domains) == {"old", "b" * 16}
    new = held.points["fpr=0.05"].domains["b" * 16]
    assert (new.n_real, new.n_fake, new.stated) == (50, 50, 0.05)
    highest = np.sort(NEW.logits[NEW.labels == 0])
    assert highest[48] < new.logit < highest[49]
    assert new.fpr == 1 / 50
    assert new.fpr_high == pytest.approx(
        0.0914, abs=1e-4
    )  # one-sided 95% for 1 of 50: the tables of Clopper and Pearson
    stored = Calibration("0" * 64, None, held, None).as_dict()
    assert Calibration.from_dict(stored).face.points == held.points
    for point in stored["face"]["points"].values():
        del point["domains"]  # as written before there were any
    assert Calibration.from_dict(stored).face.points["default"].domains == {}


def test_new_reals_that_score_low_move_nothing() -> None:
    low = domain(50, -3, 6, 2, "b")
    before, after = OLD.scale(RULES), held_scale(OLD.scale(RULES), OLD, low, None)
    assert after.points["default"].value == before.points["default"].value


def test_a_domain_of_an_earlier_adapt_keeps_what_it_needs(held: Scale) -> None:
    third = domain(50, -3, 6, 2, "c")
    carried = {name: {"b" * 16: point.domains["b" * 16]} for name, point in held.points.items()}
    after = held_scale(OLD.scale(RULES), OLD, third, held, carried)
    for name, point in after.points.items():
        assert set(point.domains) == {"old", "b" * 16, "c" * 16}
        assert name.startswith("recall") or point.value == pytest.approx(held.points[name].value)


def test_below_the_threshold_where_new_fakes_lie_it_is_unsure(held: Scale) -> None:
    band, point = held.unsure, held.points["default"]
    assert band is not None
    stated = point.domains["old"].stated
    scores = held.curve.scores(domain(20_000, 1.5, 2, 9, "d").logits[20_000:])
    real = np.mean([band.decision(score, point.value) == "real" for score in scores])
    assert real < 1.6 * stated  # of new fakes no more are called real than reals are called fake
    fakes = [band.decision(score, point.value) == "fake" for score in scores]
    np.testing.assert_array_equal(fakes, scores >= point.value)  # it takes nothing from what is found
    apart = held_scale(OLD.scale(RULES), OLD, domain(50, -8, 16, 3, "b"), None)
    assert apart.unsure is None


def test_a_band_that_was_asked_for_is_measured_anew(held: Scale) -> None:
    parent = replace(OLD.scale(RULES), unsure=OLD.band(held.curve, 0.95))
    found = held_scale(OLD.scale(RULES), OLD, NEW, parent).unsure
    assert found is not None
    assert parent.unsure is not None
    assert held.unsure is not None
    assert found.coverage == 0.95
    assert found.real_to == max(parent.unsure.real_to, held.unsure.real_to)
    assert found.fake_from == min(parent.unsure.fake_from, held.unsure.fake_from)


def test_a_threshold_of_many_more_faces_is_not_moved_by_the_few_old_ones_that_are_kept() -> None:
    """Of those the parent calls 20% fake at a point that states 5%: so may the new network, and no more of them."""
    scale, easy = OLD.scale(RULES), domain(50, -8, 16, 3, "b")
    reals = np.sort(OLD.logits[OLD.labels == 0])
    logit = float(reals[-len(reals) // 5 - 1 : -len(reals) // 5 + 1].mean())
    points = {name: replace(point, value=float(scale.curve.scores(logit))) for name, point in scale.points.items()}
    parent = replace(scale, points=points)
    strict = held_scale(scale, OLD, easy, parent).points["fpr=0.05"]
    after = held_scale(scale, OLD, easy, parent, before=OLD.logits).points["fpr=0.05"]
    called_fake = [float((scale.curve.scores(reals) >= point.value).mean()) for point in (strict, after)]
    assert called_fake[0] <= 0.05
    assert 0.18 <= called_fake[1] <= 0.2
    assert after.domains["old"].stated == pytest.approx(0.2, abs=0.01)
    assert after.domains["b" * 16].stated == 0.05


def test_what_is_reported_chose_nothing() -> None:
    """Over 40 draws of 30 reals: cross-fitted, the FPR is that on new faces; on those that chose, it is too good."""
    own, fair, true = list[float](), list[float](), list[float]()
    for seed in range(40):
        new = domain(30, 1.5, 2, 100 + seed, "b")
        scale = held_scale(OLD.scale({"default": "fpr=0.1"}), OLD, new, None)
        at = cross_fitted(scale, OLD, new, seed)["default"]
        assert at.n == (30, 30, 300)
        fair.append(at.rate(0)[0])
        own.append(scale.points["default"].domains["b" * 16].fpr)
        true.append(called(scale, "default", domain(2000, 1.5, 2, 9, "d"), 0))
    assert np.mean(own) < 0.75 * np.mean(true)
    assert np.mean(fair) == pytest.approx(np.mean(true), abs=0.03)


def test_twice_the_stated_rate_is_refused_unless_it_may_be_chance() -> None:
    def check(new: int, n: int = 50, old: int = 10, promised: float = 0.05) -> bool:
        at = AtPoint(0.05, 0.05, promised, (n, 50, 200), (new, 40, old), (1.0, 1.0, 1.0))
        found = point_check("fpr=0.05", at)
        assert found.numbers["fpr"] == new / n
        assert ("exceed twice that" in found.says) is not found.passed
        return found.passed

    assert check(5)  # one in ten is twice the stated rate, not more
    assert not check(6)  # of which 2.4 are expected, and 6 in 50 have a one-sided lower bound of 5.3%
    assert check(1, 6)  # a sixth, but of six
    assert check(6, promised=1 / 12)  # from so few reals no more could be promised
    assert check(0, old=20)
    assert not check(0, old=25)


def test_how_many_would_show_it_is_said() -> None:
    """Clopper-Pearson by SciPy's beta quantile: 1 of 50 may be up to 9.1%, 0 of 20 up to 13.9%, 0 of 29 up to 9.8%."""
    few = point_check("default", AtPoint(0.05, 0.05, 0.05, (20, 10, 200), (0, 0, 0), (1.0, 1.0, 1.0)))
    assert few.passed
    assert "about 29 reals like these would show at most twice that" in few.says
    assert "no number of fakes like these would show that more of them are found" in few.says
    many = point_check("default", AtPoint(0.05, 0.05, 0.05, (50, 50, 200), (1, 40, 5), (1.0, 1.0, 1.0)))
    assert "like these" not in many.says
    assert "80% of 50 new fakes are found" in many.says
    assert "2.0% of 50 new reals (at most 9.1%)" in many.says
