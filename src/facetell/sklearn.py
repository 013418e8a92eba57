"""A detector as an estimator of scikit-learn: a frozen backbone and a classical classifier, as the method ``features``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import SettingsError, learning
from facetell.evaluation.score_curves import fit_temperature
from facetell.pixels.decode import as_pixels, decode, resize

with learning("facetell.sklearn"):
    import torch
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.utils import assert_all_finite
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d

    from facetell.methods.pretrained import read_start, start_backbone
    from facetell.training.classifiers import CLASSIFIERS, read_grid
    from facetell.training.search import Search, best_of
    from facetell.training.vectors import vectors_of

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FewShotDetector"]

Pictures = NDArray[np.uint8] | Sequence["str | Path | Image.Image | NDArray[np.uint8]"]


class FewShotDetector(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Tells two classes of face crops apart from few examples.

    ``X`` is uint8 (N, H, W, 3) RGB, or a sequence of paths, PIL images and such arrays of any size. The classifier's
    parameters are chosen by cross-validation within the fitted rows, with groups apart, and its temperature is fitted
    on the logits of the rows held out there.

    Args:
        backbone: squeezenet1_0, shallownetv3, resnetv2_50, xception, or any timm name.
        pretrained: ``library`` (needs internet once), ``none``, a safetensors file, or a detector (folder or name) that has this
            backbone whole.
        size: side of the network's input in pixels.
        classifier: logistic, svc-linear, svc-rbf, forest or xgboost.
        grid: values to try instead of the classifier's own, such as ``C=0.01,0.1``.
        folds: parts of the cross-validation; fewer where a class has fewer groups.
        random_state: seed of random weights, folds and classifier.

    Attributes:
        classes_: the two classes in order; ``decision_function`` is positive for the second.
        best_params_: the parameters that were chosen.
        temperature_: what logits are divided by.
    """

    def __init__(
        self,
        backbone: str = "squeezenet1_0",
        pretrained: str = "library",
        size: int = 64,
        classifier: str = "logistic",
        grid: str = "",
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.backbone = backbone
        self.pretrained = pretrained
        self.size = size
        self.classifier = classifier
        self.grid = grid
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: Pictures, y: ArrayLike, groups: ArrayLike | None = None) -> FewShotDetector:
        """Learn from pictures with two classes; ``groups`` (N,): the person or video of each, else each is its own.

        Raises:
            ValueError: not two classes, fewer than two groups of one, or pictures of no known form.
        """
        pixels = self._pixels(X, fitting=True)
        given: NDArray[Any] = column_or_1d(y, warn=True)
        assert_all_finite(given, input_name="y")
        check_classification_targets(given)
        if len(given) != len(pixels):
            raise ValueError(f"{len(pixels)} pictures and {len(given)} labels")
        self.classes_, labels = np.unique(given, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"Only binary classification is supported: y has {len(self.classes_)} class(es), not two")
        codes = np.arange(len(given)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        folds = min(self.folds, *(len(np.unique(codes[labels == label])) for label in (0, 1)))
        if folds < 2:
            raise ValueError("each class needs at least two groups, to choose the classifier's parameters on")
        dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=self.random_state)
        dealt = list(dealer.split(pixels, labels, codes))
        if any(len(np.unique(labels[side])) < 2 for fold in dealt for side in fold):
            raise ValueError("a part of the cross-validation has one class only: give more groups, or fewer folds")
        start, _, own = read_start(self.pretrained)
        if own.get("backbone", self.backbone) != self.backbone:
            raise SettingsError(
                f"{self.pretrained} has the backbone {own['backbone']}, not {self.backbone}",
                hint=f"FewShotDetector(backbone='{own['backbone']}', size={own['size']}, pretrained='{self.pretrained}')",
            )
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            self.backbone_ = start_backbone(self.backbone, self.size, self.pretrained, start).eval()
        vectors = vectors_of(self.backbone_, pixels)
        search = Search(
            CLASSIFIERS[self.classifier], vectors, labels.astype(np.int8), dealt, self.random_state, standardise=True
        )
        grid = read_grid(self.grid, self.classifier)
        self.best_params_ = dict(best_of(search.run(grid, lambda _: None), "auroc").point)
        held_out = np.empty(len(given))
        for learned, held in dealt:
            held_out[held] = _logits(search.fit(self.best_params_, learned), vectors[held])
        self.temperature_ = fit_temperature(held_out, labels)
        self.head_ = search.fit(self.best_params_, np.arange(len(given)))
        return self

    def decision_function(self, X: Pictures) -> NDArray[np.float64]:
        """Calibrated logits (N,): positive where the second of ``classes_`` is the likelier."""
        check_is_fitted(self)
        return _logits(self.head_, vectors_of(self.backbone_, self._pixels(X))) / self.temperature_

    def predict_proba(self, X: Pictures) -> NDArray[np.float64]:
        """Probabilities (N, 2) of ``classes_``."""
        second = torch.from_numpy(self.decision_function(X)).sigmoid().numpy()
        return np.stack([1 - second, second], axis=1)

    def predict(self, X: Pictures) -> NDArray[Any]:
        """The likelier class of each picture (N,)."""
        second = self.decision_function(X) > 0
        likelier: NDArray[Any] = self.classes_[second.astype(int)]
        return likelier

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.two_d_array = False
        return tags

    def _pixels(self, X: Pictures, fitting: bool = False) -> NDArray[np.uint8]:
        """Pictures of any form as uint8 (N, size, size, 3)."""
        if isinstance(X, np.ndarray) and X.dtype != object and (X.ndim != 4 or X.dtype != np.uint8):
            raise ValueError(
                f"X is {X.shape} {X.dtype}: give uint8 (N, height, width, 3), or a list of pictures or paths"
            )
        if not len(X):
            raise ValueError("X holds no pictures")
        return np.stack([resize(_read(picture), self.size) for picture in X])


def _read(picture: Any) -> NDArray[np.uint8]:
    if isinstance(picture, str | Path):
        return decode(Path(picture).read_bytes())
    return as_pixels(picture)


@torch.no_grad()
def _logits(head: torch.nn.Module, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = head(torch.from_numpy(vectors)).double().numpy()
    return logits
