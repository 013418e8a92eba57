"""``classical``: logistic regression on the frozen backbone's vectors, which are computed once."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from facetell.adaptation.replay import Lesson
from facetell.adaptation.task import Known, Strategy, grown
from facetell.methods import get_method
from facetell.networks.backbones import Backbone
from facetell.settings import resolve
from facetell.training.classifiers import CLASSIFIERS, fit_head
from facetell.training.vectors import extract

__all__ = ["STRATEGY"]

C = 0.01
"""Inverse strength of the penalty; a strategy that is itself judged by cross-validation searches no grid of its own."""


def learn(known: Known, lesson: Lesson) -> Known:
    """Fit on the vectors of the new images and of the memory, both weighing the same."""
    method = get_method("features")
    old = known.settings
    backbone = known.network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    given = {"backbone": old.backbone, "size": old.size, "pretrained": "none", "classifier": "logistic"}
    settings: Any = resolve(method.settings, given)
    network = method.build(settings)
    network.get_submodule("backbone").load_state_dict(backbone.state_dict())
    parts = [lesson.new, *([lesson.memory.samples] if lesson.memory else [])]
    vectors = np.concatenate([extract(backbone, samples, lesson.fabric) for samples in parts])
    labels = np.concatenate([samples.labels for samples in parts])
    share = np.concatenate([np.full(len(samples), 1 / len(samples)) for samples in parts])
    point = {"C": C}
    network.head = fit_head(CLASSIFIERS["logistic"], vectors, labels, point, lesson.seed, True, share)
    return Known(method.name, settings, network.to(lesson.fabric.device).eval())


def _obstacle(known: Known, lesson: Lesson) -> str | None:
    if importlib.util.find_spec("sklearn") is None:
        return "scikit-learn is missing: pip install 'facetell[features]'"
    return grown(known, lesson)


STRATEGY = Strategy("classical", "logistic regression on the frozen backbone's vectors", _obstacle, learn, mixes=False)
