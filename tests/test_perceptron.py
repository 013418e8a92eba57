"""The method ``depth`` and its perceptron: against scikit-learn, by hand, and what its views are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from toy import tiny

import facetell
from facetell.faceset.table import FaceSet
from facetell.methods.building import arrays_of, network_of
from facetell.networks.backbones import build_backbone
from facetell.networks.depth import DepthStatistics
from facetell.networks.mixture import AtSize, MixtureOfExperts
from facetell.networks.perceptron import DepthClassifier, Perceptron
from facetell.progress import silent
from facetell.training.degraded import degraded
from facetell.training.fabric import make_fabric
from facetell.training.onnx_reader import OnnxReader
from facetell.training.perceptron import PerceptronPlan, row_weights, train_perceptron


def test_rows_are_drawn_as_often_as_the_sources_say() -> None:
    """Real: one source of 4. Fake: sources of 9 and 1; with a share of ½ they weigh 3 to 1, with 0 the same."""
    labels, sources = np.array([0] * 4 + [1] * 10), np.array([0] * 4 + [1] * 9 + [2])
    for share, large in ((1.0, 0.9), (0.5, 0.75), (0.0, 0.5)):
        weights = row_weights(labels, sources, share)
        np.testing.assert_allclose(weights[:4], 0.125)
        np.testing.assert_allclose(weights[4:13], large / 2 / 9)
        np.testing.assert_allclose(weights[13], (1 - large) / 2)
    np.testing.assert_allclose(row_weights(labels, None, 0.0)[4:], 0.05)


def test_kinds_weigh_as_the_root_of_their_number() -> None:
    """Of 10 fakes, 9 are of one kind and 1 of another: 3 to 1."""
    labels, kinds = np.array([0] * 4 + [1] * 10), np.array([0] * 4 + [0] * 9 + [1])
    weights = row_weights(labels, None, 1.0, kinds)
    np.testing.assert_allclose(weights, [0.125] * 4 + [0.5 * 0.75 / 9] * 9 + [0.5 * 0.25])


def test_a_kind_is_named_by_the_beginnings_of_its_sources(faces: FaceSet, tmp_path: Path) -> None:
    """The toy's fakes are of the sources board and grid."""
    settings = tiny("depth", views=1, epochs=2)
    detector = facetell.fit(
        "depth", faces.path, tmp_path / "kinds", settings={**settings, "kinds": "chess=board;lines=grid,raster"}
    )
    assert detector.runtime.network.head.dense.weight.shape == (2, 16)
    for kinds, said in (("a=board", "'grid' is of 0 kinds"), ("a=b,gr;b=g", "'grid' is of 2 kinds"), ("a", "no kind")):
        with pytest.raises(facetell.errors.SettingsError, match=said):
            facetell.fit(
                "depth", faces.path, tmp_path / "no", settings={**settings, "kinds": kinds + ";c=zz" * ("=" in kinds)}
            )


def two_rings(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 6) whose first two numbers lie on one of two rings, which no plane parts; the others say nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.int8)
    angle, radius = rng.uniform(0, 2 * np.pi, n), 1 + labels + rng.normal(0, 0.25, n)
    rings = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return np.concatenate([rings, rng.normal(0, 1, (n, 4))], axis=1).astype(np.float32) * 100 + 5000, labels


@pytest.mark.fits
def test_it_learns_what_scikit_learns_network_of_that_shape_learns() -> None:
    (vectors, labels), (held, truth), (test, answers) = (two_rings(n, seed) for seed, n in enumerate((2000, 500, 1000)))
    torch.manual_seed(0)
    head = Perceptron(6, 64, 0.0)
    plan = PerceptronPlan(30, 32, 2e-3, 1e-3, seed=0)
    fabric = make_fabric("32-true", "cpu")
    table = train_perceptron(
        head,
        [vectors],
        labels,
        np.zeros(len(labels), np.int64),
        row_weights(labels, None, 1.0),
        (held, truth),
        plan,
        fabric,
        silent,
    )
    assert len(table) == 30
    scaled = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    theirs = MLPClassifier((64, 32), max_iter=400, random_state=0).fit(scaled, labels)
    area = roc_auc_score(answers, theirs.predict_proba((test - vectors.mean(axis=0)) / vectors.std(axis=0))[:, 1])
    with torch.no_grad():
        mine = head.eval()(torch.from_numpy(test)).numpy()
        chosen = head(torch.from_numpy(held)).numpy()
    assert area > 0.9
    assert roc_auc_score(answers, mine) > area - 0.02
    assert roc_auc_score(truth, chosen) == pytest.approx(max(row.validation_auroc for row in table), abs=1e-6)


