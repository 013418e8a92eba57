"""How well a few simple measurements alone tell real from fake: the AUROC of a small model on faces it has not seen.

The model is additive: of each feature its value and the eighth of the training rows it falls into, weighted by a
ridge-penalised logistic regression. So a feature need not rise with the label to be found, only differ. It is learned on
some groups and measured on others; the interval is that of Obuchowski (1997) over groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.evaluation.choice_gain import assign_folds
from facetell.evaluation.comparison import auroc_covariance

__all__ = [
    "MIN_GROUPS",
    "SOME",
    "STRONG",
    "crossfit",
    "enough_groups",
    "learn_and_score",
    "logistic_ridge",
    "shortcut_strengths",
]

STRONG = 0.8
"""A shortcut is strong when the lower end of its AUROC's interval is above this."""

SOME = 0.65
"""Above this there is some of it: an AUROC that a detector should not be compared with chance against."""

MIN_GROUPS = 20
"""Groups with a face of a label below which nothing is said: the intervals would be too narrow."""

_BINS = 8
_STEPS = 50
_MOST = 40_000  # rows learned from; more change nothing in a few dozen weights

Floats = NDArray[np.float64]


def logistic_ridge(
    x: Floats, y: NDArray[np.bool_], penalty: float = 1.0, counts: Floats | None = None
) -> tuple[Floats, float]:
    """Fit a logistic regression by Newton's method (IRLS): minimise the log loss summed + penalty / 2 · |w|².

    Args:
        x: (N, P) features of comparable spread.
        y: (N,) labels of both kinds.
        penalty: above 0; it does not apply to the intercept.
        counts: (N,) how often each row counts; by default once.

    Returns:
        Weights (P,) and intercept of the logit.
    """
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.full(x.shape[1], penalty), 0.0)
    weights = np.zeros(design.shape[1])
    times = np.ones(len(x)) if counts is None else counts

    def loss(at: Floats) -> float:
        logits = design @ at
        return float(np.sum(times * (np.logaddexp(0, logits) - y * logits)) + np.sum(ridge * at**2) / 2)

    now = loss(weights)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (times * (p - y)) + ridge * weights
        curvature = (design * (times * p * (1 - p))[:, None]).T @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (then := loss(weights - size * step)) > now and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if now - then < 1e-9 * max(now, 1.0):
            break
        now = then
    return weights[:-1], float(weights[-1])


def learn_and_score(learned: Floats, labels: NDArray[np.bool_], others: Floats) -> Floats:
    """Learn features (N, F) → labels (N,) and return logits (M,) of ``others`` (M, F), less the learned share of fakes."""
    centre, spread = learned.mean(axis=0), learned.std(axis=0)
    varies = spread > 1e-9
    edges = [np.unique(np.quantile(column, np.arange(1, _BINS) / _BINS)) for column in learned.T[varies]]

    def expanded(rows: Floats) -> Floats:
        columns = [np.clip((rows - centre) / np.where(varies, spread, 1), -4, 4)[:, varies]]
        for column, cuts in zip(rows.T[varies], edges, strict=True):
            # "left" and "right" both: a value that many rows share, such as one width, is a bin of its own.
            place = np.searchsorted(cuts, column, "left") + np.searchsorted(cuts, column, "right")
            columns.append((place[:, None] == np.arange(2 * len(cuts) + 1)).astype(np.float64))
        return np.column_stack(columns)

    weights, intercept = logistic_ridge(expanded(learned), labels)
    share = labels.mean()
    # Rounded: two folds that learned nothing must tie.
    logits: Floats = np.round(expanded(others) @ weights + intercept - np.log(share / (1 - share)), 6)
    return logits


def enough_groups(labels: NDArray[Any], groups: ArrayLike) -> bool:
    """Whether both labels (0, 1) have `MIN_GROUPS` groups; (N,) each."""
    names = np.asarray(groups)
    return all(np.unique(names[labels == label]).size >= MIN_GROUPS for label in (0, 1))


def crossfit(
    features: Floats,
    labels: NDArray[Any],
    groups: ArrayLike,
    families: Sequence[slice],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Score every row by a model that was learned on other groups.

    Args:
        features: (N, F).
        labels: (N,) 0 or 1; groups for which `enough_groups` holds.
        groups: (N,); a group is in one fold.
        families: the columns of each family.
        folds: parts, each scored by what the others teach.
        seed: draws the parts.

    Returns:
        (families, N) logits.
    """
    of_row = assign_folds(labels, groups, folds, seed)
    scores = np.empty((len(families), len(labels)))
    for part in range(folds):
        own = of_row == part
        scores[:, own] = _by_family(features[~own], labels[~own], features[own], families, seed)
    return scores


def _by_family(learned: Floats, labels: NDArray[Any], others: Floats, families: Sequence[slice], seed: int) -> Floats:
    if len(labels) > _MOST:
        drawn = np.random.default_rng(seed).choice(len(labels), _MOST, replace=False)
        learned, labels = learned[drawn], labels[drawn]
    fake = labels.astype(bool)
    return np.stack([learn_and_score(learned[:, family], fake, others[:, family]) for family in families])


def shortcut_strengths(
    features: Mapping[str, NDArray[np.floating[Any]]],
    labels: NDArray[Any],
    groups: ArrayLike,
    learned: tuple[Mapping[str, NDArray[np.floating[Any]]], NDArray[Any]] | None,
    seed: int,
    controls: Mapping[str, str],
) -> tuple[list[dict[str, Any]], Floats]:
    """Say how well each family of features alone tells fake from real.

    Args:
        features: (N, F) of each family, of the rows to measure on.
        labels: (N,) 0 or 1.
        groups: (N,).
        learned: features of each family and labels of the rows to learn from, which share no group with these; None
            learns and measures on these rows in five folds, groups apart.
        seed: draws the folds.
        controls: the verdict on a family is none unless its AUROC is above that of its control, the interval of the
            difference too.

    Returns:
        For each family ``family``, ``auroc``, ``low``, ``high`` (95%), ``verdict`` (strong, some, none) and ``n``; and
        the logits (families, N).
    """
    stops = np.cumsum([columns.shape[1] for columns in features.values()])
    families = [
        slice(int(stop) - columns.shape[1], int(stop)) for stop, columns in zip(stops, features.values(), strict=True)
    ]
    here = np.column_stack(list(features.values())).astype(np.float64)
    if learned is None:
        scores = crossfit(here, labels, groups, families, seed=seed)
    else:
        there = np.column_stack([learned[0][name] for name in features]).astype(np.float64)
        scores = _by_family(there, learned[1], here, families, seed)
    areas, covariance = auroc_covariance(labels, scores, groups)
    z = NormalDist().inv_cdf(0.975)
    names = list(features)
    found = []
    for k, name in enumerate(names):
        reach = z * float(np.sqrt(max(covariance[k, k], 0)))
        low, high = max(float(areas[k]) - reach, 0.0), min(float(areas[k]) + reach, 1.0)
        verdict = "strong" if low > STRONG else "some" if low > SOME else "none"
        if name in controls:
            c = names.index(controls[name])
            error = np.sqrt(max(covariance[k, k] + covariance[c, c] - 2 * covariance[k, c], 0))
            verdict = verdict if areas[k] - areas[c] - z * error > 0 else "none"
        one = {"family": name, "auroc": float(areas[k]), "low": low, "high": high, "verdict": verdict}
        found.append({**one, "n": len(labels)})
    return found, scores
