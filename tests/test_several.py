"""Several face sets: joined on disk, learned from together, every source as often as the others."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_folder, write_picture

import facetell
from facetell.cli.main import main
from facetell.errors import DataError, LeakError, UsageError
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare
from facetell.training.batches import balanced_order


def two_sets(root: Path, per_label: int = 10) -> list[FaceSet]:
    """The second has four times as many pictures; their groups have the same names."""
    made = []
    for number, name in enumerate(("swaps", "gans")):
        count = per_label * (1 + 3 * number)
        lines = ["path,label,group,source,split"]
        for k in range(2 * count):
            split = ("train", "train", "validation", "test")[k // 2 % 4]
            write_picture(root / name / f"{k}.png", seed=5000 * number + k)
            lines.append(f"{k}.png,{('real', 'fake')[k % 2]},person{k // 2},{name}-{('photo', 'tool')[k % 2]},{split}")
        (root / name / "index.csv").write_text("\n".join(lines))
        made.append(prepare(root / name, root / f"{name}-faces"))
    return made


def rows(*facesets: FaceSet) -> Counter[tuple[object, ...]]:
    names = ["sha256", "label", "source", "split"]
    return Counter(tuple(row.values()) for faces in facesets for row in faces.columns(names).to_pylist())


def test_joined_rows_are_those_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swaps, gans = two_sets(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["join", str(swaps.path), str(tmp_path / "gans"), "-o", str(tmp_path / "all")])
    assert stop.value.code == 0
    assert f"{len(swaps) + len(gans):,} faces of 2 face sets" in capsys.readouterr().out
    joined = FaceSet.open(tmp_path / "all")
    joined.verify()
    assert rows(joined) == rows(swaps, gans)
    groups = {split: set(joined.columns(["group"], split)["group"].to_pylist()) for split in joined.splits}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())), "no group crosses a split"
    assert len(set().union(*groups.values())) == 10 + 40, "person0 of one set is not person0 of the other"
    assert not facetell.join([swaps, gans], tmp_path / "again").path.samefile(joined.path)
    assert not facetell.join([swaps, gans], tmp_path / "again").created
    with pytest.raises(DataError, match="another face set"):
        facetell.join([gans, swaps], tmp_path / "again")
    assert facetell.join([gans, swaps], tmp_path / "again", overwrite=True).created


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    faces = prepare(tiny_folder(tmp_path / "a"), tmp_path / "one")
    with pytest.raises(UsageError, match="nothing to join"):
        facetell.join([faces], tmp_path / "all")
    with pytest.raises(UsageError, match="given twice"):
        facetell.join([faces, tmp_path / "one"], tmp_path / "all")
    wrong = tmp_path / "wrong"
    for label, other in (("real", "fake"), ("fake", "real")):
        shutil.copytree(tmp_path / "a" / label, wrong / other)
    with pytest.raises(LeakError, match="the very same picture"):
        facetell.join([faces, wrong], tmp_path / "all")
    cut = prepare(tiny_folder(tmp_path / "b", 11), tmp_path / "two")
    cut.info["crop"] = {"geometry": {"margin": 2}, "rule": {}, "model_fingerprint": "0", "jpeg": None}
    with pytest.raises(DataError, match="not found and cut as those of one"):
        facetell.join([faces, cut], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.fits
def test_a_fit_on_two_sets_is_one_on_the_joined_set_with_sources_balanced(tmp_path: Path, cache: Path) -> None:
    swaps, gans = two_sets(tmp_path)
    settings = {"backbone": "resnet10t", "pretrained": "none", "size": 32, "epochs": 1, "batch_size": 8}
    both = facetell.fit("finetune", [swaps.path, gans], tmp_path / "both", settings=settings, device="cpu")
    joined = facetell.join([swaps, gans], tmp_path / "all")
    balanced = {**settings, "balance": "sources"}
    alone = facetell.fit("finetune", joined, tmp_path / "alone", settings=balanced, device="cpu")
    plain = facetell.fit("finetune", joined, tmp_path / "plain", settings=settings, device="cpu")
    assert both.description["settings"]["balance"] == "sources"
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("both", "alone", "plain")]
    assert weights[0] == weights[1] != weights[2]
    assert set(both.description["data"]["sources"]) == set(alone.description["data"]["sources"])
    assert plain.description["data"]["fingerprint"] == both.description["data"]["fingerprint"]


@pytest.mark.parametrize("world", [1, 2])
def test_sources_take_turns_and_each_is_walked_through(world: int) -> None:
    labels = np.array([0] * 30 + [1] * 50)
    sources = np.array([0] * 25 + [1] * 5 + [2] * 40 + [3] * 9 + [0])  # source 0 is in both labels
    visits = np.zeros(80, int)
    for epoch in range(6):
        orders = [balanced_order(labels, 3, epoch, rank, world, sources) for rank in range(world)]
        whole = np.concatenate(orders)
        np.testing.assert_array_equal(labels[orders[0]], np.arange(len(orders[0])) % 2)
        seen = Counter(zip(labels[whole].tolist(), sources[whole].tolist(), strict=True))
        assert all(abs(seen[0, source] - 20) <= 1 for source in (0, 1))
        assert all(abs(seen[1, source] - 40 / 3) <= 1 for source in (0, 2, 3))
        np.add.at(visits, whole, 1)
    for label, source in ((0, 0), (0, 1), (1, 2), (1, 3)):
        own = visits[(labels == label) & (sources == source)]
        assert own.max() - own.min() <= 1, "nobody is seen twice before all are"
