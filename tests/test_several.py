"""Several face sets: joined on disk, learned from together, every source as often as the others."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_folder, write_picture
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

import facetell
from facetell.benching.spec import read_spec
from facetell.cli.main import main
from facetell.errors import DataError, LeakError, SettingsError, UsageError
from facetell.evaluation.metrics import auroc, confusion
from facetell.evaluation.predictions import read_predictions
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare
from facetell.training.batches import balanced_order
from facetell.training.classifiers import CLASSIFIERS, balanced_weights, source_weights
from facetell.training.search import Search


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
@pytest.mark.parametrize("method", ["finetune", "features", "siamese"])
def test_a_fit_on_two_sets_is_one_on_the_joined_set_with_sources_balanced(
    method: str, tmp_path: Path, cache: Path
) -> None:
    swaps, gans = two_sets(tmp_path)
    settings = {"pretrained": "none", "size": 32}
    settings |= {"classifier": "forest", "grid": "trees=3"} if method == "features" else {"epochs": 1, "batch_size": 8}
    settings |= {"backbone": "squeezenet1_1"} if method != "siamese" else {"pair_epochs": 0, "backbone": "cffn_icip"}
    both = facetell.fit(method, [swaps.path, gans], tmp_path / "both", settings=settings, device="cpu")
    joined = facetell.join([swaps, gans], tmp_path / "all")
    balanced = {**settings, "balance": "sources"}
    alone = facetell.fit(method, joined, tmp_path / "alone", settings=balanced, device="cpu")
    plain = facetell.fit(method, joined, tmp_path / "plain", settings=settings, device="cpu")
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


def uneven() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, labels, sources: two sources of each label, of 60 and of 15 rows, that differ in what tells them."""
    rng = np.random.default_rng(0)
    labels, sources = (
        np.repeat([0, 1, 0, 1], [60, 60, 15, 15]).astype(np.int8),
        np.repeat([0, 1, 2, 3], [60, 60, 15, 15]),
    )
    vectors = rng.normal(size=(150, 3))
    vectors[:, 0] += labels * (sources < 2)
    vectors[:, 1] += labels * (sources >= 2) * 2
    return vectors.astype(np.float32), labels, sources


def test_weights_of_sources_are_scikit_learns_balanced_ones() -> None:
    vectors, labels, sources = uneven()
    weights = source_weights(labels, sources)
    np.testing.assert_allclose(weights * balanced_weights(labels), compute_sample_weight("balanced", sources))
    order = np.random.default_rng(1).permutation(150)
    search = Search(CLASSIFIERS["logistic"], vectors[order], labels[order], [], 0, False, sources[order])
    head = search.fit({"C": 1.0}, np.arange(150))
    theirs = LogisticRegression(max_iter=5000).fit(
        vectors.astype(np.float64), labels, sample_weight=compute_sample_weight("balanced", sources)
    )
    np.testing.assert_allclose(head.weight.numpy(), theirs.coef_[0], atol=1e-3)


def test_scores_of_the_search_count_every_source_alike() -> None:
    """As if the rows of the small sources were there four times."""
    vectors, labels, sources = uneven()
    everything = np.arange(150)
    plain = Search(CLASSIFIERS["logistic"], vectors, labels, [(everything, everything)] * 2, 0, True)
    found = replace(plain, sources=sources).run({"C": (1.0,)}, lambda _: None)[0]
    repeated = np.repeat(everything, np.where(sources < 2, 1, 4))
    logits = replace(plain, sources=sources).fit({"C": 1.0}, everything)(torch.from_numpy(vectors[repeated])).numpy()
    assert found.auroc == pytest.approx(auroc(labels[repeated], logits))
    assert found.f1 == pytest.approx(confusion(labels[repeated], logits, 0.0).f1)
    assert found.auroc != pytest.approx(plain.run({"C": (1.0,)}, lambda _: None)[0].auroc, abs=1e-4)


BENCH = """
[facesets.swaps]
path = "swaps-faces"
[facesets.gans]
path = "gans-faces"
[[rows]]
name = "forest"
method = "features"
faceset = "swaps + gans"
test = ["swaps+gans", "gans"]
settings = { backbone = "resnet10t", pretrained = "none", size = 32, classifier = "forest", grid = "trees=3" }
[[rows]]
name = "uneven"
method = "features"
faceset = "swaps + gans"
settings = { size = 32, balance = "none" }
"""


def test_a_bench_names_several_face_sets(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(BENCH)
    cells = read_spec(tmp_path / "b.toml").cells
    assert [(cell.faceset, cell.settings["balance"]) for cell in cells] == [
        ("swaps+gans", "sources"), ("swaps+gans", "none"),
    ]  # fmt: skip
    assert [cell.tests for cell in cells] == [
        (("swaps+gans", "test"), ("gans", "test")), (("swaps+gans", "test"),),
    ]  # fmt: skip
    for wrong, said in (("swaps + gnas", "unknown face set 'gnas'; did you mean 'gans'"), ("gans+gans", "gans twice")):
        (tmp_path / "b.toml").write_text(BENCH.replace("swaps + gans", wrong))
        with pytest.raises(SettingsError, match=said):
            read_spec(tmp_path / "b.toml")


@pytest.mark.fits
def test_a_bench_shows_every_source_and_the_worst_first(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facetell.benching.run.usable_cores", lambda: 1)  # with more, threads wait for each other
    two_sets(tmp_path)
    (tmp_path / "b.toml").write_text(BENCH[: BENCH.index('[[rows]]\nname = "uneven"')])
    result = facetell.bench(tmp_path / "b.toml", tmp_path / "out", data=tmp_path, jobs=1)
    both, alone = result.lines
    assert (both["failed"], alone["sources"]) == ({}, [])  # one fake source is the row itself
    report = next((tmp_path / "out" / "cells").glob("*/report-0"))
    table = read_predictions(report / "predictions.parquet")
    real, expected = table["label"] == 0, {}
    for tool in ("swaps-tool", "gans-tool"):
        rows = real | (table["source"] == tool)
        expected[tool] = auroc(table["label"][rows], table["logit"][rows])
    shown = [(one["source"], one["mean"]) for one in both["sources"] if one["metric"] == "auroc"]
    assert shown == [(tool, pytest.approx(expected[tool])) for tool in sorted(expected, key=expected.__getitem__)]
    page = (tmp_path / "out" / "bench.md").read_text()
    worst = min(expected, key=expected.__getitem__)
    assert f"{np.mean(list(expected.values())):.3f}: {worst} {expected[worst]:.3f}, " in page
    with (tmp_path / "out" / "bench.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["auroc_over_sources"]) == pytest.approx(np.mean(list(expected.values())))
    assert float(row[f"auroc_{worst}"]) == pytest.approx(expected[worst])
