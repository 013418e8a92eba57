"""The estimator keeps scikit-learn's contract, and learns."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from facetell.errors import SettingsError, UsageError
from facetell.sklearn import FewShotDetector

FORM = {"backbone": "shallownetv3", "pretrained": "none", "size": 32, "grid": "C=1"}


def pictures(n: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bright against dark pictures, two of a group, and words for classes."""
    rng = np.random.default_rng(0)
    y = np.arange(n) // 2 % 2
    x = rng.integers(0, 160, (n, 20, 20, 3)) + 90 * y[:, None, None, None]
    return x.astype(np.uint8), np.array(["real", "fake"])[y], np.arange(n) // 2


class OnTables(FewShotDetector):
    """A table (N, D) drawn as pictures, so that scikit-learn's own checks, which know tables alone, can run."""

    def _pixels(self, X, fitting=False):
        X = validate_data(self, X, reset=fitting, dtype=float)
        shown = (255 / (1 + np.exp(-X / 3))).astype(np.uint8)
        return super()._pixels(
            np.repeat(np.resize(shown, (len(X), 1, X.shape[1]))[..., None].repeat(8, axis=1), 3, axis=3)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@pytest.mark.slow
def test_scikit_learns_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract is that of the estimator: a row of pixels stands for the network's vector, which is slow to compute."""
    monkeypatch.setattr(
        "facetell.sklearn.vectors_of", lambda _, pixels: pixels[:, 9].reshape(len(pixels), -1) / np.float32(255)
    )
    found = check_estimator(OnTables(**FORM), on_skip=None, on_fail=None)
    failed = {each["check_name"]: str(each["exception"])[:200] for each in found if each["status"] == "failed"}
    assert not failed, failed
    assert sum(each["status"] == "passed" for each in found) > 40


@pytest.mark.slow
def test_it_learns_and_groups_stay_apart() -> None:
    x, y, groups = pictures()
    estimator = FewShotDetector(**FORM)
    assert cross_val_score(estimator, x, y, groups=groups, cv=GroupKFold(3)).mean() > 0.9
    fitted = estimator.fit(x, y, groups)
    assert fitted.classes_.tolist() == ["fake", "real"]
    proba = fitted.predict_proba(x)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (fitted.predict(x) == fitted.classes_[proba.argmax(axis=1)]).all()
    assert ((fitted.decision_function(x) > 0) == (fitted.predict(x) == "real")).all()
    again = clone(estimator).fit(x, y, groups)
    np.testing.assert_array_equal(again.predict_proba(x), proba)


def test_forms_of_pictures(tmp_path: Path) -> None:
    x, y, _ = pictures(8)
    images = [Image.fromarray(each) for each in x]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    fitted = FewShotDetector(**FORM, folds=2).fit(x, y)
    expected = fitted.decision_function(x)
    for form in (
        images,
        list(x),
        [tmp_path / f"{n}.png" for n in range(8)],
        [str(tmp_path / f"{n}.png") for n in range(8)],
    ):
        np.testing.assert_array_equal(fitted.decision_function(form), expected)


@pytest.mark.slow
def test_parameters_are_searched() -> None:
    x, y, _ = pictures(12)
    search = GridSearchCV(FewShotDetector(**FORM, folds=2), {"classifier": ["logistic", "svc-linear"]}, cv=2).fit(x, y)
    assert search.best_params_["classifier"] in ("logistic", "svc-linear")
    assert set(inspect.signature(FewShotDetector).parameters) == set(FewShotDetector().get_params())


def test_what_it_refuses() -> None:
    x, y, _ = pictures(8)
    estimator = FewShotDetector(**FORM)
    with pytest.raises(NotFittedError):
        estimator.predict(x)
    with pytest.raises(ValueError, match="uint8"):
        estimator.fit(x.reshape(8, -1), y)
    with pytest.raises(ValueError, match="not two"):
        estimator.fit(x, np.zeros(8))
    with pytest.raises(ValueError, match="two groups"):
        estimator.fit(x, y, (y == "real").astype(int))
    with pytest.raises(ValueError, match="no pictures"):
        estimator.fit([], [])


def test_it_begins_with_the_backbone_of_a_detector(fitted: Path) -> None:
    """Of one whose backbone is another or cut short it says what to do."""
    x, y, _ = pictures(8)
    with pytest.raises(SettingsError, match="has the backbone") as error:
        FewShotDetector(pretrained=str(fitted)).fit(x, y)
    told = eval(str(error.value.hint), {"FewShotDetector": FewShotDetector})
    assert told.set_params(grid="C=1", folds=2).fit(x, y).predict(x).shape == (8,)
    with pytest.raises(UsageError, match="no whole backbone") as error:
        FewShotDetector(pretrained="starter").fit(x, y)
    assert "facetell adapt starter --fake" in str(error.value.hint)
