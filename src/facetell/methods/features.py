"""``features``: vectors of a frozen backbone and a classical classifier, chosen by cross-validation with groups apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from facetell.errors import DataError
from facetell.faceset.samples import Samples
from facetell.methods.method import Method, Task
from facetell.methods.pretrained import start_backbone
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.classical import FeatureClassifier
from facetell.progress import Progress, silent
from facetell.settings import setting
from facetell.training.classifiers import CLASSIFIERS, read_grid
from facetell.training.fabric import make_fabric
from facetell.training.run import TABLE
from facetell.training.search import Candidate, Search, best_of, folds_of, write_candidates
from facetell.training.vectors import extract, logits_from

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["METHOD", "FeaturesSettings"]


@dataclass(frozen=True)
class FeaturesSettings:
    """The extractor, the classifier, and how its parameters are chosen."""

    backbone: str = setting("squeezenet1_0", "squeezenet1_0, shallownetv3, resnetv2_50, xception, or any timm name")
    pretrained: str = setting("library", "the extractor's weights: library, none, FILE.safetensors or a detector")
    size: int = setting(64, "side of the input in pixels", low=16, high=1024)
    classifier: str = setting("logistic", "what learns on the features", choices=tuple(CLASSIFIERS))
    grid: str = setting(
        "", "values to try instead of the classifier's own, such as C=0.01,0.1 or trees=100;depth=4,none"
    )
    select: str = setting("f1", "what the best of the grid is best at, mean over the folds", choices=("f1", "auroc"))
    folds: int = setting(5, "parts of the cross-validation; a group is never on both sides", low=2, high=50)
    standardise: bool = setting(True, "each feature with mean 0 and deviation 1 (logistic and SVC; trees do not care)")
    balance: str = setting(
        "none",
        "sources: every generator and data set weighs as much as the others of its label, in the scores too",
        choices=("none", "sources"),
    )
    precision: str = setting(
        "32-true", "arithmetic of the extraction; detectors judge in 32-true", choices=("32-true", "auto", "bf16-mixed")
    )


def _assemble(settings: FeaturesSettings, backbone: Backbone) -> FeatureClassifier:
    head = CLASSIFIERS[settings.classifier].head(backbone.vector_length(settings.size))
    return FeatureClassifier(backbone, head)


def build(settings: FeaturesSettings) -> FeatureClassifier:
    """The network, no weights loaded, its classifier empty where its size is learned."""
    return _assemble(settings, build_backbone(settings.backbone, settings.size))


def fit(settings: FeaturesSettings, task: Task) -> FeatureClassifier:
    """Choose the classifier's parameters by cross-validation within ``task.training`` and refit it on all of that.

    ``training.csv`` gets a line per point of the grid. The validation images choose nothing here. An interrupted fit
    that is started again finds its features in the cache.
    """
    grid = read_grid(settings.grid, settings.classifier)
    for name, samples in (("training", task.training), ("validation", task.validation)):
        if len(np.unique(samples.labels)) < 2:
            raise DataError(f"the {name} images need both real and fake", hint="see `facetell inspect FACESET`")
    folds = folds_of(task.training, settings.folds, task.seed)
    network = _assemble(settings, start_backbone(settings.backbone, settings.size, settings.pretrained, task.start))
    fabric = make_fabric(settings.precision, task.device)
    vectors = extract(network.backbone.to(fabric.device), task.training, fabric, task.progress)
    search = Search(
        CLASSIFIERS[settings.classifier],
        vectors,
        task.training.labels,
        folds,
        task.seed,
        settings.standardise,
        task.training.sources if settings.balance == "sources" else None,
    )

    def keep(candidates: list[Candidate]) -> None:
        if fabric.is_global_zero:
            write_candidates(task.folder / TABLE, candidates, settings.select)

    best = best_of(search.run(grid, keep, task.progress), settings.select)
    network.head = search.fit(best.point, np.arange(len(vectors)))
    return network


def predict(
    network: nn.Module, samples: Samples, fabric: Fabric, progress: Progress = silent
) -> npt.NDArray[np.float32]:
    """Logits (N,) of ``samples`` in order, from features that the next classifier on this backbone finds in the cache."""
    assert isinstance(network, FeatureClassifier)
    return logits_from(network.head, extract(network.backbone, samples, fabric, progress), fabric)


METHOD = Method(
    name="features",
    summary="a frozen backbone's features + logistic regression, SVC, random forest or XGBoost, cross-validated",
    settings=FeaturesSettings,
    build=build,
    fit=fit,
    presets={
        "paper": {
            "backbone": "convnext_base.fb_in1k",
            "classifier": "svc-linear",
            "size": 224,
            "select": "f1",
            "folds": 5,
            "standardise": False,
        }
    },
    predict=predict,
)