def test_its_forward_pass_by_hand() -> None:
    head = Perceptron(3, 4, 0.5, kinds=2).eval()
    head.centre.copy_(torch.tensor([1.0, 2.0, 3.0]))
    head.spread.copy_(torch.tensor([2.0, 1.0, 0.1]))
    x = np.array([[2.0, 1.0, 4.0]])
    z: np.ndarray = np.clip((x - [1, 2, 3]) / [2, 1, 0.1], -5, 5)
    layers = [
        (m.weight.detach().double().numpy(), m.bias.detach().double().numpy())
        for m in head.hidden
        if hasattr(m, "weight")
    ]
    for weight, bias in layers:
        z = z @ weight.T + bias
        z = z * torch.distributions.Normal(0, 1).cdf(torch.from_numpy(z)).numpy()  # GELU: x · Φ(x)
    of_kinds = z @ head.dense.weight.detach().double().numpy().T + head.dense.bias.detach().double().numpy()
    expected = np.log(np.exp(of_kinds).sum(axis=1))
    with torch.no_grad():
        np.testing.assert_allclose(head(torch.from_numpy(x.astype(np.float32))).numpy(), expected, rtol=1e-4)


def test_a_view_is_smaller_compressed_and_perhaps_mirrored() -> None:
    """It keeps what is coarse and loses what is fine; about half of them are mirrored."""
    rng = np.random.default_rng(0)
    coarse = np.asarray(
        Image.fromarray(rng.integers(40, 220, (4, 4, 3), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    )
    crops = np.clip(coarse.astype(int) + rng.normal(0, 12, (40, 64, 64, 3)), 0, 255).astype(np.uint8)
    found = np.stack([degraded(crop, np.random.default_rng([3, row])) for row, crop in enumerate(crops)])
    assert (found.shape, found.dtype) == (crops.shape, np.uint8)
    straight = np.abs(found.astype(int) - coarse).mean(axis=(1, 2, 3))
    mirrored = np.abs(found[:, :, ::-1].astype(int) - coarse).mean(axis=(1, 2, 3))
    assert np.minimum(straight, mirrored).max() < 12 < np.maximum(straight, mirrored).min()
    assert 10 <= (mirrored < straight).sum() <= 30
    np.testing.assert_array_equal(found[1], degraded(crops[1], np.random.default_rng([3, 1])))


@pytest.mark.fits
def test_views_are_read_once(faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second fit, of another width, finds all views in the cache; the detector judges as its first one."""
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    first = facetell.fit("depth", faces.path, tmp_path / "one", settings=tiny("depth", views=2), seed=1)
    kept = sorted((tmp_path / "cache").glob("vectors-*.npy"))
    facetell.fit("depth", faces.path, tmp_path / "two", settings=tiny("depth", views=2, width=16), seed=1)
    assert sorted((tmp_path / "cache").glob("vectors-*.npy")) == kept
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        facetell.Detector.load(tmp_path / "one", "cpu").logits(images), first.logits(images), rtol=1e-3, atol=1e-4
    )


def test_an_expert_shares_the_backbone() -> None:
    """A mixture around a detector of this method has one backbone, and judges as head and expert do on its numbers."""
    torch.manual_seed(0)
    network = DepthClassifier(DepthStatistics(build_backbone("squeezenet1_1", 32), 32), 8, 0.0).eval()
    old = sum(parameter.numel() for parameter in network.parameters())
    mixture = MixtureOfExperts.beside(AtSize(network, 32), None)
    expert = mixture.experts[0]
    assert sum(parameter.numel() for parameter in mixture.parameters()) - old == 2 * (network.statistics.length + 1)
    for probe in (expert.head, expert.gate):
        torch.nn.init.normal_(probe.dense.weight, std=0.01)
    settings = {"backbone": "squeezenet1_1", "size": 32, "width": 8, "pretrained": "none"}
    given = {"backbone": "squeezenet1_1", "size": 32, "shared": True, "old_method": "depth"}
    again = network_of(
        {"method": "experts", "settings": {**given, "old_settings": json.dumps(settings)}}, arrays_of(mixture)
    ).eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        vectors = network.statistics(images)
        part = torch.sigmoid(expert.gate(vectors))
        expected = (1 - part) * network(images) + part * expert.head(vectors)
        torch.testing.assert_close(mixture(images), expected)
        torch.testing.assert_close(again(images), expected)
    with pytest.raises(facetell.errors.SettingsError, match="shares its backbone"):
        network_of(
            {"method": "experts", "settings": {**given, "old_method": "finetune", "old_settings": '{"size": 32}'}}, {}
        )


@pytest.mark.slow
def test_onnx_runtime_reads_what_torch_reads() -> None:
    torch.manual_seed(0)
    statistics = DepthStatistics(build_backbone("tf_efficientnet_lite2", 64), 64)
    images = torch.rand(5, 3, 64, 64)
    with torch.no_grad():
        np.testing.assert_allclose(OnnxReader(statistics, 64)(images), statistics(images).numpy(), rtol=1e-3, atol=1e-4)
