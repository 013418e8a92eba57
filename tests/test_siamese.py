"""The two-phase CFFN: counts of both layouts, triplets against slow loops, both phases, resume, collapse."""

from __future__ import annotations

import csv
import itertools
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Shared
from keras_count import keras_count
from torch import nn
from toy import OWN, tiny, toy_source

import facetell
from facetell.errors import DataError, SettingsError
from facetell.evaluation.embedding_quality import nearness, plane, spread
from facetell.evaluation.metrics import auroc
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare
from facetell.methods import get_method
from facetell.methods.siamese import SiameseSettings
from facetell.networks.backbones import build_backbone
from facetell.networks.cffn import CFFN, LAYOUTS, Layout
from facetell.networks.embedding import Embedding, SiameseNet
from facetell.progress import Step
from facetell.training.augment import jitter
from facetell.training.batches import balanced_order
from facetell.training.siamese_phases import PhaseResult, learning_rate
from facetell.training.triplets import squared_distances, triplet_loss

# Networks


@pytest.mark.parametrize(
    ("name", "total", "embedding", "head"),
    [
        ("cffn", 33_990_920, 512 * 128 + 128, 1_024 + 9_218 + 6),  # trainable parameters of Salpekar's code at 64×64
        ("cffn_icip", 6_900_744, 9 * 256 * 128 + 128, 512 + 4_610 + 6),  # of Hsu, Zhuang and Lee's layout at 64×64
    ],
)
def test_golden_counts(name: str, total: int, embedding: int, head: int) -> None:
    network = SiameseNet(build_backbone(name, 64), 64)
    assert keras_count(network)[1] == total
    assert keras_count(network.embedding)[1] == embedding
    assert keras_count(network.head)[1] == head
    assert keras_count(network.backbone.body.stem)[1] == 7 * 7 * 3 * 64 + 64
    by_hand = 0
    for kernel, (channels, units) in itertools.product((3, 5), [LAYOUTS[name]]):
        for stage, count in enumerate(units):
            c = channels[stage]
            out = channels[min(stage + 1, len(channels) - 1)]
            by_hand += (count - 1) * (2 * (kernel**2 * c * c + c) + 4 * c)
            by_hand += (kernel**2 * c * c + c) + (kernel**2 * c * out + out) + 4 * c
    assert keras_count(network.backbone)[1] == by_hand + 9_472 == total - embedding - head


@pytest.mark.slow
def test_the_maps_shrink_as_in_the_paper() -> None:
    body = CFFN(LAYOUTS["cffn"]).eval()
    x, sides = body.stem(torch.zeros(1, 3, 64, 64)), []
    for unit in body.streams[0]:
        x = unit(x)
        sides.append((x.shape[1], x.shape[2]))
    assert len(sides) == 15  # "15 separate residual units", section 5.1
    assert list(dict.fromkeys(sides)) == [(64, 15), (96, 7), (128, 3), (256, 1)]
    assert build_backbone("cffn", 224).map_shape(224) == (512, 6, 6)
    for name, least in (("cffn", 35), ("cffn_icip", 19)):
        assert build_backbone(name, least).map_shape(least)[1:] == (1, 1)
        with pytest.raises(SettingsError, match="cannot take"):
            build_backbone(name, least - 1)
    with pytest.raises(SettingsError, match="no library weights"):
        build_backbone("cffn", 64, library_weights=True)


def test_a_silent_unit_is_its_skip() -> None:
    stream = CFFN(Layout((4, 6), (1, 1))).streams[0].eval()
    for unit in stream:
        nn.init.zeros_(unit.conv2.weight)
        nn.init.zeros_(unit.conv2.bias)
    x = torch.randn(2, 4, 4, 4)
    y = stream(x)
    torch.testing.assert_close(y[:, :4], nn.functional.avg_pool2d(x, 2))
    assert not y[:, 4:].any()


def test_embeddings_have_length_or_sum_one() -> None:
    x = torch.randn(5, 3, 2, 2)
    torch.testing.assert_close(Embedding((3, 2, 2), 7, "l2")(x).square().sum(1), torch.ones(5))
    soft = Embedding((3, 2, 2), 7, "softmax")(x)
    torch.testing.assert_close(soft.sum(1), torch.ones(5))
    assert (soft > 0).all()


# Triplets


