"""Choose an operating point on validation data."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, SettingsError, near_miss
from facetell.evaluation.metrics import Ranking

__all__ = ["FPR_RULES", "THRESHOLD_RULES", "candidate_thresholds", "check_rule", "choose_threshold", "too_few_warning"]

THRESHOLD_RULES = (
    "balanced_accuracy", "youden", "f1", "accuracy", "eer", "fpr=0.01", "worst-fpr=0.01", "recall=0.95", "precision=0.9",
    "cost=10",
)  # fmt: skip
"""The rules; those with a number take another one as well, see :func:`choose_threshold`."""

FPR_RULES = ("fpr", "worst-fpr")
"""Names of rules that state the share of reals that may be called fake."""
_NUMBERED = (*FPR_RULES, "recall", "precision", "cost")
_CENTRE = 0.5
_ROUNDING = 1e-12


def check_rule(rule: str) -> tuple[str, float]:
    """Return the name of a rule and its number, nan for one without; raise SettingsError for an unknown rule."""
    name, _, value = rule.partition("=")
    if name in _NUMBERED:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name == "cost" and not 0 < number < math.inf:
            raise SettingsError(
                f"threshold rule {rule!r}: the cost of a missed fake, in false alarms, must be above 0",
                hint="for example cost=10",
            )
        if name in FPR_RULES and not 0 <= number < 1:
            raise SettingsError(f"threshold rule {rule!r}: the rate must be in [0, 1)", hint=f"for example {name}=0.01")
        if name in ("recall", "precision") and not 0 < number <= 1:
            raise SettingsError(f"threshold rule {rule!r}: the rate must be in (0, 1]", hint=f"for example {name}=0.9")
        return name, number
    if rule in THRESHOLD_RULES:
        return ("balanced_accuracy" if rule == "youden" else rule), math.nan
    raise SettingsError(
        f"unknown threshold rule {rule!r}{near_miss(rule, THRESHOLD_RULES)}",
        hint=f"choose one of: {', '.join(THRESHOLD_RULES)}",
    )


def candidate_thresholds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds (K + 1,) around the distinct ``scores`` (K,), both descending: midway between neighbours.

    The outer two lie midway between the extreme score and 1 or 0. Where no number fits between two neighbours the upper
    one is taken, since ``score >= threshold`` then still decides the same.
    """
    upper = np.append(np.nextafter(1.0, 2.0) if scores[0] >= 1 else 1.0, scores)
    lower = np.append(scores, 0.0)
    middle = lower + (upper - lower) / 2
    return np.where(middle > lower, middle, upper)


def choose_threshold(
    labels: ArrayLike, scores: ArrayLike, rule: str = "balanced_accuracy", sources: ArrayLike | None = None
) -> float:
    """Return the threshold (``score >= threshold`` is fake) that ``rule`` prefers on this data.

    ``scores`` (N,) are probabilities of fake in [0, 1]. Rules:

    - ``balanced_accuracy``, also named ``youden``: largest mean of recall and 1 - FPR, which is (1 + Youden's J) / 2;
    - ``f1``, ``accuracy``: largest of that metric;
    - ``eer``: smallest difference of FPR and FNR, then the largest balanced accuracy;
    - ``fpr=0.01``: largest recall with an FPR of at most 1 %, then the smallest FPR;
    - ``worst-fpr=0.01``: the same with an FPR of at most 1 % in each of the ``sources`` (N,) of reals. Sources of fewer
      reals than it takes to show the rate, 1 / 0.01, count together as one;
    - ``recall=0.95``: smallest FPR with a recall of at least 95 %, then the largest recall;
    - ``precision=0.9``: largest recall with a precision of at least 90 %, then the smallest FPR;
    - ``cost=10``: least cost on these faces, in their mix, when a missed fake costs as much as 10 false alarms.

    The threshold lies midway between the two neighbouring scores, so it does not sit on a face. Among equally good
    ones the one nearest to 0.5 is taken, then the lower. Compared in whole numbers, so ties are exact.

    Raises SettingsError for an unknown rule, DataError when a class is missing, a score leaves [0, 1], or no threshold
    reaches the precision.
    """
    name, number = check_rule(rule)
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

    cuts = candidate_thresholds(ranking.thresholds)
    balanced = tps * reals - fps * fakes
    goals: list[NDArray[np.int64] | NDArray[np.float64]]
    if name == "fpr":
        goals = [np.where(fps <= _allowed(number, reals), tps, -1), -fps]
    elif name == "worst-fpr":
        parts = _real_sources(np.asarray(labels), np.asarray(scores), sources, number)
        kept = [len(part) - np.searchsorted(part, cuts) <= _allowed(number, len(part)) for part in parts]
        goals = [np.where(np.all(kept, axis=0), tps, -1), -fps]
    elif name == "recall":
        goals = [np.where(tps >= np.ceil(number * fakes * (1 - _ROUNDING)), -fps, -reals - 1), tps]
    elif name == "precision":
        goals = [np.where(_precise(tps, fps, number), tps, -1), -fps]
    elif name == "cost":
        goals = [np.asarray(-(number * (fakes - tps) + fps), dtype=np.float64)]
    elif name == "eer":
        goals = [-np.abs(fps * fakes - (fakes - tps) * reals), balanced]
    elif name == "f1":
        goals = [2 * tps / (tps + fps + fakes)]
    elif name == "accuracy":
        goals = [tps - fps]
    else:
        goals = [balanced]
    # lexsort sorts by its last key first: goals, then nearness to 0.5, then the lower threshold.
    best = np.lexsort([cuts, np.abs(cuts - _CENTRE), *(-goal for goal in reversed(goals))])[0]
    return float(cuts[best])


