"""Choose an operating point on validation data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, SettingsError, near_miss
from facetell.evaluation.metrics import Ranking

__all__ = ["THRESHOLD_RULES", "check_rule", "choose_threshold"]

THRESHOLD_RULES = ("balanced_accuracy", "f1", "accuracy", "eer", "fpr=0.01")
"""The rules; ``fpr=`` takes any rate from 0 up to, but not including, 1."""

_CENTRE = 0.5


def check_rule(rule: str) -> float | None:
    """Return the rate of an ``fpr=`` rule, None for the others; raise SettingsError for an unknown rule."""
    if rule in THRESHOLD_RULES[:-1]:
        return None
    name, _, value = rule.partition("=")
    if name == "fpr":
        try:
            rate = float(value)
        except ValueError:
            rate = -1.0
        if 0 <= rate < 1:
            return rate
        raise SettingsError(f"threshold rule {rule!r}: the rate must be in [0, 1)", hint="for example fpr=0.01")
    raise SettingsError(
        f"unknown threshold rule {rule!r}{near_miss(rule, THRESHOLD_RULES)}",
        hint=f"choose one of: {', '.join(THRESHOLD_RULES)}",
    )


def _cuts(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds (K + 1,) around the distinct ``scores`` (K,), both descending: midway between neighbours.

    The outer two lie midway between the extreme score and 1 or 0. Where no number fits between two neighbours the upper
    one is taken, since ``score >= threshold`` then still decides the same.
    """
    upper = np.append(np.nextafter(1.0, 2.0) if scores[0] >= 1 else 1.0, scores)
    lower = np.append(scores, 0.0)
    middle = lower + (upper - lower) / 2
    return np.where(middle > lower, middle, upper)


def choose_threshold(labels: ArrayLike, scores: ArrayLike, rule: str = "balanced_accuracy") -> float:
    """Return the threshold (``score >= threshold`` is fake) that ``rule`` prefers on this data.

    ``scores`` (N,) are probabilities of fake in [0, 1]. Rules:

    - ``balanced_accuracy``: largest mean of recall and 1 - FPR, which is Youden's J;
    - ``f1``, ``accuracy``: largest of that metric;
    - ``eer``: smallest difference of FPR and FNR, then the largest balanced accuracy;
    - ``fpr=0.01``: largest recall with an FPR of at most 1 %, then the smallest FPR.

    The threshold lies midway between the two neighbouring scores, so it does not sit on a face. Among equally good
    ones the one nearest to 0.5 is taken, then the lower. Compared in whole numbers, so ties are exact.

    Raises SettingsError for an unknown rule, DataError when a class is missing or a score leaves [0, 1].
    """
    rate = check_rule(rule)
    ranking = Ranking(labels, scores)
    fps, tps = (np.append(0, counts).astype(np.int64) for counts in ranking.counts())
    reals, fakes = int(fps[-1]), int(tps[-1])
    if not reals or not fakes:
        raise DataError(
            f"a threshold needs real and fake faces, got {reals} real and {fakes} fake",
            hint="give the validation split faces of both labels",
        )
    if ranking.thresholds[0] > 1 or ranking.thresholds[-1] < 0:
        raise DataError("a threshold is chosen on probabilities in [0, 1]", hint="calibrate the logits first")

    balanced = tps * reals - fps * fakes
    goals: list[NDArray[np.int64] | NDArray[np.float64]]
    if rate is not None:
        goals = [np.where(fps <= np.floor(rate * reals * (1 + 1e-12)), tps, -1), -fps]
    elif rule == "eer":
        goals = [-np.abs(fps * fakes - (fakes - tps) * reals), balanced]
    elif rule == "f1":
        goals = [2 * tps / (tps + fps + fakes)]
    elif rule == "accuracy":
        goals = [tps - fps]
    else:
        goals = [balanced]
    cuts = _cuts(ranking.thresholds)
    # lexsort sorts by its last key first: goals, then nearness to 0.5, then the lower threshold.
    best = np.lexsort([cuts, np.abs(cuts - _CENTRE), *(-goal for goal in reversed(goals))])[0]
    return float(cuts[best])
