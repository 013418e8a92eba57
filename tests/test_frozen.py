"""A frozen backbone is computed once for each view of an image, and what is learned on its maps is what was learned before."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from toy import COUNTS, TINY

import facetell
from facetell.errors import DataError
from facetell.faceset.decoded import DecodedImages, decoded
from facetell.faceset.table import FaceSet
from facetell.methods import get_method
from facetell.networks.backbones import Backbone, build_backbone
from facetell.progress import Step
from facetell.settings import resolve
from facetell.training.augment import NO_AUGMENTATION, Augmentation
from facetell.training.batches import epoch_order
from facetell.training.feature_maps import BLOCK, FeatureMaps, Views
from facetell.training.half_precision import HalfRows

RANGES = Augmentation(translate=3.0, rotate=10.0, cutout_holes=1)
HEAD = {**TINY, "backbone": "resnet10t", "train": "head", "lr": 0.01}
FDFTNET = {**TINY, "backbone": "resnet10t", "train_backbone": False, "ftt_stages": 1, "ftt_width": 8, "features": 16}
CASES = [("finetune", HEAD), ("fdftnet", FDFTNET)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> DecodedImages:
    """150 pictures, more than two blocks."""
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (150, 32, 32, 3), dtype=np.uint8))
    return DecodedImages(path)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    made = build_backbone("resnet10t", 32)
    made.train()
    with torch.no_grad():
        made(torch.rand(16, 3, 32, 32))  # batch norms that are not at their start
    made.freeze()
    return made


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


Maker = Callable[..., FeatureMaps]


@pytest.fixture
def make(images: DecodedImages, backbone: Backbone, tmp_path: Path) -> Maker:
    def made(rows: Any = None, ranges: Augmentation = RANGES, views: int = 3, **more: Any) -> FeatureMaps:
        rows = np.arange(len(images)) if rows is None else rows
        return FeatureMaps(backbone, images, rows, Views(ranges, 5, views), fabric(), tmp_path, **more)

    return made


def test_maps_are_the_backbones_of_the_same_pixels(make: Maker, backbone: Backbone, images: DecodedImages) -> None:
    rows = np.array([149, 3, 3, 77, 20])
    turns = np.array([0, 1, 2, 4, 1])
    frozen = make()
    ((pixels, maps),) = frozen.batches(rows, turns, 8)
    with torch.no_grad():
        expected = backbone(pixels)
    torch.testing.assert_close(maps, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
    assert not torch.equal(pixels[1], pixels[2])  # the same image in two turns
    for each, row, turn in zip(pixels, rows, turns, strict=True):
        torch.testing.assert_close(each[None], frozen.pixels(np.array([row]), turn))
    ((still, _),) = make(ranges=NO_AUGMENTATION).batches(rows, 0, 8)
    np.testing.assert_array_equal(still.permute(0, 2, 3, 1).numpy(), images.gather(rows) / np.float32(255))


def test_every_image_is_seen_in_as_many_ways_as_there_are_views_in_turn(make: Maker) -> None:
    frozen = make(views=3)
    rows = np.array([5, 90])
    seen = torch.stack([frozen.pixels(rows, turn) for turn in range(9)])
    maps = torch.stack([frozen.maps(rows, turn) for turn in range(9)])
    for values in (seen, maps):
        for image in range(2):
            assert len({values[turn, image].numpy().tobytes() for turn in range(9)}) == 3
        assert torch.equal(values[:3], values[3:6])
        assert torch.equal(values[:3], values[6:])


def test_the_first_look_is_the_later_ones_whatever_was_asked_before(make: Maker) -> None:
    """What an uninterrupted run sees in epoch 5 is what one that was resumed there sees: equal bits, in any order."""
    rows = np.random.default_rng(1).permutation(150)
    first = make()
    early = torch.cat([maps for _, maps in first.batches(rows, 1, 32)])
    late = torch.cat([maps for _, maps in first.batches(rows, 4, 32)])
    other = rows[::-1].copy()
    resumed = torch.cat([maps for _, maps in make().batches(other, 4, 50)])
    assert torch.equal(early, late)
    assert torch.equal(early.flip(0), resumed)


def test_only_the_blocks_that_are_asked_for_are_made(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    write = HalfRows.write

    def counted(self: HalfRows, number: int, places: Any, values: Any) -> None:
        made.extend(places.tolist())
        write(self, number, places, values)

    monkeypatch.setattr(HalfRows, "write", counted)
    frozen = make(ranges=NO_AUGMENTATION)
    list(frozen.batches(np.arange(10, 20), 0, 4))
    assert made == list(range(BLOCK))
    list(frozen.batches(np.arange(20, 150), 0, 4))
    assert made == list(range(150))


def test_where_nobody_looks_at_pixels_none_are_warped(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = make(pixels=False)
    rows = np.arange(150)
    first = torch.cat([maps for _, maps in frozen.batches(rows, 0, 32)])
    monkeypatch.setattr(DecodedImages, "gather", lambda self, rows: pytest.fail("pixels were read"))
    again = [(images, maps) for images, maps in frozen.batches(rows, 3, 32)]
    assert all(images is maps for images, maps in again)
    assert torch.equal(first, torch.cat([maps for _, maps in again]))


def test_nothing_is_left_on_the_disk_and_a_full_one_is_said(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = make()
    frozen.maps(np.array([3]), 0)
    assert list(tmp_path.iterdir()) == []
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 2**28 + 10**6))
    need = 150 * 3 * 512 * 2 * 1 * 1  # rows, views, channels of the 1×1 map, bytes
    assert make().maps(np.array([3]), 0).shape == (1, 512, 1, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 2**28 + need - 1))
    with pytest.raises(DataError, match="keeping 3 × 150 maps needs 0.0 GB") as caught:
        make().maps(np.array([3]), 0)
    assert caught.value.hint
    assert "views=0" in caught.value.hint


def test_a_disk_that_fills_up_meanwhile_is_said(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(DataError, match="No space left"):
        make().maps(np.array([3]), 0)


def test_half_rows_come_back_in_any_order(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3, 2)).astype(np.float16)
    kept = HalfRows(tmp_path, 20, (3, 2), 2, "")
    for places in (np.array([0, 1, 2, 9]), np.array([3, 5, 6, 7, 8]), np.array([4, *range(10, 20)])):
        kept.write(1, places, rows[places])
    asked = np.array([19, 0, 4, 5, 6, 6, 2, 1])
    np.testing.assert_array_equal(kept.read(1, asked), rows[asked])
    kept.write(0, np.array([2]), rows[[2]])
    with pytest.raises(IndexError):
        kept.read(0, np.array([3]))


def test_processes_that_keep_to_their_own_rows_see_them_all() -> None:
    n, world = 11, 3
    of_rank = [[epoch_order(n, 7, epoch, rank, world, apart=True) for epoch in range(3)] for rank in range(world)]
    for orders in of_rank:
        assert {len(order) for order in orders} == {4}
        assert len({tuple(sorted(order.tolist())) for order in orders}) == 1
        assert len({tuple(order.tolist()) for order in orders}) > 1
    assert set(np.concatenate([orders[0] for orders in of_rank]).tolist()) == set(range(n))
    np.testing.assert_array_equal(epoch_order(n, 7, 2, apart=True), epoch_order(n, 7, 2))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "training.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "settings"), CASES)
def test_the_body_is_computed_in_the_first_rounds_alone(
    method: str, settings: dict[str, object], faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By epoch: images that went through the body of the backbone, or of a copy of it."""
    seen: Counter[int] = Counter()
    epoch = 1
    real = Backbone.forward

    def counted(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        if self._given is None and len(images) > 2:  # two: the trial of a folded copy
            seen[epoch] += len(images)
        return real(self, images)

    def after(step: Step) -> None:
        nonlocal epoch
        if step.what == "epoch":
            epoch = step.done + 1

    monkeypatch.setattr(Backbone, "forward", counted)
    train, validation = 2 * COUNTS["train"], 2 * COUNTS["validation"]
    for views, expected in ((2, [train + validation, train, 0, 0, 0]), (0, [train + validation] * 5)):
        seen.clear()
        epoch = 1
        out = tmp_path / f"views-{views}"
        facetell.fit(
            method, faces.path, out, settings={**settings, "epochs": 5, "views": views}, progress=after
        )  # fmt: skip
        assert [seen[number] for number in range(1, 6)] == expected
        assert seen[6]  # the detector's own validation at the end is computed anew


@pytest.mark.slow
@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize(("method", "settings"), CASES)
def test_without_augmentation_maps_change_nothing_but_the_rounding(
    method: str, settings: dict[str, object], averaging: float, faces: FaceSet, tmp_path: Path
) -> None:
    still = {"flip": False, "translate": 0.0, "zoom": 0.0, "rotate": 0.0, "averaging": averaging}
    still |= {"lr": 0.01, "precision": "32-true"}
    tables = {}
    for views in (0, 4):
        out = tmp_path / f"views-{views}"
        facetell.fit(method, faces.path, out, settings={**settings, **still, "epochs": 4, "views": views})
        tables[views] = rows_of(out)
    for column in ("loss", "validation_loss"):
        fresh, kept = ([float(row[column]) for row in tables[views]] for views in (0, 4))
        assert kept == pytest.approx(fresh, abs=2e-3)
        assert fresh[0] - fresh[-1] > 0.02  # it learned something


class _StopError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(("method", "settings", "stops"), [("finetune", HEAD, (1, 4)), ("fdftnet", FDFTNET, (3,))])
def test_a_resumed_run_ends_with_the_same_bits(
    method: str, settings: dict[str, object], stops: tuple[int, ...], faces: FaceSet, tmp_path: Path
) -> None:
    """Stopped in the first round of the views and in a later one; an epoch has two passes, each with its own view."""
    settings = {**settings, "epochs": 5, "views": 3, "epoch_images": 70}
    facetell.fit(method, faces.path, tmp_path / "whole", settings=settings, seed=1)

    for stop_at in stops:

        def stop(step: Step, stop_at: int = stop_at) -> None:
            if step.what == "epoch" and step.done == stop_at:
                raise _StopError

        cut = tmp_path / f"cut-{stop_at}"
        with pytest.raises(_StopError):
            facetell.fit(method, faces.path, cut, settings=settings, seed=1, progress=stop)
        facetell.fit(method, faces.path, cut, settings=settings, seed=1, resume=True)
        for name in ("metrics.json", "weights.safetensors", "selftest.safetensors"):
            assert (tmp_path / "whole" / name).read_bytes() == (cut / name).read_bytes()


UNDER_TORCHRUN = """
import os, sys, facetell
from facetell.networks.backbones import Backbone
real, seen = Backbone.forward, []
def counted(self, images):
    if self._given is None and len(images) > 2:
        seen.append(len(images))
    return real(self, images)
Backbone.forward = counted
def after(step):
    if step.what == "epoch":
        open(sys.argv[3] + os.environ["RANK"], "w").write(str(sum(seen)))
facetell.fit("fdftnet", sys.argv[1], sys.argv[2], settings=SETTINGS, progress=after)
"""


@pytest.mark.slow
def test_every_process_of_torchrun_computes_its_own_rows(faces: FaceSet, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNDER_TORCHRUN.replace("SETTINGS", repr({**FDFTNET, "epochs": 2, "views": 2})))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    arguments = [str(faces.path), str(tmp_path / "detector"), str(tmp_path / "computed-")]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = 2 * COUNTS["train"] + 2 * COUNTS["validation"]  # a half in each of two views; validation is one block
    assert [(tmp_path / f"computed-{rank}").read_text() for rank in (0, 1)] == [str(expected)] * 2
    assert facetell.verify(tmp_path / "detector").method == "fdftnet"
    assert len((tmp_path / "detector" / "training.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.slow
def test_a_backbone_that_learns_gets_no_maps(faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureMaps, "__init__", lambda *_, **__: pytest.fail("maps were made"))
    facetell.fit("finetune", faces.path, tmp_path / "all", settings={**TINY, "epochs": 1})
    settings = {**HEAD, "train": "last-block", "epochs": 1}
    facetell.fit("finetune", faces.path, tmp_path / "last-block", settings=settings)


def test_published_recipes_augment_anew() -> None:
    for name, preset in (
        ("finetune", "paper"),
        ("fdftnet", "paper"),
        ("finetune", "resnet50"),
        ("finetune", "progressive"),
    ):
        method = get_method(name)
        settings: Any = resolve(method.settings, method.presets[preset])
        assert settings.views == 0, preset


def test_a_filling_shows_itself(make: Maker) -> None:
    shown: list[Step] = []
    list(make(progress=shown.append).batches(np.arange(150), 1, 50))
    assert [(step.what, step.done, step.total, step.note) for step in shown] == [
        ("feature maps", i * BLOCK, 150, "view 2 of 3") for i in range(3)
    ]


def test_decoded_pictures_of_a_face_set_have_maps(faces: FaceSet, backbone: Backbone, tmp_path: Path) -> None:
    pictures = decoded(faces, "train", 32)
    rows = np.arange(1, 40, 3)
    frozen = FeatureMaps(backbone, pictures, rows, Views(), fabric(), tmp_path)
    with torch.no_grad():
        expected = backbone(torch.from_numpy(pictures.gather(rows)).permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(frozen.maps(rows, 17), expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
