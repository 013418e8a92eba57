"""``classical``: logistic regression on the frozen backbone's feature vectors, which are computed once."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from facetell.adaptation.task import AdaptTask, Model, Strategy, has_experts
from facetell.methods import get_method
from facetell.settings import resolve
from facetell.training.classifiers import CLASSIFIERS, fit_head
from facetell.training.vectors import extract

__all__ = ["STRATEGY"]

C = 0.01
"""Inverse strength of the penalty. It is not searched: cross-validation already judges the strategy as a whole."""


def learn(task: AdaptTask) -> Model:
    """Fit on the new faces and the replay buffer; both weigh the same."""
    method, old = get_method("features"), task.model
    given = {
        "backbone": old.settings.backbone, "size": old.settings.size, "pretrained": "none", "classifier": "logistic",
    }  # fmt: skip
    settings: Any = resolve(method.settings, given)
    network = method.build(settings)
    network.get_submodule("backbone").load_state_dict(old.backbone.state_dict())
    parts = [task.new, *([task.replay.learn] if task.replay else [])]
    vectors = np.concatenate([extract(old.backbone, samples, task.fabric) for samples in parts])
    labels = np.concatenate([samples.labels for samples in parts])
    share = np.concatenate([np.full(len(samples), 1 / len(samples)) for samples in parts])
    network.head = fit_head(CLASSIFIERS["logistic"], vectors, labels, {"C": C}, task.seed, True, share)
    return Model(method.name, settings, network.to(task.fabric.device).eval())


def _obstacle(task: AdaptTask) -> str | None:
    if importlib.util.find_spec("sklearn") is None:
        return "scikit-learn is missing: pip install 'facetell[learn]'"
    return has_experts(task)


STRATEGY = Strategy(
    "classical", "logistic regression on the frozen backbone's feature vectors", _obstacle, learn, interpolates=False
)
