"""The strategy ``expert``: its regressions against scikit-learn, its calibration, and one Monday after another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import lessons
import numpy as np
import pytest
import torch
from lessons import School, school, tensors
from monday import Monday, fill
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

import facetell
from facetell.adaptation import acceptance
from facetell.adaptation.flow import model_of
from facetell.adaptation.new_faces import of_label
from facetell.adaptation.second_backbone import SecondBackbone, find_second_backbone
from facetell.adaptation.strategies import STRATEGIES, get_strategy
from facetell.adaptation.strategies import expert as strategy
from facetell.adaptation.task import AdaptTask, Model
from facetell.cli.main import main
from facetell.detector.bundle import read_bundle, read_description, write_bundle
from facetell.detector.lineage import Lineage
from facetell.detector.replay_buffer import open_replay_buffer
from facetell.detector.weights import model_bytes, read_selftest, read_weights
from facetell.errors import FacetellError, SettingsError, UsageError
from facetell.faceset.table import FaceSet
from facetell.labels import FAKE
from facetell.networks.backbones import build_backbone
from facetell.networks.depth import DepthStatistics
from facetell.networks.mixture import CLIP
from facetell.training.loop import predict


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> School:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("experts")
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        return school(root, "squeezenet1_1")


def lopsided(given: School) -> AdaptTask:
    """All reals, four fakes."""
    labels = given.new.labels
    few = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:4]])
    return given.task().subset(few)


def learned(given: School, task: AdaptTask) -> Any:
    return get_strategy("expert").learn(task).network


def scaled_by(vectors: np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """``rows``, or the vectors themselves, centred, scaled and cut off as the vectors ask for, and the scale."""
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1)
    return (((vectors if rows is None else rows) - centre) / spread).clip(-CLIP, CLIP).astype(np.float64), spread


def mirrored(task: AdaptTask) -> np.ndarray:
    """Vectors of the new faces' mirror images."""
    assert task.second is not None
    wide = task.second.samples(task.new)
    pictures = torch.from_numpy(np.ascontiguousarray(wide.images.gather(wide.rows)[:, :, ::-1]))
    with torch.no_grad():
        vectors: np.ndarray = task.second.statistics(pictures.permute(0, 3, 1, 2).float() / 255).numpy()
    return vectors


def whitened(given: School, task: AdaptTask, vectors: np.ndarray, judged: np.ndarray | None = None) -> np.ndarray:
    """Scaled rows with each direction shrunk by t / (c + t), c its variance within the old faces' sources and labels and
    between new faces and their mirror images."""
    assert task.second is not None
    scaled, spread = scaled_by(vectors, judged)
    seen, old = task.second.vectors(given.old, task.fabric), given.old
    away = np.zeros_like(seen)
    for label in (0, 1):
        for source in [None] if old.sources is None else np.unique(old.sources):
            mine = (old.labels == label) & (True if source is None else old.sources == source)
            if mine.any():
                away[mine] = seen[mine] - seen[mine].mean(axis=0)
    away = np.concatenate([away, mirrored(task) - task.second.vectors(task.new, task.fabric)])
    away = (away / spread).clip(-CLIP, CLIP).astype(np.float64)
    _, lengths, axes = np.linalg.svd(away, full_matrices=False)
    shrunk = np.sqrt(strategy.TRUST / (lengths**2 / len(away) + strategy.TRUST))
    return scaled + (scaled @ axes.T * (shrunk - 1)) @ axes


