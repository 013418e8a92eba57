"""Classical classifiers on feature vectors: what is searched for each, how it is fitted, and its tensors for a torch head.

Fitting needs scikit-learn (and XGBoost for that one); the tensors that come out need neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facetell.errors import MissingExtraError, SettingsError, learning, near_miss
from facetell.networks.classical import Boosted, Forest, Kernel, Linear
from facetell.networks.tensors import take_sizes

__all__ = ["CLASSIFIERS", "Classifier", "balanced_weights", "fit_head", "read_grid", "source_weights"]

Point = Mapping[str, Any]
"""One value for each parameter of a grid."""


@dataclass(frozen=True)
class Classifier:
    """One classifier: its grid, its torch head, how its estimator is made, and that estimator's tensors for the head.

    ``make(point, seed, features)`` returns an unfitted scikit-learn estimator for vectors of that length;
    ``tensors(estimator)`` those of the head, less ``mean`` and ``scale``. ``standardised``: it learns from standardised
    float64 vectors, else from float32 as they are (trees do not care).
    """

    grid: Mapping[str, tuple[Any, ...]]
    head: Callable[[int], nn.Module]
    make: Callable[[Point, int, int], Any]
    tensors: Callable[[Any], dict[str, Tensor]]
    standardised: bool = True


def fit_head(
    classifier: Classifier,
    vectors: NDArray[np.float32],
    labels: NDArray[np.int8],
    point: Point,
    seed: int,
    standardise: bool,
    weights: NDArray[np.float64] | None = None,
) -> nn.Module:
    """Fit on vectors (N, D) and labels (N,), both classes weighing the same; returns the torch head.

    ``weights`` (N,) of the rows come on top.

    Raises ``MissingExtraError`` when the classifier's library is not installed.
    """
    estimator = classifier.make(point, seed, vectors.shape[1])
    x: NDArray[np.floating] = vectors
    shift: dict[str, Tensor] = {}
    if classifier.standardised:
        mean, scale = np.zeros(vectors.shape[1]), np.ones(vectors.shape[1])
        if standardise:
            mean = vectors.mean(axis=0, dtype=np.float64)
            scale = vectors.std(axis=0, dtype=np.float64)
            scale[scale == 0] = 1.0  # what never varies says nothing, whatever its unit
        x = (vectors.astype(np.float64) - mean) / scale
        shift = {"mean": torch.from_numpy(mean), "scale": torch.from_numpy(scale)}
    balanced = balanced_weights(labels)
    if weights is not None:
        balanced = balanced * weights / weights.mean()
    estimator.fit(x, labels, sample_weight=balanced)
    tensors = shift | classifier.tensors(estimator)
    head = classifier.head(vectors.shape[1])
    take_sizes(head, tensors)
    head.load_state_dict(tensors)
    return head


def balanced_weights(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """Weights (N,) with mean 1 under which both classes weigh the same: scikit-learn's ``balanced``."""
    counts = np.bincount(labels, minlength=2)
    return (len(labels) / (2.0 * counts))[labels]