def slow_loss(embeddings: torch.Tensor, labels: torch.Tensor, margin: float, triplets: str) -> torch.Tensor:
    """Equation 1 in three loops."""
    n = len(labels)
    terms: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for a in range(n):
        for p in range(n):
            for k in range(n):
                if p != a and labels[p] == labels[a] != labels[k]:
                    near = (embeddings[a] - embeddings[p]).square().sum()
                    far = (embeddings[a] - embeddings[k]).square().sum()
                    terms.setdefault(a, []).append((near, far))
    if triplets == "all":
        losses = [torch.clamp(near - far + margin, min=0) for pairs in terms.values() for near, far in pairs]
    else:
        losses = [
            torch.clamp(max(near for near, _ in pairs) - min(far for _, far in pairs) + margin, min=0)
            for pairs in terms.values()
        ]
    return torch.stack(losses).mean() if losses else torch.zeros((), dtype=embeddings.dtype)


@pytest.mark.parametrize("triplets", ["all", "hard"])
@pytest.mark.parametrize("labels", ["0101010101", "0001111111", "0111111111", "1000000000", "01", "1111", "001"])
def test_triplet_loss_and_gradient_match_three_loops(triplets: str, labels: str) -> None:
    truth = torch.tensor([int(label) for label in labels])
    points = torch.randn(len(truth), 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for scale, margin in ((0.3, 0.8), (1.0, 0.8), (1.0, 0.1)):
        mine, slow = ((scale * points).clone().requires_grad_() for _ in range(2))
        fast, expected = triplet_loss(mine, truth, margin, triplets), slow_loss(slow, truth, margin, triplets)
        torch.testing.assert_close(fast, expected)
        fast.backward()
        if expected.requires_grad:
            expected.backward()
        torch.testing.assert_close(mine.grad, slow.grad if slow.grad is not None else torch.zeros_like(mine))


@pytest.mark.parametrize("triplets", ["all", "hard"])
def test_triplet_loss_of_points_placed_by_hand(triplets: str) -> None:
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[0.0, 0], [0.1, 0], [3, 0], [3, 0.1]])
    assert triplet_loss(apart, labels, 0.8, triplets) == 0
    assert triplet_loss(torch.ones(4, 2), labels, 0.8, triplets) == pytest.approx(0.8)  # collapsed: the margin
    line = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    # anchors 0 1 2 3: positive at 1 1 1 1; negatives at (4, 9) (1, 4) (4, 1) (9, 4); only distance 1 is within 1 + .8
    expected = 2 * 0.8 / 8 if triplets == "all" else 2 * 0.8 / 4
    assert triplet_loss(line, labels, 0.8, triplets) == pytest.approx(expected)


@pytest.mark.slow
def test_all_triplets_of_512_without_a_cube() -> None:
    """Single precision, as in training, against the (N, N, N) tensor taken anchor by anchor."""
    generator = torch.Generator().manual_seed(0)
    points = nn.functional.normalize(torch.randn(512, 128, generator=generator), dim=1)
    labels = torch.arange(512) % 2
    distances = squared_distances(points.double(), points.double())
    total = 0.0
    for anchor in range(512):
        same = labels == labels[anchor]
        near = distances[anchor, same & (torch.arange(512) != anchor)]
        total += float((near[:, None] - distances[anchor, ~same][None] + 0.8).relu().sum())
    assert float(triplet_loss(points, labels, 0.8)) == pytest.approx(total / (512 * 255 * 256), rel=1e-5)


# Batches, colours, figures of an embedding


@pytest.mark.parametrize("world", [1, 3])
def test_balanced_order_takes_turns_and_leaves_no_row_out(world: int) -> None:
    labels = np.array([0] * 7 + [1] * 33)
    epochs = [[balanced_order(labels, 5, epoch, rank, world) for rank in range(world)] for epoch in range(4)]
    for ranks in epochs:
        for order in ranks:
            np.testing.assert_array_equal(labels[order], np.arange(len(order)) % 2)
            assert len(order) == 2 * math.ceil(20 / world)
    if world == 1:
        walked = np.concatenate([order for ranks in epochs for order in ranks])
        times = np.bincount(walked, minlength=40)
        assert set(times[:7]) <= {11, 12}  # 80 turns among 7
        assert set(times[7:]) <= {2, 3}  # and among 33
    assert not np.array_equal(epochs[0][0], balanced_order(labels, 6, 0, 0, world))


