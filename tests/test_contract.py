"""What every method must do, run over every method in the table: a new one is picked up by being listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import COUNTS, UNTRAINED, tiny, toy_faceset, toy_picture

import facetell
from facetell.errors import DataError, FacetellError, UsageError
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare
from facetell.methods import METHODS
from facetell.progress import Step


def assert_same(first: facetell.Detector, second: facetell.Detector) -> None:
    ours, theirs = first.runtime.network.state_dict(), second.runtime.network.state_dict()
    for (name, a), b in zip(ours.items(), theirs.values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.fits
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(method: str, faces: FaceSet, tmp_path: Path) -> None:
    """`fdftnet` gave 1.000 with four seeds, one thread and two, on a processor with AVX2; of six epochs one seed in four .74.

    `depth`, which teaches a head alone, needs more epochs, and they are cheap.
    """
    epochs = 14 if method == "depth" else 10
    settings = tiny(method, epochs=epochs, lr=2e-3, zoom=0, rotate=0, translate=0)  # resampling erases the board
    detector = facetell.fit(method, faces.path, tmp_path / "detector", settings=settings, seed=3)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    loaded = facetell.Detector.load(tmp_path / "detector", "cpu")
    np.testing.assert_allclose(loaded.logits(images), detector.logits(images), rtol=1e-3, atol=1e-3)
    report = facetell.evaluate(detector, faces.path, tmp_path / "report")
    assert report.metrics["auroc"].value > 0.9
    assert report.counts == {"n": 2 * COUNTS["test"], "n_real": 12, "n_fake": 12, "groups": 12}
    assert {row["source"] for row in report.sources} == {"camera", "board", "grid"}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides(method: str, faces: FaceSet, tmp_path: Path) -> None:
    first, second = (
        facetell.fit(method, faces.path, tmp_path / name, settings=tiny(method, epochs=2, pair_epochs=1), seed=3)
        for name in ("one", "two")
    )
    assert_same(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_one_logit_per_image_whatever_the_batch(method: str, brief: Callable[[str], Path]) -> None:
    detector = facetell.Detector.load(brief(method), "cpu")
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    together = detector.logits(images)
    assert together.shape == (5,)
    alone = np.concatenate([detector.logits(image[None]) for image in images])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_another_size_is_refused(method: str, brief: Callable[[str], Path]) -> None:
    detector = facetell.Detector.load(brief(method), "cpu")
    for shape in ((2, 48, 48, 3), (2, 32, 32), (32, 32, 3), (2, 3, 32, 32)):
        with pytest.raises(UsageError, match="32"):
            detector.logits(np.zeros(shape, dtype=np.uint8))
    with pytest.raises(UsageError, match="uint8"):
        detector.logits(np.zeros((2, 32, 32, 3), dtype=np.float32))  # type: ignore[arg-type]
    assert detector.logits(np.zeros((0, 32, 32, 3), dtype=np.uint8)).shape == (0,)


def lopsided(folder: Path, reals: int) -> FaceSet:
    """Six fakes and ``reals`` reals to train on; two of each to validate on."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", {"real": reals, "fake": 6}), ("validation", {"real": 2, "fake": 2})):
        for label, count in counts.items():
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                toy_picture(rng, label == "fake").save(folder / split / label / f"{i}.png")
    return prepare(folder, folder.with_name("faces"), subfolders="group")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_single_real_face_is_learned_from_or_refused_in_words(method: str, tmp_path: Path) -> None:
    one = lopsided(tmp_path / "pictures", 1)
    refusal = None
    try:
        detector = facetell.fit(
            method, one.path, tmp_path / "detector", settings=tiny(method, epochs=1, backbone="squeezenet1_1")
        )
        assert np.isfinite(detector.logits(np.zeros((3, 32, 32, 3), dtype=np.uint8))).all()
    except FacetellError as error:
        refusal = error
    assert refusal is None or ("real" in refusal.message and refusal.hint)


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_class_is_refused(
    method: str, faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaceSet, "labels", lambda self, split=None: np.ones(len(self.rows(split)), dtype=np.int8))
    with pytest.raises(DataError, match="both real and fake|real and two fake"):
        facetell.fit(method, faces.path, tmp_path / "detector", settings=tiny(method, backbone="squeezenet1_1"))
    assert not (tmp_path / "detector").exists()


class _StopError(Exception):
    pass


TRAINED = [method for method in METHODS if method not in UNTRAINED]


@pytest.mark.slow
@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize(
    "settings", [{"averaging": 0.9}, {"averaging": 0.0, "optimizer": "sgd", "select": "loss", "dropout": 0.2}]
)
def test_resume_ends_with_the_same_weights(
    method: str, settings: dict[str, object], faces: FaceSet, tmp_path: Path
) -> None:
    settings = tiny(method, epochs=3, backbone="squeezenet1_1", **settings)
    whole = facetell.fit(method, faces.path, tmp_path / "whole", settings=settings, seed=1)

    def stop(step: Step) -> None:
        if step.what == "epoch" and step.done == 2:
            raise _StopError

    cut = tmp_path / "cut"
    with pytest.raises(_StopError):
        facetell.fit(method, faces.path, cut, settings=settings, seed=1, progress=stop)
    assert not cut.exists()
    with pytest.raises(UsageError, match="interrupted fit"):
        facetell.fit(method, faces.path, cut, settings=settings, seed=1)
    with pytest.raises(DataError, match="other settings"):
        facetell.fit(method, faces.path, cut, settings={**settings, "lr": 0.5}, seed=1, resume=True)
    with pytest.raises(DataError, match="another seed"):
        facetell.fit(method, faces.path, cut, settings=settings, seed=2, resume=True)
    with pytest.raises(DataError, match="other faces"):  # as many of them
        facetell.fit(method, toy_faceset(tmp_path / "other", seed=9), cut, settings=settings, seed=1, resume=True)
    begun = {name: value for name, value in settings.items() if name != "backbone"} | {
        "pretrained": str(tmp_path / "whole")
    }
    with pytest.raises(DataError, match="other faces or starting weights"):
        facetell.fit(method, faces, cut, settings=begun, seed=1, resume=True)
    resumed = facetell.fit(method, faces.path, cut, settings=settings, seed=1, resume=True)
    assert_same(whole, resumed)
    assert whole.calibration is not None
    assert resumed.calibration is not None
    assert whole.calibration.as_dict() == resumed.calibration.as_dict()
    assert not cut.with_name("cut.partial").exists()
    for name in ("metrics.json", "weights.safetensors", "selftest.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (cut / name).read_bytes()
