"""Training and fitting: it learns, it resumes exactly, it selects on validation, it says what is wrong."""

from __future__ import annotations

import csv
import itertools
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy import TINY, toy_source

import facetell
from facetell.errors import DataError, FacetellError, SettingsError, UsageError
from facetell.faceset.table import FaceSet
from facetell.methods import get_method
from facetell.networks.backbones import build_backbone, load_library_tensors
from facetell.progress import Step
from facetell.settings import resolve
from facetell.training.checkpoint import load_checkpoint
from facetell.training.recipe import learning_rate_factor
from facetell.training.run import CHECKPOINT


def weights_of(detector: facetell.Detector) -> dict[str, torch.Tensor]:
    return detector.runtime.network.state_dict()


def assert_same(first: facetell.Detector, second: facetell.Detector) -> None:
    for (name, a), b in zip(weights_of(first).items(), weights_of(second).values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.slow
def test_the_seed_changes_the_result(faces: FaceSet, tmp_path: Path) -> None:
    first, second = (
        facetell.fit("finetune", faces.path, tmp_path / str(seed), settings=TINY, seed=seed) for seed in (0, 1)
    )
    assert not torch.equal(weights_of(first)["head.dense.weight"], weights_of(second)["head.dense.weight"])


KILLED = """
import sys, facetell
facetell.fit("fdftnet", sys.argv[1], sys.argv[2], settings=eval(sys.argv[3]), seed=1)
"""


@pytest.mark.slow
def test_kill_in_mid_epoch_then_resume(faces: FaceSet, tmp_path: Path) -> None:
    """SIGKILL falls while an epoch runs; the resumed run ends with the weights of one that was left alone."""
    settings = {**TINY, "epochs": 6, "batch_size": 8}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(faces.path), str(cut), repr(settings)])
    checkpoint = tmp_path / "cut.partial" / CHECKPOINT
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(load_checkpoint(checkpoint)[1]["history"])
    assert 1 <= done < 6
    resumed = facetell.fit("fdftnet", faces.path, cut, settings=settings, seed=1, resume=True)
    assert_same(facetell.fit("fdftnet", faces.path, whole, settings=settings, seed=1), resumed)
    assert len((cut / "training.csv").read_text().splitlines()) == 1 + 6


@pytest.mark.slow
def test_pretrained_weights_in_half_precision(faces: FaceSet, tmp_path: Path) -> None:
    body = build_backbone("squeezenet1_1", 32).state_dict().items()
    tensors = {
        f"features.{name.removeprefix('body.')}": tensor.bfloat16() for name, tensor in body if name[:5] == "body."
    }
    save_file(tensors, tmp_path / "half.safetensors")
    settings = {**TINY, "epochs": 1, "pretrained": str(tmp_path / "half.safetensors")}
    assert facetell.fit("finetune", faces, tmp_path / "out", settings=settings).identity


@pytest.mark.slow
def test_patience_stops_and_the_best_epoch_is_kept(faces: FaceSet, tmp_path: Path) -> None:
    seen: list[Any] = []
    detector = facetell.fit(
        "finetune",
        faces.path,
        tmp_path / "detector",
        settings={**TINY, "epochs": 50, "patience": 2, "lr": 1e-3, "select": "auroc"},
        progress=seen.append,
    )
    values = [step.numbers["validation_auroc"] for step in seen if step.what == "epoch"]
    assert len(values) < 50
    assert max(values[-2:]) <= max(values[:-2])  # the last two epochs did not improve
    metrics = facetell.evaluate(detector, faces.path, tmp_path / "report", split="validation").metrics
    assert metrics["auroc"].value == pytest.approx(max(values), abs=1e-6)


def test_shots_are_drawn_by_seed_and_few_images_are_repeated(faces: FaceSet, tmp_path: Path) -> None:
    steps: list[Step] = []
    facetell.fit(
        "finetune",
        faces.path,
        tmp_path / "detector",
        split="finetune",
        shots=4,
        settings={**TINY, "epochs": 2, "batch_size": 8, "epoch_images": 40},
        progress=steps.append,
    )
    assert {step.total for step in steps if step.what == "training"} == {
        2 * 5
    }  # 8 images, five passes make 40 an epoch
    description = facetell.Detector.load(tmp_path / "detector", "cpu").description["data"]
    assert (description["shots"], description["images"], description["split"]) == (4, 8, "finetune")
    with pytest.raises(DataError, match="13 shots"):
        facetell.fit("finetune", faces.path, tmp_path / "more", split="finetune", shots=13, settings=TINY)