def lesson(given: School, task: AdaptTask) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the head learns from, the same faces as they are, labels and groups: new faces, each as the mean of it and its
    mirror image, and old ones that a gate takes for new."""
    assert task.second is not None
    new, old = (task.second.vectors(samples, task.fabric) for samples in (task.new, given.old))
    both, groups = (
        np.concatenate([old, new]),
        np.concatenate([given.old.groups, task.new.groups + given.old.groups.max() + 1]),
    )
    here = np.repeat([False, True], [len(old), len(new)])
    rows, fold, taken = scaled_by(both)[0], strategy.assign_folds(here, groups, 2, task.seed), here.copy()
    for part in (0, 1):
        model = LogisticRegression(C=1 / strategy.GATE_PENALTY, tol=1e-10, max_iter=5000)
        share = here[fold != part].mean()
        counts = np.where(here[fold != part], 0.5 / share, 0.5 / (1 - share))
        model.fit(rows[fold != part], here[fold != part], sample_weight=counts)
        taken |= ~here & (fold == part) & (model.decision_function(rows) > 0)
    learned_from = np.concatenate([old, (new + mirrored(task)) / 2])
    return (
        learned_from[taken],
        both[taken],
        np.concatenate([given.old.labels, task.new.labels])[taken] == 1,
        groups[taken],
    )


def fitted(rows: np.ndarray, truth: np.ndarray, penalty: float) -> np.ndarray:
    """scikit-learn's logits of rows."""
    model = LogisticRegression(C=1 / penalty, class_weight="balanced", tol=1e-10, max_iter=5000)
    return model.fit(rows, truth).decision_function(rows)


