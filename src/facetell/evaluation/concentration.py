"""Where a detector's errors lie: in a few groups, in a source, along a measurement it should not look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.evaluation.bootstrap import group_members
from facetell.evaluation.rates import effective_share, rate_interval

__all__ = ["FOLLOWS", "error_rates", "followed_families", "rank_correlation", "spearman", "worst_groups"]

FOLLOWS = 0.2
"""A detector follows a measurement when the interval of their rank correlation within a class lies above this."""

_WORST = 0.05  # of the groups
_DRAWS = 1000


def error_rates(
    labels: NDArray[Any], wrong: NDArray[np.bool_], groups: ArrayLike, sources: ArrayLike
) -> list[dict[str, Any]]:
    """Error rate of each source and label with its 95% interval over groups, the highest first; (N,) each."""
    names, by_source = np.asarray(groups).astype(str), np.asarray(sources).astype(str)
    found = []
    for source in np.unique(by_source):
        for label, word in enumerate(("real", "fake")):
            own = (by_source == source) & (labels == label)
            n, errors = int(own.sum()), int(wrong[own].sum())
            if n:
                share = effective_share(wrong[own].astype(float), names[own])
                low, high = rate_interval(errors * share, n * share)
                rate = {"rate": errors / n, "low": low, "high": high}
                found.append({"source": str(source), "label": word, "n": n, "errors": errors, **rate})
    return sorted(found, key=lambda one: -one["rate"])


def worst_groups(labels: NDArray[Any], wrong: NDArray[np.bool_], groups: ArrayLike, seed: int) -> dict[str, Any]:
    """Say whether a few groups carry the errors.

    Args:
        labels: (N,) 0 or 1.
        wrong: (N,) whether the detector erred.
        groups: (N,).
        seed: draws what chance gives.

    Returns:
        ``groups`` in all; ``worst`` of them, 5% (at least 1), with the most errors; the ``share`` of the errors in them;
        ``chance`` the mean and ``chance_high`` the 95% point of that share when each class's errors fall on any of its
        faces alike, from 1,000 draws; ``p``, one-sided; ``examples`` the ten groups with the most errors. Share and
        chance are None without an error.
    """
    n_groups, members = group_members(groups, len(labels))
    sizes = np.stack([np.bincount(members[labels == label], minlength=n_groups) for label in (0, 1)])
    errors = np.bincount(members[wrong], minlength=n_groups)
    worst, total = max(1, round(_WORST * n_groups)), int(errors.sum())
    result: dict[str, Any] = {"groups": n_groups, "worst": worst, "errors": total}
    if not total:
        return {**result, "share": None, "chance": None, "chance_high": None, "p": None, "examples": []}

    def share(of: NDArray[np.int64]) -> float:
        return float(np.partition(of, n_groups - worst)[n_groups - worst :].sum() / total)

    rng = np.random.default_rng(seed)
    per_class = [int(wrong[labels == label].sum()) for label in (0, 1)]
    drawn = np.empty(_DRAWS)
    for k in range(_DRAWS):
        real, fake = (
            rng.multivariate_hypergeometric(of, count, method="marginals")
            for of, count in zip(sizes, per_class, strict=True)
        )
        drawn[k] = share(real + fake)
    names = np.unique(np.asarray(groups).astype(str))
    first = np.argsort(-errors, kind="stable")[:10]
    return {
        **result,
        "share": share(errors),
        "chance": float(drawn.mean()),
        "chance_high": float(np.quantile(drawn, 0.95)),
        "p": float((1 + np.sum(drawn >= share(errors) - 1e-12)) / (1 + _DRAWS)),
        "examples": [
            {"group": str(names[g]), "n": int(sizes[:, g].sum()), "errors": int(errors[g])} for g in first if errors[g]
        ],
    }


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's ρ of two arrays of one shape, equal values sharing their mean rank; NaN where one is constant."""
    from scipy.stats import rankdata  # slow to import

    a, b = (ranks - ranks.mean() for ranks in (rankdata(one, axis=None), rankdata(other, axis=None)))
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm else math.nan


def rank_correlation(one: ArrayLike, other: ArrayLike, groups: int) -> dict[str, float | None]:
    """Spearman's ρ of two columns (N,) with a 95% interval; None where a column is constant or there are few groups.

    The interval is Fisher's with the standard error of Fieller, Hartley and Pearson (1957), 1.06 / √(n - 3), for n =
    ``groups``: faces of one group count once, which is rather too wide.
    """
    value = spearman(one, other)
    if groups < 4 or math.isnan(value):
        return {"value": None, "low": None, "high": None}
    middle = math.atanh(max(min(value, 1 - 1e-12), 1e-12 - 1))
    away = NormalDist().inv_cdf(0.975) * 1.06 / math.sqrt(groups - 3)
    return {"value": value, "low": math.tanh(middle - away), "high": math.tanh(middle + away)}


def followed_families(
    families: Sequence[str], scores: NDArray[np.float64], logits: NDArray[Any], labels: NDArray[Any], groups: ArrayLike
) -> list[dict[str, Any]]:
    """Rank correlation of a detector's logit with the logit of each family of features, within each class.

    Args:
        families: names.
        scores: (families, N).
        logits: (N,) the detector's.
        labels: (N,) 0 or 1.
        groups: (N,).

    Returns:
        For each family ``family``, ``real`` and ``fake`` (value, low, high), and ``follows``: whether either lies above
        `FOLLOWS`. Within a class the label cannot make the two rise together.
    """
    names = np.asarray(groups).astype(str)
    found = []
    for family, score in zip(families, scores, strict=True):
        by_class = {
            word: rank_correlation(score[own], logits[own], int(np.unique(names[own]).size))
            for word, own in (("real", labels == 0), ("fake", labels == 1))
        }
        follows = any(one["low"] is not None and one["low"] > FOLLOWS for one in by_class.values())
        found.append({"family": family, **by_class, "follows": follows})
    return found