@pytest.mark.slow
def test_a_detector_is_a_start_for_another(faces: FaceSet, tmp_path: Path) -> None:
    base = facetell.fit("finetune", faces.path, tmp_path / "base", settings=TINY)
    few = {"pretrained": str(tmp_path / "base"), "epochs": 1, "lr": 0.0, "batch_size": 16}
    tuned = facetell.fit("fdftnet", faces.path, tmp_path / "tuned", settings=few)
    assert tuned.description["settings"]["backbone"] == "squeezenet1_1"
    assert tuned.size == 32
    for name, tensor in weights_of(base).items():
        if name.startswith("backbone."):
            assert torch.equal(weights_of(tuned)[name], tensor), name
    assert tuned.description["lineage"]["start"] == "the backbone of detector base"
    assert tuned.lineage.parts[0].salt == base.lineage.parts[0].salt  # what the base learned from is its as well
    assert tuned.lineage.seen(faces, "train").learned.all()
    with pytest.raises(UsageError, match="has backbone squeezenet1_1, not xception"):
        facetell.fit("fdftnet", faces.path, tmp_path / "other", settings={**few, "backbone": "xception"})


@pytest.mark.slow
def test_a_frozen_backbone_stays(faces: FaceSet, tmp_path: Path) -> None:
    facetell.fit("finetune", faces.path, tmp_path / "base", settings=TINY)
    settings = {"pretrained": str(tmp_path / "base"), "epochs": 2, "lr": 0.01, "train_backbone": False}
    tuned = facetell.fit("fdftnet", faces.path, tmp_path / "tuned", settings=settings)
    base = facetell.Detector.load(tmp_path / "base", "cpu", runtime="torch")
    changed = [
        n for n, t in weights_of(tuned).items() if n in weights_of(base) and not torch.equal(t, weights_of(base)[n])
    ]
    assert [name for name in changed if name.startswith("backbone.")] == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "fdftnt"}, UsageError, "did you mean 'fdftnet'"),
        ({"split": "tran"}, DataError, "did you mean 'train'"),
        ({"split": "test"}, UsageError, "worthless"),
        ({"preset": "papr"}, SettingsError, "did you mean 'paper'"),
        ({"settings": {**TINY, "epocs": 1}}, SettingsError, "did you mean 'epochs'"),
        ({"settings": {**TINY, "pretrained": "nowhere"}}, UsageError, "neither a detector nor a file"),
        ({"settings": {**TINY, "pretrained": "starter"}}, UsageError, "starter, of the method depth, has no whole"),
        ({"settings": {**TINY, "lr": 1e30}}, FacetellError, "the loss is"),
        ({"threshold": "best"}, SettingsError, "best"),
    ],
)
def test_mistakes_are_said_and_leave_nothing(
    change: dict[str, Any], error: type[Exception], message: str, faces: FaceSet, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"method": "finetune", "settings": TINY, **change}
    with pytest.raises(error, match=message):
        facetell.fit(arguments.pop("method"), faces.path, tmp_path / "detector", **arguments)
    assert not (tmp_path / "detector").exists()