def test_head_and_gate_are_scikit_learns(given: School) -> None:
    """The gate is; the head is up to the stretch and shift that calibrate it."""
    task = lopsided(given)
    network = learned(given, task)
    assert task.second is not None
    new, old = (task.second.vectors(samples, task.fabric) for samples in (task.new, given.old))
    expert = network.experts[0]
    both = np.concatenate([old, new])
    logits = fitted(scaled_by(both)[0], np.repeat([False, True], [len(old), len(new)]), strategy.GATE_PENALTY)
    vectors, _, truth, _ = lesson(given, task)
    assert len(vectors) > len(new)  # some old faces are taken for new ones
    with torch.no_grad():
        gate, head = expert.gate(torch.from_numpy(both)).numpy(), expert.head(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(gate, logits - np.log(strategy.OLD_ODDS), rtol=1e-3, atol=2e-3)
    rows = whitened(given, task, vectors)
    logits = fitted(rows, truth, strategy.PENALTY * (rows**2).sum(axis=1).mean())
    assert np.corrcoef(head, logits)[0, 1] > 0.99999


def test_held_out_faces_set_the_scale_of_the_head(given: School) -> None:
    """Stretched and shifted as scikit-learn does it with logits of faces that were held out."""
    task = lopsided(given)
    network = learned(given, task)
    vectors, as_is, truth, groups = lesson(given, task)
    scaled, judged = whitened(given, task, vectors), whitened(given, task, vectors, as_is)
    penalty = strategy.PENALTY * (scaled**2).sum(axis=1).mean()
    own = fitted(scaled, truth, penalty)
    folds = min(strategy.FOLDS, len(np.unique(groups[truth])))  # few fakes: as many folds
    fold = strategy.assign_folds(truth, groups, folds, task.seed)
    held_out = np.empty(len(truth))
    for part in range(folds):
        here = fold == part
        model = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5000)
        share = truth[~here].mean()
        counts = np.where(truth[~here], 0.5 / share, 0.5 / (1 - share))
        held_out[here] = model.fit(scaled[~here], truth[~here], sample_weight=counts).decision_function(judged[here])
    unit = held_out.std()
    platt = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10).fit(held_out[:, None] / unit, truth)
    slope, shift = float(platt.coef_[0, 0]) / unit, float(platt.intercept_[0])
    with torch.no_grad():
        head = network.experts[0].head(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(head, max(slope, 1e-3) * own + shift, rtol=1e-2, atol=2e-2)


def test_what_ranks_the_wrong_way_round_is_not_turned(given: School) -> None:
    head = learned(given, given.task()).experts[0].head
    before = head.dense.weight.detach().clone()
    labels = given.new.labels
    upside = np.where(labels == 1, 1.0, -1.0)
    against = -np.outer(upside, upside) + 30 * np.eye(len(labels))  # whoever is held out looks like the other side
    strategy._calibrate(head, strategy.Fit(against, against, 100.0), labels == 1, given.new.groups, 0)
    assert float((head.dense.weight.detach() * before).sum()) > 0


@pytest.mark.parametrize("persons", [3, 4, 5])
def test_persons_with_both_labels(persons: int, given: School) -> None:
    """Whichever groups they come in, calibration holds some out or leaves the head as it is."""
    rng = np.random.default_rng(persons)
    head = learned(given, given.task()).experts[0].head
    products = np.eye(len(given.new))
    for _ in range(30):
        groups = rng.integers(0, persons, len(given.new))
        strategy._calibrate(head, strategy.Fit(products, products, 100.0), given.new.labels == 1, groups, 0)
        assert torch.isfinite(head.dense.weight).all()


def test_few_groups_leave_the_head_as_it_is(given: School) -> None:
    head = learned(given, given.task()).experts[0].head
    before = head.dense.weight.detach().clone()
    fit, one = strategy.Fit(*[np.eye(len(given.new))] * 2, 100.0), np.zeros_like(given.new.groups)
    strategy._calibrate(head, fit, given.new.labels == 1, one, 0)
    assert torch.equal(head.dense.weight, before)


def test_it_is_judged_as_the_network_judges(given: School) -> None:
    task = given.task()
    found = get_strategy("expert").learn(task)
    for samples in (given.new, given.old):
        quick = task.predict(found, samples)
        np.testing.assert_allclose(quick, predict(found.network, samples, task.fabric), rtol=1e-3, atol=1e-3)
    before = tensors(given.model)
    for name, tensor in before.items():
        assert torch.equal(tensors(found)[f"old.network.{name}"], tensor), name


def test_at_more_pixels_it_is_judged_by_what_the_network_sees(given: School) -> None:
    """The old network too: a crop that was enlarged and is reduced again is not what it was."""
    task, fabric = given.task(), given.task().fabric
    second = SecondBackbone("squeezenet1_1", "pretrained", 48, DepthStatistics(build_backbone("squeezenet1_1", 48), 48))
    for part, faces in zip((given.new, given.old), given.faces, strict=True):
        second.show(part, faces, "train")
    task = dataclasses.replace(task, second=second)
    found = get_strategy("expert").learn(task)
    assert found.settings.size == 48
    for samples in (given.new, given.old):
        quick = task.predict(found, samples)
        wide = second.samples(samples)
        assert wide.images.size == 48
        np.testing.assert_allclose(quick, predict(found.network, wide, fabric), rtol=1e-3, atol=1e-3)


def test_a_gate_tells_the_new_from_the_remembered(given: School) -> None:
    task = given.task()
    network = learned(given, task)
    assert task.second is not None
    with torch.no_grad():
        new, old = (
            torch.sigmoid(network.experts[0].gate(torch.from_numpy(task.second.vectors(samples, task.fabric))))
            for samples in (given.new, given.old)
        )
    assert float(new.mean()) > float(old.mean()) + 0.1


def test_looking_is_told_face_by_face(given: School) -> None:
    task, told = given.task(), list[tuple[int, int]]()
    assert task.second is not None
    task.second.statistics = DepthStatistics(build_backbone("squeezenet1_1", lessons.SIZE), lessons.SIZE)  # not kept
    task.second.read(task.new, task.fabric, lambda step: told.append((step.done, step.total)))
    assert told == [(24, 68), (44, 68), (68, 68)]


def test_experts_learn_from_some_thousand_faces_at_most(given: School, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy, "MOST", 5)
    drawn = strategy._drawn(given.new, 3)
    assert np.bincount(drawn.labels).tolist() == [5, 5]
    assert (
        drawn.rows.tolist()
        == strategy._drawn(given.new, 3).rows.tolist()
        != strategy._drawn(given.new, 4).rows.tolist()
    )


def test_a_detector_with_experts_takes_another_one_and_nothing_else(given: School) -> None:
    task = given.task()
    first = get_strategy("expert").learn(task)
    network: Any = first.network
    second = task.second
    assert second is not None
    second.statistics = network.statistics
    for name in STRATEGIES:
        why = get_strategy(name).obstacle(dataclasses.replace(task, model=first))
        assert (why is None) is (name == "expert"), name
    twice = get_strategy("expert").learn(dataclasses.replace(task, model=first))
    assert (twice.settings.experts, len(twice.network.experts)) == (2, 2)  # type: ignore[arg-type]
    for name, tensor in tensors(first).items():
        assert torch.equal(tensors(twice)[name], tensor), name
    quick = task.predict(twice, given.new)
    np.testing.assert_allclose(quick, predict(twice.network, given.new, task.fabric), rtol=1e-3, atol=1e-3)
    second.statistics = DepthStatistics(lessons.general(), lessons.SIZE)  # another backbone: a network beside both
    nested: Model = get_strategy("expert").learn(dataclasses.replace(task, model=twice))
    assert (nested.settings.experts, nested.settings.old_method) == (1, "experts")
    assert json.loads(nested.settings.old_settings)["experts"] == 2


@pytest.fixture
def general(tmp_path: Path) -> Path:
    """A file of weights for a second backbone."""
    torch.manual_seed(8)
    body = build_backbone("squeezenet1_1", 48).body
    file = tmp_path / "general.safetensors"
    save_file({f"features.{name}": tensor for name, tensor in body.state_dict().items()}, file)
    return file


@pytest.mark.fits
def test_one_monday_after_another(
    made: Monday,
    general: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the command, at more pixels than the detector's; the second time on the backbone that is there already."""
    monkeypatch.setattr(acceptance, "CLOSES", 2.0)  # by their mean colours these toys could be told apart

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert not stop.value.code, said.err
        return said.out

    real = ("--real", made["real"], "--margin", 0.5, "--strategy", "expert")
    second = ("--backbone", "squeezenet1_1", "--pretrained", general, "--size", 48)
    run("adapt", made.detector, "--fake", made["smooth"], *real, *second, "-o", tmp_path / "once")
    description = read_bundle(tmp_path / "once")
    assert description["input"]["size"] == description["settings"]["size"] == 48
    assert facetell.verify(tmp_path / "once").method == "experts"
    more, barred = fill(tmp_path / "more", "real", 24, 5), fill(tmp_path / "barred", "barred", 24, 6)
    run("adapt", tmp_path / "once", "--fake", barred, "--real", more, *real[2:], "-o", tmp_path / "twice")
    assert [event["what"] for event in facetell.history(tmp_path / "twice").adapted] == ["adapt", "adapt"]
    loaded = facetell.Detector.load(tmp_path / "twice", "cpu", runtime="torch")
    assert loaded.description["settings"]["experts"] == 2
    assert loaded.description["lineage"]["start"] == "the weights general.safetensors"
    for name, weights, size in (
        (None, None, None),
        (None, None, 48),
        ("squeezenet1_1", None, None),
        (None, str(general), 48),
    ):
        again = find_second_backbone(model_of(loaded), name, weights, size)
        assert again is not None
        assert again.statistics is loaded.runtime.network.statistics
    larger = find_second_backbone(model_of(loaded), None, None, 64)
    assert larger is not None
    assert (larger.size, larger.statistics is loaded.runtime.network.statistics) == (64, False)
    for tensor, other in zip(
        larger.statistics.state_dict().values(), loaded.runtime.network.statistics.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, other)
    once, twice = ((tmp_path / name / "weights.safetensors").stat().st_size for name in ("once", "twice"))
    assert twice - once < 0.2 * once
    memory, before = (open_replay_buffer(path, read_description(path)) for path in (tmp_path / "twice", made.detector))
    assert memory
    assert before
    assert len(memory) == len(before) + 96

    verdicts = facetell.detect(tmp_path / "twice", [made["smooth"]], faces="crops", device="cpu")
    assert len(list(verdicts)) == 24
    run("evaluate", tmp_path / "twice", made.faces, "-o", tmp_path / "evaluated")
    told = facetell.explain(tmp_path / "twice", made.faces, tmp_path / "explained", limit=1, sanity=1)
    assert any("no Grad-CAM" in warning for warning in told.warnings)


@pytest.mark.slow
def test_what_second_backbones_there_are(made: Monday, general: Path) -> None:
    loaded = facetell.Detector.load(made.detector, "cpu")
    file = str(general)
    assert find_second_backbone(model_of(loaded), None, None, None) is None  # it began with random weights
    with pytest.raises(UsageError, match="not pretrained on other pictures"):
        find_second_backbone(model_of(loaded), None, None, 64)
    with pytest.raises(UsageError, match="random weights"):
        find_second_backbone(model_of(loaded), None, "none", None)
    found = find_second_backbone(model_of(loaded), None, file, None)
    assert found is not None
    assert (found.name, found.size) == ("squeezenet1_1", loaded.size)
    with pytest.raises(UsageError, match="cannot take 16"):
        find_second_backbone(model_of(loaded), None, file, 16)
    with pytest.raises(FacetellError):
        find_second_backbone(model_of(loaded), "resnet10t", file, None)
    with pytest.raises(FacetellError):
        find_second_backbone(model_of(loaded), "no_such_net", file, None)
    for backbone, size in (("mvitv2_tiny", 224), ("mvitv2_tiny", 240), ("crossvit_tiny_240", 240)):
        with pytest.raises(SettingsError):  # blocks that give tuples; a size it cannot take; no map at all
            DepthStatistics(build_backbone(backbone, size), size)
    with pytest.raises(UsageError, match="no second backbone to choose"):
        facetell.adapt(made.detector, made.root / "out", fake=made["smooth"], strategy="full", size=64)


@pytest.mark.slow
def test_what_a_second_backbone_learned_from_is_said_and_kept(
    made: Monday, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "CLOSES", 2.0)  # by their mean colours these toys could be told apart
    new = of_label(made["smooth"], FAKE).faces
    description = read_bundle(made.bare)
    weights, selftest = read_weights(made.bare, description), read_selftest(made.bare)
    kept = {key: value for key, value in description.items() if key not in ("format", "version", "files")}
    kept["calibration"] = None  # it knows faces that are not brought along
    theirs = Lineage.new("1" * 64).with_learned(new, np.arange(len(new)))
    write_bundle(
        tmp_path / "other",
        kept,
        weights,
        selftest,
        {},
        "a card",
        {},
        model=model_bytes(made.bare, description),
        lineage=theirs,
    )
    assert find_second_backbone(model_of(facetell.Detector.load(made.bare, "cpu")), None, str(tmp_path / "other"), None)
    found = facetell.adapt(
        made.detector, tmp_path / "out", fake=made["smooth"], real=made["real"], strategy="expert", margin=0.5,
        pretrained=str(tmp_path / "other"),
    )  # fmt: skip
    assert any("the second backbone has learned from 24 of the 48 new faces" in line for line in found.sentences)
    lineage = facetell.Detector.load(tmp_path / "out", "cpu").lineage
    assert len(lineage.parts) == 2
    assert lineage.parts[1].salt == theirs.parts[0].salt
    assert lineage.seen(FaceSet.open(made.faces), "train").learned.all()


def test_an_overconfident_network_gets_an_expert_in_its_own_unit(given: School) -> None:
    """One whose temperature is 3 has logits three times too large: those of the expert are made as large."""
    task = given.task()
    plain, large = learned(given, task).experts[0], learned(given, dataclasses.replace(task, unit=3.0)).experts[0]
    torch.testing.assert_close(large.head.dense.weight, 3 * plain.head.dense.weight)
    torch.testing.assert_close(large.head.dense.bias, 3 * plain.head.dense.bias)
    torch.testing.assert_close(large.gate.dense.weight, plain.gate.dense.weight)
