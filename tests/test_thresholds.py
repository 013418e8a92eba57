"""Thresholds against trying every one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetell.errors import DataError, SettingsError
from facetell.evaluation import THRESHOLD_RULES, choose_threshold, confusion
from facetell.evaluation.rates import operating_rates
from facetell.evaluation.thresholds import too_few_warning

TIED = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def quality(y: np.ndarray, s: np.ndarray, threshold: float, rule: str) -> float:
    """How well a threshold does by a rule, counted face by face."""
    tn = fp = fn = tp = 0
    for label, score in zip(y.tolist(), s.tolist(), strict=True):
        if score >= threshold:
            tp, fp = tp + label, fp + 1 - label
        else:
            fn, tn = fn + label, tn + 1 - label
    if rule == "f1":
        return 2 * tp / (2 * tp + fp + fn)
    if rule == "accuracy":
        return (tp + tn) / len(y)
    if rule == "eer":
        return -abs(fp / (fp + tn) - fn / (fn + tp))
    name, _, number = rule.partition("=")
    if name in ("fpr", "worst-fpr"):  # one source
        return tp / (tp + fn) if fp <= float(number) * (fp + tn) else -1.0
    if name == "recall":
        return -fp / (fp + tn) if tp >= float(number) * (fn + tp) - 1e-9 else -2.0
    if name == "precision":
        return tp / (tp + fn) if tp + fp and tp >= float(number) * (tp + fp) - 1e-9 else -1.0
    if name == "cost":
        return -(float(number) * fn + fp)
    return (tp / (tp + fn) + tn / (tn + fp)) / 2


@settings(max_examples=200, deadline=None)
@given(
    TIED,
    st.sampled_from(
        [*THRESHOLD_RULES, "fpr=0", "fpr=0.25", "recall=0.5", "recall=1", "precision=0.5", "cost=0.1", "cost=3.5"]
    ),
)
def test_no_threshold_does_better(rows: list[tuple[int, int]], rule: str) -> None:
    y, steps = (np.array(column) for column in zip(*rows, strict=True))
    s = steps / 10
    tried = np.append(np.arange(21) / 20 - 0.025, 1.01)
    best = max(quality(y, s, threshold, rule) for threshold in tried)
    if rule.startswith("precision=") and best < 0:
        with pytest.raises(DataError, match="the best is"):
            choose_threshold(y, s, rule)
        return
    chosen = choose_threshold(y, s, rule)
    assert chosen not in s or chosen == 0  # at 0 there is nothing below the lowest score
    assert quality(y, s, chosen, rule) == pytest.approx(best, abs=1e-12)


def test_the_threshold_lies_midway() -> None:
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.9, 0.95]) == pytest.approx(0.55)
    assert choose_threshold([0, 1], [0.2, 0.3], "f1") == pytest.approx(0.25)


def test_ties_go_to_the_one_nearest_to_a_half() -> None:
    # Youden's J is 1/2 at 0.15 and at 0.45; the second is nearer to 0.5.
    assert choose_threshold([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.5]) == pytest.approx(0.45)
    assert choose_threshold([0, 1, 0, 1], [0.5, 0.6, 0.8, 0.9]) == pytest.approx(0.55)
    # 0.25 and 0.75 are as good and as near: the lower.
    assert choose_threshold([0, 1, 0, 1], [0.125, 0.375, 0.625, 0.875]) == pytest.approx(0.25)


def test_constant_scores_still_give_a_threshold() -> None:
    assert choose_threshold([0, 1], [0.5, 0.5]) in (0.25, 0.75)
    assert choose_threshold([0, 1], [0.0, 0.0]) == 0.5
    assert choose_threshold([0, 1], [1.0, 1.0]) == 0.5


def test_the_false_positive_rate_is_kept_and_used_up() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 500)
    s = np.clip(rng.normal(0.4 + 0.2 * y, 0.15), 0, 1)
    found = confusion(y, s, choose_threshold(y, s, "fpr=0.01"))
    assert found.fp <= 5
    assert found.recall == pytest.approx(quality(y, s, np.sort(s[:500])[-6] + 1e-9, "fpr=0.01"))
    # 3 of 100 is exactly 3 %, whatever 0.03 * 100 is in binary.
    y, s = np.repeat([0, 1], 100), np.append(np.arange(100) / 200, np.full(100, 0.4825))
    assert confusion(y, s, choose_threshold(y, s, "fpr=0.03")).fp == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10), st.sampled_from("abc")), min_size=2, max_size=40))
def test_the_rate_holds_in_every_source(rows: list[tuple[int, int, str]]) -> None:
    y, steps, sources = (np.array(column) for column in zip(*[*rows, (0, 3, "a"), (1, 5, "a")], strict=True))
    reals = {source: steps[(y == 0) & (sources == source)] for source in "abc"}
    few = [source for source, scores in reals.items() if len(scores) < 5]  # too few to show a rate of 0.2
    parts = [scores for source, scores in reals.items() if source not in few]
    parts.append(np.concatenate([reals[source] for source in few]) if few else np.array([]))

    def worth(threshold: float) -> float:
        kept = all((part / 10 >= threshold).sum() <= 0.2 * len(part) for part in parts)
        return float((steps[y == 1] / 10 >= threshold).sum()) if kept else -1.0

    chosen = choose_threshold(y, steps / 10, "worst-fpr=0.2", sources)
    assert worth(chosen) == max(worth(threshold) for threshold in np.append(np.arange(21) / 20 - 0.025, 1.01))


def test_nothing_fits_between_neighbouring_numbers() -> None:
    low = 0.5
    high = np.nextafter(low, 1)
    threshold = choose_threshold([0, 1], [low, high])
    assert confusion([0, 1], [low, high], threshold).accuracy == 1


def test_scores_of_one_can_all_be_called_real() -> None:
    y, s = [0, 0, 0, 1], [1.0, 1.0, 1.0, 0.5]
    threshold = choose_threshold(y, s, "accuracy")
    assert confusion(y, s, threshold).tn == 3


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("balanced_acuracy", "did you mean 'balanced_accuracy'"),
        ("fpr=2", r"\[0, 1\)"),
        ("fpr=nan", r"\[0, 1\)"),
        ("fpr=", r"\[0, 1\)"),
        ("youden's", "did you mean 'youden'"),
        ("recall=0", r"\(0, 1\]"),
        ("recall=1.1", r"\(0, 1\]"),
        ("precision", r"\(0, 1\]"),
        ("cost=0", "above 0"),
        ("cost=inf", "above 0"),
        ("magic", "choose|unknown threshold rule"),
    ],
)
def test_unknown_rules_are_refused(rule: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        choose_threshold([0, 1], [0.1, 0.9], rule)


def test_one_class_and_logits_are_refused() -> None:
    with pytest.raises(DataError, match="2 real and 0 fake"):
        choose_threshold([0, 0], [0.1, 0.9])
    with pytest.raises(DataError, match="probabilities"):
        choose_threshold([0, 1], [-3.0, 2.0])


def test_rates_are_asked_for_by_hand() -> None:
    y, s = [0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.9, 0.25, 0.6, 0.8, 0.95]
    assert choose_threshold(y, s, "youden") == choose_threshold(y, s, "balanced_accuracy")
    assert choose_threshold(y, s, "recall=0.75") == pytest.approx(0.45)
    assert choose_threshold(y, s, "recall=0.8") == pytest.approx(0.225)  # all four: below 0.25, above 0.2
    assert choose_threshold(y, s, "precision=0.75") == pytest.approx(0.45)
    assert choose_threshold(y, s, "precision=1") == pytest.approx(0.925)
    # A missed fake costs a tenth: one false alarm for three found fakes is dear. Ten times: find all.
    assert choose_threshold(y, s, "cost=0.1") == pytest.approx(0.925)
    assert choose_threshold(y, s, "cost=10") == pytest.approx(0.225)


def test_a_precision_out_of_reach_names_the_best() -> None:
    with pytest.raises(DataError, match="the best is 0.75, with a recall of 1"):
        choose_threshold([0, 1, 1, 1], [0.9, 0.2, 0.3, 0.4], "precision=0.9")


def test_too_few_faces_promise_what_they_can() -> None:
    y, groups = np.repeat([0, 1], 50), np.arange(100)
    s = np.append(np.linspace(0.1, 0.4, 50), np.linspace(0.6, 0.9, 50))
    rates = operating_rates(y, s, groups, choose_threshold(y, s, "fpr=0.01"))
    said = too_few_warning("fpr=0.01", rates)
    assert said is not None
    assert "50 independent real faces cannot show fpr=0.01, that takes 100: on them it is 0" in said
    assert f"at most {1 - 0.025 ** (1 / 50):.4g}" in said
    assert too_few_warning("fpr=0.02", rates) is None
    assert "50 independent fakes cannot show recall=0.99, that takes 100: on them it is 1" in str(
        too_few_warning("recall=0.99", rates)
    )
    assert "no number of them can" in str(too_few_warning("recall=1", rates))
    assert too_few_warning("f1", rates) is None
    few = operating_rates(y, np.repeat(s[::10], 10), np.arange(100) // 10, 0.5)  # ten groups of ten alike
    assert "5 independent real faces cannot show fpr=0.02" in str(too_few_warning("fpr=0.02", few))