def test_tensorboard_gets_every_epoch(faces: FaceSet, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = tmp_path / "logs"
    facetell.fit("finetune", faces.path, tmp_path / "detector", settings=TINY, tensorboard=logs)
    events = EventAccumulator(str(logs))
    events.Reload()
    with (tmp_path / "detector" / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = [event.value for event in events.Scalars("validation_auroc")]
    assert logged == pytest.approx([float(row["validation_auroc"]) for row in rows], abs=1e-6)


def test_weights_from_a_file(faces: FaceSet, tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = build_backbone("squeezenet1_1", 32)
    tensors = {f"features.{name}": tensor for name, tensor in source.body.state_dict().items()}
    save_file(tensors | {"classifier.1.bias": torch.zeros(1000)}, tmp_path / "imagenet.safetensors")
    settings = {**TINY, "pretrained": str(tmp_path / "imagenet.safetensors"), "epochs": 1, "lr": 0.0, "averaging": 0.0}
    detector = facetell.fit("finetune", faces.path, tmp_path / "detector", settings=settings)
    for name, tensor in source.body.state_dict().items():
        assert torch.equal(weights_of(detector)[f"backbone.body.{name}"], tensor)
    (tmp_path / "broken.safetensors").write_bytes(b"not tensors")
    settings = {**settings, "pretrained": str(tmp_path / "broken.safetensors")}
    with pytest.raises(DataError, match="not a safetensors file"):
        facetell.fit("finetune", faces.path, tmp_path / "other", settings=settings)


@pytest.mark.slow
def test_a_folder_works_like_a_face_set(tmp_path: Path) -> None:
    source = toy_source(tmp_path / "pictures")
    detector = facetell.fit("finetune", source, tmp_path / "detector", settings=TINY)
    report = facetell.evaluate(detector, source, tmp_path / "report")
    assert report.counts["n"] == 24


def test_paper_preset_is_the_papers() -> None:
    for name in ("finetune", "fdftnet"):
        method = get_method(name)
        paper: Any = resolve(method.settings, method.presets["paper"])
        assert (paper.optimizer, paper.lr, paper.momentum, paper.epochs, paper.batch_size) == (
            "sgd",
            0.3,
            0.9,
            300,
            128,
        )
        assert (paper.select, paper.patience, paper.averaging, paper.warmup) == ("loss", 20, 0.0, 0.0)
        assert (paper.translate, paper.zoom, paper.rotate, paper.flip, paper.cutout_holes) == (2.0, 0.2, 0.2, True, 3)
    fdftnet: Any = resolve(get_method("fdftnet").settings, get_method("fdftnet").presets["paper"])
    assert (fdftnet.ftt_stages, fdftnet.mb_blocks, fdftnet.train_backbone, fdftnet.size) == (3, 4, False, 64)
    siamese: Any = resolve(get_method("siamese").settings, get_method("siamese").presets["paper"])
    assert (siamese.pair_epochs, siamese.epochs, siamese.batch_size, siamese.lr, siamese.lr_step) == (
        5,
        15,
        128,
        1e-4,
        0.1,
    )
    assert (siamese.margin, siamese.triplets, siamese.embedding, siamese.l2) == (0.8, "all", "softmax", 1e-3)
    assert (siamese.step_epochs, siamese.step_accuracy, siamese.stop_accuracy) == (16, 0.89, 0.94)
    assert (siamese.backbone, siamese.balanced, siamese.select, siamese.flip) == ("cffn", False, "last", True)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert factors[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert factors[-1] < 1e-3
    assert learning_rate_factor(0, 100, 0.0) == 1.0
    assert learning_rate_factor(50, 100, 0.0) == pytest.approx(0.5)


def test_the_random_numbers_of_a_notebook_stay_its_own(faces: FaceSet, tmp_path: Path) -> None:
    def states() -> tuple[bytes, Any, Any]:
        return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = states()
    facetell.fit("finetune", faces.path, tmp_path / "fitted", settings={**TINY, "epochs": 2, "dropout": 0.5})
    assert states() == before
    detector = facetell.Detector.load(tmp_path / "fitted")
    detector.logits(np.zeros((2, 32, 32, 3), np.uint8))
    assert states() == before


@pytest.mark.slow
def test_weights_of_wrapped_networks_and_of_torchs_own_files(faces: FaceSet, tmp_path: Path) -> None:
    """DataParallel writes ``module.`` before each name; a file of torch.save is refused with the way to convert it."""
    body = build_backbone("squeezenet1_1", 32).body
    tensors = {f"features.{name}": tensor for name, tensor in body.state_dict().items()}
    save_file({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "wrapped.safetensors")
    backbone = build_backbone("squeezenet1_1", 32)
    load_library_tensors(backbone, load_file(tmp_path / "wrapped.safetensors"))
    assert all(torch.equal(backbone.body.state_dict()[name], tensor) for name, tensor in body.state_dict().items())
    for name, new in (("zip.pth", True), ("old.pt", False)):
        torch.save({"state_dict": tensors}, tmp_path / name, _use_new_zipfile_serialization=new)
        settings = {**TINY, "pretrained": str(tmp_path / name)}
        with pytest.raises(DataError, match="not a safetensors file") as caught:
            facetell.fit("finetune", faces.path, tmp_path / "detector", settings=settings)
        assert caught.value.hint
        command = shlex.split(caught.value.hint[caught.value.hint.index("python -c") :])
        subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
        made = load_file(tmp_path / f"{Path(name).stem}.safetensors")
        assert all(torch.equal(made[key], tensor) for key, tensor in tensors.items())
    assert not (tmp_path / "detector.partial").exists()


def test_a_fit_that_fails_at_once_leaves_nothing(faces: FaceSet, tmp_path: Path) -> None:
    settings = {**TINY, "lr": 1e20, "epochs": 1}
    with pytest.raises(FacetellError):
        facetell.fit("finetune", faces.path, tmp_path / "detector", settings=settings)
    assert list(tmp_path.iterdir()) == []


def test_all_names_that_are_as_close_are_said() -> None:
    with pytest.raises(SettingsError, match="did you mean 'squeezenet1_0' or 'squeezenet1_1'"):
        build_backbone("squeezenet", 32)
