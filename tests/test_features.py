"""``features``: its torch heads are scikit-learn's and XGBoost's models, groups stay apart, features are computed once."""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from toy import OWN, TINY

import facetell
from facetell.errors import BundleError, DataError, MissingExtraError, SettingsError
from facetell.faceset.decoded import DecodedImages, decoded
from facetell.faceset.samples import Samples
from facetell.faceset.table import FaceSet
from facetell.files import sha256_of
from facetell.networks.backbones import build_backbone
from facetell.networks.classical import Forest
from facetell.networks.tensors import misfit, take_sizes
from facetell.progress import Step
from facetell.training import classifiers, vectors
from facetell.training.classifiers import CLASSIFIERS, balanced_weights, fit_head, read_grid
from facetell.training.fabric import make_fabric
from facetell.training.search import Candidate, best_of, folds_of
from facetell.training.vectors import keep_vectors, kept_vectors

SMALL = OWN["features"]
POINTS: dict[str, dict[str, Any]] = {
    "logistic": {"C": 0.1},
    "svc-linear": {"C": 0.01},
    "svc-rbf": {"C": 1.0, "gamma": 1.0},
    "forest": {"trees": 7, "depth": None, "leaf": 1},
    "xgboost": {"trees": 12, "depth": 4, "rate": 0.3, "columns": 0.5},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def blobs(n: int = 300, features: int = 12, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Overlapping classes, one feature that never varies, and far from zero: what standardising must survive."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(np.int8)
    x = rng.normal(size=(n, features)) * np.geomspace(0.1, 30, features) + 5
    x[:, :4] += 0.08 * labels[:, None]
    x[:, 5] = 3.0
    return x.astype(np.float32), labels


def keep_estimator(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let `fit_head` run as it is and hold on to the library's own model."""
    kept: list[Any] = []
    classifier = CLASSIFIERS[name]

    def tensors(estimator: Any) -> dict[str, torch.Tensor]:
        kept.append(estimator)
        return classifier.tensors(estimator)

    changed = classifiers.Classifier(
        classifier.grid, classifier.head, classifier.make, tensors, classifier.standardised
    )
    monkeypatch.setitem(CLASSIFIERS, name, changed)
    return kept


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("name", POINTS)
def test_the_torch_head_is_the_librarys_model(name: str, standardise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "xgboost":
        pytest.importorskip("xgboost")
    kept = keep_estimator(name, monkeypatch)
    x, labels = blobs()
    head = fit_head(CLASSIFIERS[name], x, labels, POINTS[name], 0, standardise)
    [estimator] = kept
    unseen, _ = blobs(500, seed=1)
    unseen[:300] = x  # values on which thresholds were chosen
    found = head(torch.from_numpy(unseen)).numpy()
    assert found.shape == (500,)
    assert found.dtype == np.float32
    if name in ("logistic", "svc-linear", "svc-rbf"):
        mean, sd = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        z = (unseen - mean) / np.where(sd == 0, 1, sd) if standardise else unseen.astype(np.float64)
        np.testing.assert_allclose(found, estimator.decision_function(z), rtol=1e-6, atol=1e-6)
    elif name == "forest":
        p, trees = estimator.predict_proba(unseen)[:, 1], len(estimator.estimators_)
        np.testing.assert_allclose(head.leaves(torch.from_numpy(unseen)).mean(1), p, atol=1e-12)
        np.testing.assert_allclose(found, np.log((p * trees + 0.5) / ((1 - p) * trees + 0.5)), rtol=1e-6, atol=1e-6)
        assert np.isfinite(found).all()
        assert {0.0, 1.0} <= set(p)
    else:
        np.testing.assert_allclose(found, estimator.predict(unseen, output_margin=True), rtol=1e-5, atol=1e-5)


def test_trees_decide_on_the_threshold_itself_as_scikit_learn_does() -> None:
    """Midpoints of neighbouring float32 lie between floats: rounding a threshold up would send one image elsewhere."""
    low = np.float32(8)
    x = np.array([[low], [np.nextafter(low, np.float32(9))]] * 20, dtype=np.float32)
    labels = np.array([0, 1] * 20, dtype=np.int8)
    head = fit_head(CLASSIFIERS["forest"], x, labels, {"trees": 5, "depth": None, "leaf": 1}, 0, True)
    assert (head(torch.from_numpy(x)).numpy() > 0).tolist() == labels.astype(bool).tolist()


def test_both_classes_weigh_the_same() -> None:
    labels = np.array([0, 0, 0, 1], dtype=np.int8)
    np.testing.assert_allclose(balanced_weights(labels), [2 / 3, 2 / 3, 2 / 3, 2])


@pytest.mark.slow
def test_saved_detectors_need_neither_scikit_learn_nor_xgboost(faces: FaceSet, tmp_path: Path) -> None:
    for name, grid in (("logistic", "C=1"), ("svc-rbf", "C=1"), ("forest", "trees=5;depth=3")):
        facetell.fit("features", faces.path, tmp_path / name, settings={**SMALL, "classifier": name, "grid": grid})
    script = (
        "import sys, facetell\n"
        "sys.modules.update(sklearn=None, xgboost=None, onnx=None)\n"  # importing them fails
        "for path in sys.argv[1:]: facetell.verify(path)\n"
    )
    paths = [str(tmp_path / name) for name in ("logistic", "svc-rbf", "forest")]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_has_a_line_per_candidate_and_the_best_is_chosen(faces: FaceSet, tmp_path: Path) -> None:
    steps: list[Step] = []
    facetell.fit(
        "features", faces.path, tmp_path / "d", settings={**SMALL, "grid": "C=1e-9,0.01,1"}, progress=steps.append
    )
    with (tmp_path / "d" / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["C"]) for row in rows] == [1e-9, 0.01, 1.0]
    values = [float(row["f1"]) for row in rows]
    assert [row["chosen"] for row in rows] == ["1" if i == int(np.argmax(values)) else "0" for i in range(3)]
    assert {"features", "choosing"} <= {step.what for step in steps}
    assert [(step.done, step.total) for step in steps if step.what == "choosing"] == [(i + 1, 15) for i in range(15)]


def test_selection_by_f1_or_auroc_takes_the_first_of_equals() -> None:
    one, two, three = (
        Candidate({"C": c}, f1, 0.0, area, 0.0, 0.0) for c, f1, area in ((1, 0.5, 0.7), (2, 0.5, 0.9), (3, 0.4, 0.9))
    )
    assert best_of([one, two, three], "f1") is one
    assert best_of([one, two, three], "auroc") is two


def test_groups_never_cross_a_fold() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 400)
    labels = (rng.random(400) < 0.3).astype(np.int8)
    samples = Samples(None, np.arange(400), labels, groups)  # type: ignore[arg-type]
    held_out = []
    for learned, held in folds_of(samples, 5, 3):
        assert not set(groups[learned]) & set(groups[held])
        assert set(labels[held]) == {0, 1}
        held_out.append(held)
    assert sorted(np.concatenate(held_out)) == list(range(400))
    again = folds_of(samples, 5, 3)
    assert all(np.array_equal(a, b[1]) for a, b in zip(held_out, again, strict=True))


def test_too_few_groups_and_one_class_are_said(faces: FaceSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5-fold cross-validation needs 5 groups of each label; there are 3 real"):
        facetell.fit("features", faces.path, tmp_path / "d", settings=SMALL, shots=3)
    labels = np.array([0] * 9 + [1], dtype=np.int8)
    samples = Samples(None, np.arange(10), labels, np.arange(10))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 fake"):
        folds_of(samples, 2, 0)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("logistic", "c=1", "logistic has no parameter 'c'"),
        ("forest", "tres=1", "did you mean 'trees'"),
        ("logistic", "C=much", "'much' is not a positive number"),
        ("logistic", "C=0", "'0' is not a positive number"),
        ("logistic", "C=nan", "'nan' is not a positive number"),
        ("logistic", "C=none", "not a positive number"),
        ("forest", "trees=1.5", "not a positive whole number"),
        ("forest", "C=1", "forest has no parameter 'C'"),
    ],
)
def test_a_wrong_grid_is_said(name: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_grid(text, name)


def test_a_grid_replaces_what_it_names() -> None:
    grid = read_grid("trees=50; depth=4,none", "forest")
    assert grid == {"trees": (50,), "depth": (4, None), "leaf": (1, 5)}
    assert read_grid("", "logistic") == CLASSIFIERS["logistic"].grid


def test_a_missing_library_is_said(faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(MissingExtraError, match="xgboost"):
        facetell.fit("features", faces.path, tmp_path / "d", settings={**SMALL, "classifier": "xgboost", "grid": ""})
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(MissingExtraError, match="learn"):
        facetell.fit("features", faces.path, tmp_path / "d", settings=SMALL)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each extraction computed."""
    calls: list[int] = []
    compute = vectors._compute

    def count(backbone: Any, images: DecodedImages, rows: Any, *rest: Any) -> Any:
        calls.append(len(rows))
        return compute(backbone, images, rows, *rest)

    monkeypatch.setattr(vectors, "_compute", count)
    return calls


@pytest.mark.slow
def test_features_are_computed_once(faces: FaceSet, tmp_path: Path, counted: list[int]) -> None:
    for name in ("logistic", "svc-linear", "svc-rbf"):
        facetell.fit("features", faces.path, tmp_path / name, settings={**SMALL, "classifier": name, "grid": "C=1"})
    assert counted == [48, 20]  # training and validation, for all three
    facetell.fit("features", faces.path, tmp_path / "seed", settings=SMALL, seed=1)
    assert counted == [48, 20, 48, 20]  # the seed draws a random backbone: other weights, other features


def test_an_interrupted_fit_goes_on_from_its_features(faces: FaceSet, tmp_path: Path, counted: list[int]) -> None:
    def stop(step: Step) -> None:
        if step.what == "choosing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facetell.fit("features", faces.path, tmp_path / "cut", settings=SMALL, progress=stop)
    assert not (tmp_path / "cut").exists()
    resumed = facetell.fit("features", faces.path, tmp_path / "cut", settings=SMALL, resume=True)
    assert counted == [48, 20]
    whole = facetell.fit("features", faces.path, tmp_path / "whole", settings=SMALL)
    for name, tensor in whole.runtime.network.state_dict().items():
        assert torch.equal(tensor, resumed.runtime.network.state_dict()[name]), name


def test_the_cache_knows_pictures_rows_weights_and_precision(faces: FaceSet, counted: list[int]) -> None:
    torch.manual_seed(0)
    backbone = build_backbone("squeezenet1_1", 32).eval()
    fabric = make_fabric("32-true")

    def extract(split: str, rows: list[int], fabric: Any = fabric) -> NDArray[np.float32]:
        some = np.array(rows)
        samples = Samples(decoded(faces, split, 32), some, faces.labels(split)[some], some)
        return vectors.extract(backbone, samples, fabric)

    first = extract("train", [4, 1, 7])
    np.testing.assert_array_equal(extract("train", [7, 4, 1]), first[[2, 0, 1]])
    np.testing.assert_array_equal(extract("train", [1, 4, 7, 1]), first[[1, 0, 2, 1]])
    assert len(counted) == 1
    extract("train", [1, 4, 8])
    extract("test", [1, 4, 7])
    extract("train", [1, 4, 7], make_fabric("bf16-mixed"))
    with torch.no_grad():
        next(backbone.parameters()).add_(1.0)
    assert not np.allclose(extract("train", [4, 1, 7]), first)
    assert len(counted) == 5


def test_damaged_vectors_are_made_again(own_cache: Path) -> None:
    values = np.ones((3, 2), dtype=np.float32)
    keep_vectors("key", values)
    np.testing.assert_array_equal(kept_vectors("key", 3), values)
    assert [path.name for path in own_cache.iterdir()] == ["vectors-key.npy"]
    assert kept_vectors("key", 4) is None
    file = own_cache / "vectors-key.npy"
    for content in (file.read_bytes()[:-4], b"", b"\x80\x04."):
        file.write_bytes(content)
        assert kept_vectors("key", 3) is None


def test_a_detectors_backbone_is_an_extractor(faces: FaceSet, tmp_path: Path) -> None:
    base = facetell.fit("finetune", faces.path, tmp_path / "base", settings={**TINY, "epochs": 1})
    settings = {"pretrained": str(tmp_path / "base"), "grid": "C=1"}
    detector = facetell.fit("features", faces.path, tmp_path / "d", settings=settings)
    assert detector.size == 32
    for name, tensor in base.runtime.network.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(detector.runtime.network.state_dict()[name], tensor), name


@pytest.mark.parametrize("name", ["convnext_atto", "deit_tiny_patch16_224", "inception_v4"])
def test_the_vector_is_what_the_librarys_classifier_sees(name: str) -> None:
    size = 96 if name == "inception_v4" else 64
    backbone = build_backbone(name, size).eval()
    images = torch.rand(2, 3, size, size)
    seen: list[torch.Tensor] = []
    model: Any = backbone.body.model
    model.reset_classifier(7)
    getattr(model, "get_classifier")().register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))  # noqa: B009
    with torch.no_grad():
        model.eval()((images - backbone.mean) / backbone.std)
        found = backbone.vector(images)
    torch.testing.assert_close(found, seen[0].flatten(1))
    assert found.shape == (2, backbone.vector_length(size))


def replace(bundle: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change tensors and make the hashes agree again, as somebody who knows the format could."""
    tensors = load_file(bundle / "weights.safetensors")
    change(tensors)
    save_file(tensors, bundle / "weights.safetensors")
    description = json.loads((bundle / "detector.json").read_text())
    size, digest = (bundle / "weights.safetensors").stat().st_size, sha256_of(bundle / "weights.safetensors")
    description["files"]["weights.safetensors"] = {"bytes": size, "sha256": digest}
    description["calibration"]["weights"] = digest
    (bundle / "detector.json").write_text(json.dumps(description))


def test_foreign_trees_are_refused(faces: FaceSet, tmp_path: Path) -> None:
    settings = {**SMALL, "classifier": "forest", "grid": "trees=3;depth=3;leaf=1"}
    facetell.fit("features", faces.path, tmp_path / "d", settings=settings)
    whole = (tmp_path / "d" / "weights.safetensors").read_bytes()
    wrong: list[tuple[Callable[[dict[str, torch.Tensor]], object], str]] = [
        (lambda t: t["head.branches"].__setitem__((0, 0), 10**6), "points to what is not there"),
        (lambda t: t["head.feature"].__setitem__(0, 10**6), "points to what is not there"),
        (lambda t: t["head.roots"].__setitem__(0, -1), "points to what is not there"),
        (lambda t: t["head.branches"].__setitem__((1, 0), 0), "leads back"),
        (lambda t: t.update({"head.branches": t["head.branches"].float()}), "points to what is not there"),
        (lambda t: t.update({"head.feature": t["head.feature"][1:].clone()}), "head.feature is"),
        (lambda t: t.pop("head.roots"), "head.roots is missing"),
        (lambda t: t.update({"head.odd": torch.zeros(1)}), "head.odd is unknown"),
    ]
    for change, message in wrong:
        (tmp_path / "d" / "weights.safetensors").write_bytes(whole)
        replace(tmp_path / "d", change)
        with pytest.raises(BundleError, match=message):
            facetell.Detector.load(tmp_path / "d", "cpu", runtime="torch")


def test_an_empty_head_takes_its_size_from_the_tensors() -> None:
    head = Forest(4)
    stump = {
        "feature": torch.tensor([2, 0, 0]),
        "threshold": torch.tensor([0.5, 0.0, 0.0]),
        "branches": torch.tensor([[1, 2], [1, 1], [2, 2]]),
        "value": torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64),
        "roots": torch.tensor([0]),
    }
    assert misfit(head, stump) is not None
    take_sizes(head, stump)
    assert misfit(head, stump) is None
    head.load_state_dict(stump)
    x = torch.tensor([[9.0, 9, 0.5, 9], [0, 0, 0.6, 0]])
    np.testing.assert_allclose(head(x), np.log([(0.25 + 0.5) / (0.75 + 0.5), 1.5 / 0.5]), rtol=1e-6)


@pytest.mark.slow
def test_evaluating_a_second_classifier_extracts_nothing(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve models on three extractors cost three extractions of the test split, and the logits are the network's."""
    start = tmp_path / "start"
    facetell.fit("finetune", faces.path, start, settings={**TINY, "epochs": 1})
    counted = []
    compute = vectors._compute
    monkeypatch.setattr(vectors, "_compute", lambda *a: counted.append(len(a[2])) or compute(*a))
    for grid in ("C=1", "C=0.1"):
        out = tmp_path / grid
        facetell.fit("features", faces.path, out, settings={"pretrained": str(start), "size": 32, "grid": grid})
        facetell.evaluate(out, faces.path, tmp_path / f"report {grid}", device="cpu", runtime="torch")
        table = facetell.evaluation.predictions.read_predictions(tmp_path / f"report {grid}" / "predictions.parquet")
        with contextlib.closing(decoded(faces, "test", 32)) as images:
            pixels = images.gather(np.arange(len(images)))
        np.testing.assert_allclose(table["logit"], facetell.Detector.load(out, "cpu").logits(pixels), 1e-4, 1e-4)
    assert sorted(counted) == sorted([48, 20, 24])  # train, validation and test, once each