def test_colour_is_left_alone_at_zero_and_moves_within_range() -> None:
    images = torch.rand(3, 3, 5, 5)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(jitter(images, 0.0, generator), images)
    moved = jitter(images, 0.5, generator)
    assert 0 <= moved.min() <= moved.max() <= 1
    assert not torch.equal(moved, images)
    grey = torch.full((2, 3, 4, 4), 0.4)  # contrast and saturation leave it, brightness scales it
    factors = 1 + 0.5 * (2 * torch.rand(3, 2, generator=torch.Generator().manual_seed(7)) - 1)[0]
    expected = (0.4 * factors).view(2, 1, 1, 1).expand_as(grey)
    torch.testing.assert_close(jitter(grey, 0.5, torch.Generator().manual_seed(7)), expected)


def test_figures_of_an_embedding_match_slow_loops() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 4)) + 5, np.array([0] * 5 + [1] * 7)
    distance = np.square(x[:, None] - x[None]).sum(axis=2)
    assert spread(x) == pytest.approx(distance.sum() / (12 * 11))
    others = ~np.eye(12, dtype=bool)
    means = [[distance[i, (y == label) & others[i]].mean() for label in (0, 1)] for i in range(12)]
    np.testing.assert_allclose(nearness(x, y), [real - fake for real, fake in means])
    points = plane(x, y)
    centred = x - x.mean(axis=0)
    _, singular, _ = np.linalg.svd(centred)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), singular[:2])
    assert (points[y == 1].mean(axis=0) > points[y == 0].mean(axis=0)).all()
    assert spread(np.ones((5, 3))) == 0


def test_an_embedding_that_knows_nothing_is_not_praised() -> None:
    """In 128 dimensions 40 faces can always be parted: compared with itself a face would give an AUROC near 1."""
    rng = np.random.default_rng(0)
    found = [auroc(np.arange(40) % 2, nearness(rng.normal(size=(40, 128)), np.arange(40) % 2)) for _ in range(30)]
    assert np.mean(found) < 0.55


# Schedule


def result(epoch: int, accuracy: float) -> PhaseResult:
    return PhaseResult(epoch, 0, 0, 0, 0.5, 0, 2, accuracy, math.nan)


def test_learning_rate_steps_as_in_the_paper() -> None:
    recipe: Any = SiameseSettings(**get_method("siamese").presets["paper"])  # type: ignore[arg-type]
    rates = [learning_rate(recipe, epoch, []) for epoch in range(20)]
    assert rates == pytest.approx([1e-4] * 5 + [1e-5] * 11 + [1e-6] * 4)
    assert learning_rate(recipe, 7, [result(6, 0.88), result(7, 0.8)]) == pytest.approx(1e-5)
    assert learning_rate(recipe, 7, [result(6, 0.89), result(7, 0.8)]) == pytest.approx(1e-6)  # and stays there


# Fits


def rows_of(detector: Path) -> list[dict[str, str]]:
    with (detector / "training.csv").open() as file:
        return list(csv.DictReader(file))


EASY = {"backbone": "squeezenet1_1", "zoom": 0, "rotate": 0, "translate": 0, "batch_size": 8}
"""A backbone that learns this in two seconds; tests/test_contract.py has the CFFN learn."""


@pytest.mark.fits
@pytest.mark.slow
def test_phase_one_separates_and_phase_two_classifies(faces: FaceSet, tmp_path: Path) -> None:
    settings = tiny("siamese", pair_epochs=8, epochs=5, **EASY)
    facetell.fit("siamese", faces.path, tmp_path / "detector", settings=settings)
    rows = rows_of(tmp_path / "detector")
    assert [row["phase"] for row in rows] == ["1"] * 8 + ["2"] * 5
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 14)]
    assert float(rows[7]["validation_auroc"]) > 0.9
    assert float(rows[7]["validation_loss"]) < 0.6
    assert float(rows[7]["spread"]) > 0.2
    assert float(rows[-1]["validation_accuracy"]) > 0.8
    with (tmp_path / "detector" / "embedding.csv").open() as file:
        points = list(csv.DictReader(file))
    assert len(points) == 8 * 20
    assert {row["label"] for row in points} == {"0", "1"}
    assert facetell.verify(tmp_path / "detector").method == "siamese"
    pytest.importorskip("matplotlib")
    assert (tmp_path / "detector" / "embedding.png").read_bytes().startswith(b"\x89PNG")