def source_weights(labels: NDArray[np.int8], sources: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights (N,) under which the sources (N,) of a label weigh the same, with mean 1 in each label."""
    weights = np.empty(len(labels))
    for label in np.unique(labels):
        own = labels == label
        _, members, counts = np.unique(sources[own], return_inverse=True, return_counts=True)
        weights[own] = (own.sum() / len(counts) / counts)[members]
    return weights


def read_grid(text: str, name: str) -> dict[str, tuple[Any, ...]]:
    """The grid of classifier ``name``, with the values of ``text`` in place of its own.

    ``text`` is like ``C=0.01,0.1`` or ``trees=100;depth=4,none``. Raises ``SettingsError`` for a parameter the
    classifier does not have and for a value that is no positive number of its kind.
    """
    grid = dict(CLASSIFIERS[name].grid)
    for part in text.split(";") if text.strip() else ():
        parameter, sign, values = (word.strip() for word in part.partition("="))
        if not sign or parameter not in grid:
            raise SettingsError(
                f"grid = '{text}': {name} has no parameter '{parameter}'{near_miss(parameter, grid)}",
                hint=f'such as --set grid="{next(iter(grid))}=1,10"; it has {", ".join(grid)}',
            )
        grid[parameter] = tuple(_value(text, value.strip(), grid[parameter]) for value in values.split(","))
    return grid


def _value(text: str, value: str, own: tuple[Any, ...]) -> Any:
    """One value, read as the grid's own values are: whole number, number, or ``none`` where that is one of them."""
    if value.lower() == "none" and None in own:
        return None
    kind = int if isinstance(own[0], int) else float
    try:
        number = kind(value)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise SettingsError(f"grid = '{text}': '{value}' is not a positive {'whole ' if kind is int else ''}number")
    return number


def _logistic(point: Point, seed: int, features: int) -> Any:
    return _sklearn("linear_model").LogisticRegression(C=point["C"], max_iter=5000)


def _linear_svc(point: Point, seed: int, features: int) -> Any:
    # The primal solver draws nothing; 7,200 rows of 1,280 features take it 2 to 5 s, libsvm's linear kernel 20 s. Where
    # few rows can be told apart entirely it goes on for thousands of steps that change nothing any more.
    return _sklearn("svm").LinearSVC(C=point["C"], dual=False, max_iter=300)


def _rbf_svc(point: Point, seed: int, features: int) -> Any:
    # On standardised vectors 1 / D is scikit-learn's gamma="scale", and it is known without looking at the rows.
    return _sklearn("svm").SVC(C=point["C"], gamma=point["gamma"] / features, cache_size=500)


def _forest(point: Point, seed: int, features: int) -> Any:
    return _sklearn("ensemble").RandomForestClassifier(
        n_estimators=point["trees"],
        max_depth=point["depth"],
        min_samples_leaf=point["leaf"],
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    )


def _xgboost(point: Point, seed: int, features: int) -> Any:
    _sklearn("base")  # XGBoost's classifier is built on it
    try:
        from xgboost import XGBClassifier
    except ImportError:
        raise MissingExtraError("fitting with classifier=xgboost", "xgboost") from None
    return XGBClassifier(
        n_estimators=point["trees"],
        max_depth=point["depth"],
        learning_rate=point["rate"],
        colsample_bytree=point["columns"],
        base_score=0.5,  # margins start at 0, so the trees are all there is
        tree_method="hist",
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    )


def _sklearn(module: str) -> Any:
    import importlib

    with learning("fitting features"):
        return importlib.import_module(f"sklearn.{module}")


def _linear_tensors(fitted: Any) -> dict[str, Tensor]:
    return {"weight": _double(fitted.coef_[0]), "bias": _double(fitted.intercept_[0])}


def _kernel_tensors(fitted: Any) -> dict[str, Tensor]:
    return {
        "supports": _double(fitted.support_vectors_),
        "duals": _double(fitted.dual_coef_[0]),
        "gamma": _double(fitted.gamma),
        "bias": _double(fitted.intercept_[0]),
    }


def _forest_tensors(fitted: Any) -> dict[str, Tensor]:
    """scikit-learn sends float32 ``x <= threshold`` (float64) to the left: the same as ``x <=`` the float32 below it."""
    trees = []
    for each in fitted.estimators_:
        tree = each.tree_
        threshold = tree.threshold.astype(np.float32)
        above = threshold > tree.threshold
        threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
        fake = tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1)
        trees.append((tree.feature, threshold, tree.children_left, tree.children_right, fake))
    return _nodes(trees)


def _xgboost_tensors(fitted: Any) -> dict[str, Tensor]:
    """XGBoost sends ``x < condition`` (both float32) to the left: the same as ``x <=`` the float32 below it."""
    model = json.loads(fitted.get_booster().save_raw("json"))["learner"]["gradient_booster"]["model"]
    trees = []
    for tree in model["trees"]:
        condition = np.array(tree["split_conditions"], dtype=np.float32)  # of a leaf: its value
        threshold = np.nextafter(condition, np.float32(-np.inf))
        trees.append(
            (tree["split_indices"], threshold, tree["left_children"], tree["right_children"], condition)
        )  # fmt: skip
    return _nodes(trees)


def _nodes(trees: list[tuple[Any, ...]]) -> dict[str, Tensor]:
    """The arrays of all trees, one after the other; a leaf (whose child is -1) branches to itself."""
    sizes = [len(tree[0]) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    feature, threshold, left, right, value = (np.concatenate(column) for column in zip(*trees, strict=True))
    own = np.arange(len(feature))
    branches = np.stack([left, right], axis=1).astype(np.int64) + np.repeat(roots, sizes)[:, None]
    leaf = np.asarray(left) < 0
    branches[leaf] = own[leaf, None]
    return {
        "feature": torch.from_numpy(np.where(leaf, 0, feature).astype(np.int64)),
        "threshold": torch.from_numpy(threshold.astype(np.float32)),
        "branches": torch.from_numpy(branches),
        "value": torch.from_numpy(np.where(leaf, value, 0.0).astype(np.float64)),
        "roots": torch.from_numpy(roots.astype(np.int64)),
    }


def _double(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


CLASSIFIERS = {
    "logistic": Classifier({"C": (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)}, Linear, _logistic, _linear_tensors),
    "svc-linear": Classifier({"C": (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)}, Linear, _linear_svc, _linear_tensors),
    "svc-rbf": Classifier({"C": (0.1, 1.0, 10.0), "gamma": (1.0,)}, Kernel, _rbf_svc, _kernel_tensors),
    "forest": Classifier(
        {"trees": (100, 300), "depth": (8, None), "leaf": (1, 5)}, Forest, _forest, _forest_tensors, standardised=False
    ),
    "xgboost": Classifier(
        {"trees": (100, 300), "depth": (3, 6), "rate": (0.1, 0.3), "columns": (0.1, 0.5)},
        Boosted, _xgboost, _xgboost_tensors, standardised=False,
    ),
}  # fmt: skip
"""The paper's four (its SVC with either kernel), with the parameters it names. It gives no values: these are ours. The
first of equals wins, so values go from the plainest model to the freest."""