def _allowed(rate: float, reals: int) -> int:
    """How many of so many reals may be called fake."""
    return math.floor(rate * reals * (1 + _ROUNDING))


def _real_sources(
    labels: NDArray[np.int8], scores: NDArray[np.float64], sources: ArrayLike | None, rate: float
) -> list[NDArray[np.float64]]:
    """The rising scores of the reals of each source; those of sources too small for ``rate`` together, as the last."""
    reals = np.asarray(scores)[labels == 0]
    if sources is None:
        return [np.sort(reals)]
    _, place, counts = np.unique(np.asarray(sources)[labels == 0], return_inverse=True, return_counts=True)
    place = np.where(counts[place] * rate * (1 + _ROUNDING) < 1, len(counts), place)
    return [np.sort(reals[place == part]) for part in np.unique(place)]


def _precise(tps: NDArray[np.int64], fps: NDArray[np.int64], rate: float) -> NDArray[np.bool_]:
    """Where (K + 1,) the precision is at least ``rate``; raises DataError with the best where it is nowhere."""
    called = tps + fps
    enough = (called > 0) & (tps >= np.ceil(rate * called * (1 - _ROUNDING)))
    if not enough.any():
        best = 1 + int(np.argmax(tps[1:] / called[1:]))
        raise DataError(
            f"no threshold reaches a precision of {rate:g} on these faces: the best is {tps[best] / called[best]:.4g}, "
            f"with a recall of {tps[best] / tps[-1]:.4g}",
            hint="ask for less, or choose the threshold by another rule such as fpr=0.01",
        )
    return np.asarray(enough)


def too_few_warning(rule: str, rates: Mapping[str, Mapping[str, float | None]]) -> str | None:
    """Say what can be promised where the faces are too few for the rate that ``rule`` asks for; None where they do.

    ``rates``: of :func:`~facetell.evaluation.rates.operating_rates`. Too few: less than one of them, counted as
    independent ones, may be on the wrong side.
    """
    name, number = check_rule(rule)
    measured = "fpr" if name in FPR_RULES else name
    if measured not in ("fpr", "recall", "precision"):
        return None
    rate = rates[measured]
    value, low, high, faces = rate["value"], rate["low"], rate["high"], rate["effective"]
    wrong = number if measured == "fpr" else 1 - number
    if value is None or faces is None or faces * wrong >= 1 - _ROUNDING:
        return None
    least = f"that takes {math.ceil(1 / wrong - _ROUNDING):,}" if wrong else "no number of them can"
    promised = f"at most {high:.4g}" if measured == "fpr" else f"at least {low:.4g}"
    kind = {"fpr": "real faces", "recall": "fakes", "precision": "faces called fake"}[measured]
    return (
        f"{faces:.0f} independent {kind} cannot show {rule}, {least}: on them it is {value:.4g}, "
        f"and what can be promised is {promised} (95% interval)"
    )