class _StopError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [1, 2, 3])
def test_resume_in_either_phase_and_between_them(stopped: int, faces: FaceSet, shared: Shared, tmp_path: Path) -> None:
    settings = tiny("siamese", pair_epochs=2, epochs=2, backbone="squeezenet1_1")
    folder = (
        shared("siamese", lambda to: facetell.fit("siamese", faces.path, to / "d", settings=settings, seed=1)) / "d"
    )
    whole = facetell.Detector.load(folder, "cpu", runtime="torch")

    def stop(step: Step) -> None:
        if step.what == "epoch" and step.done == stopped:
            raise _StopError

    with pytest.raises(_StopError):
        facetell.fit("siamese", faces.path, tmp_path / "cut", settings=settings, seed=1, progress=stop)
    resumed = facetell.fit("siamese", faces.path, tmp_path / "cut", settings=settings, seed=1, resume=True)
    for (name, a), b in zip(
        whole.runtime.network.state_dict().items(), resumed.runtime.network.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    for name in ("weights.safetensors", "metrics.json", "embedding.csv"):
        assert (folder / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.fits
def test_it_stops_by_the_whole_validation_split(faces: FaceSet, tmp_path: Path) -> None:
    settings = tiny("siamese", pair_epochs=1, epochs=30, **EASY)
    settings |= {"stop_accuracy": 0.9, "step_accuracy": 0.6, "lr_step": 0.999, "select": "last"}
    detector = facetell.fit("siamese", faces.path, tmp_path / "detector", settings=settings)
    rows = rows_of(tmp_path / "detector")
    accuracy = [float(row["validation_accuracy"]) for row in rows[1:]]
    assert len(rows) < 31
    assert accuracy[-1] >= 0.9 > max(accuracy[:-1], default=0)
    report = facetell.evaluate(detector, faces.path, tmp_path / "report", split="validation")
    assert report.metrics["auroc"].value == pytest.approx(float(rows[-1]["validation_auroc"]), abs=1e-6)


@pytest.mark.slow
def test_cross_entropy_alone_is_the_control(faces: FaceSet, tmp_path: Path) -> None:
    facetell.fit(
        "siamese", faces.path, tmp_path / "detector", settings=tiny("siamese", pair_epochs=0, backbone="squeezenet1_1")
    )
    assert {row["phase"] for row in rows_of(tmp_path / "detector")} == {"2"}
    assert not (tmp_path / "detector" / "embedding.csv").exists()


@pytest.mark.fits
@pytest.mark.parametrize("lr", [0.0, 1e-3])
def test_a_collapse_is_said(lr: float, faces: FaceSet, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A softmax over an untrained layer is nearly the same for every face; two unlike epochs of triplets keep it so."""
    settings = {**OWN["siamese"], "embedding": "softmax", "lr": lr, "pair_epochs": 1, "epochs": 1}
    with caplog.at_level(logging.WARNING, "facetell"):
        facetell.fit("siamese", faces.path, tmp_path / "detector", settings=settings)
    assert "the embedding has collapsed in epoch 1" in caplog.text
    assert float(rows_of(tmp_path / "detector")[0]["spread"]) < 0.008


@pytest.mark.slow
def test_a_lone_face_of_a_class_is_said(tmp_path: Path) -> None:
    source = toy_source(tmp_path / "pictures")
    index = (source / "index.csv").read_text().splitlines()
    kept = [
        line for line in index if not (line.startswith("train-") and ",fake," in line) or line.startswith("train-0-")
    ]
    (source / "index.csv").write_text("\n".join(kept) + "\n")
    prepare(source, tmp_path / "faces")
    with pytest.raises(DataError, match="at least two real and two fake"):
        facetell.fit("siamese", tmp_path / "faces", tmp_path / "detector", settings=OWN["siamese"])


@pytest.mark.slow
def test_any_backbone_and_a_detector_as_a_start(faces: FaceSet, tmp_path: Path) -> None:
    small = {"backbone": "squeezenet1_1", "pretrained": "none", "size": 32, "epochs": 1}
    base = facetell.fit("finetune", faces.path, tmp_path / "base", settings={**small, "batch_size": 16})
    settings = {"pretrained": str(tmp_path / "base"), "pair_epochs": 1, "epochs": 1, "lr": 0.0, "batch_size": 16}
    tuned = facetell.fit("siamese", faces.path, tmp_path / "tuned", settings=settings)
    for name, tensor in base.runtime.network.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(tuned.runtime.network.state_dict()[name], tensor), name
