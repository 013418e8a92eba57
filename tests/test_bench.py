"""A bench: the file is read strictly, cells are done once, failures are rows, and the table says what was measured."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from toy import toy_source

import facetell
from facetell.benching.cell import peak_memory
from facetell.benching.run import _Queue
from facetell.benching.spec import read_spec, shipped_specs
from facetell.errors import SettingsError, UsageError
from facetell.evaluation.metrics import auroc
from facetell.evaluation.predictions import read_predictions
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare

TINY = 'settings = { backbone = "squeezenet1_1", pretrained = "none", size = 32, batch_size = 16, epochs = 1, averaging = 0.9 }'
SPEC = f"""
title = "Toys"
about = "Checkerboards."
seeds = [0, 1]
[facesets.toys]
[facesets.gone]
[defaults]
faceset = "toys"
[[rows]]
name = "baseline"
method = "finetune"
seeds = [0]
{TINY}
[[rows]]
name = "again"
method = "finetune"
start = "baseline"
split = "finetune"
shots = [4, 8]
control = "baseline"
{TINY.replace('pretrained = "none"', "lr = 0.001")}
[[rows]]
name = "untouched"
start = "baseline"
seeds = [0]
[[rows]]
name = "elsewhere"
method = "finetune"
faceset = "gone"
{TINY}
[[rows]]
name = "too large a rate"
method = "finetune"
seeds = [0]
{TINY.replace("epochs = 1", "epochs = 1, lr = 1e20")}
[[paper]]
row = "again"
where = {{ shots = 8 }}
source = "Table 9"
auroc = 0.987
recall = 0.5
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A cell takes one thread, as everything here does: more of them, with other tests beside, wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facetell.benching.run.usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bench")
    toy_source(root / "toys")
    (root / "toys.toml").write_text(SPEC)
    return root


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict]:
    table = facetell.bench(folder / "toys.toml", folder / "out", data=folder, jobs=1)
    return {f"{line['row']} {line['axes'].get('shots', '')}".strip(): line for line in table.lines}


@pytest.mark.slow
def test_every_row_is_in_the_table(found: dict[str, dict], folder: Path) -> None:
    assert list(found) == ["baseline", "again 4", "again 8", "untouched", "too large a rate", "elsewhere"]
    assert found["again 4"]["seeds"] == [0, 1]
    assert found["again 8"]["paper"] == {"source": "Table 9", "auroc": 0.987, "recall": 0.5}
    page = (folder / "out" / "bench.md").read_text()
    assert " / 0.987" in page
    assert "Table 9" in page
    assert "n = 24 faces" in page
    for line in found.values():
        if line["seeds"]:
            assert 1e7 < line["peak_bytes"] < 1e11


@pytest.mark.slow
def test_numbers_are_those_of_the_predictions(found: dict[str, dict], folder: Path) -> None:
    tables = [
        read_predictions(path / "report-0" / "predictions.parquet")
        for path in sorted((folder / "out" / "cells").glob("again-shots-8*"))
    ]
    values = [auroc(table["label"], table["logit"]) for table in tables]
    line = found["again 8"]
    assert line["auroc"]["each"] == pytest.approx(values)
    assert line["auroc"]["mean"] == pytest.approx(np.mean(values))
    assert line["auroc"]["sd"] == pytest.approx(np.std(values, ddof=1))
    control = line["control"]
    assert control["difference"] == pytest.approx(line["auroc"]["mean"] - found["baseline"]["auroc"]["mean"])
    assert control["low"] <= control["difference"] <= control["high"]
    assert found["untouched"]["auroc"]["mean"] == found["baseline"]["auroc"]["mean"]


@pytest.mark.slow
def test_failures_are_rows_with_their_reason(found: dict[str, dict], folder: Path) -> None:
    assert "does not exist" in found["elsewhere"]["failed"][0]
    assert "loss" in found["too large a rate"]["failed"][0]
    page = (folder / "out" / "bench.md").read_text()
    assert "the loss is" in page


@pytest.mark.slow
def test_a_second_run_computes_nothing(found: dict[str, dict], folder: Path) -> None:
    def stamps() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (folder / "out" / "cells").rglob("result.json")}

    before = stamps()
    assert len(before) == 6
    (folder / "renamed.toml").write_text(
        SPEC.replace('name = "again"', 'name = "anew"').replace('row = "again"', 'row = "anew"')
    )
    again = facetell.bench(folder / "renamed.toml", folder / "out", data=folder, jobs=1)
    assert stamps() == before
    assert [line.get("auroc") for line in again.lines] == [line.get("auroc") for line in found.values()]


@pytest.mark.slow
def test_a_killed_bench_goes_on(folder: Path, tmp_path: Path) -> None:
    spec = tmp_path / "one.toml"
    spec.write_text(
        '[facesets.toys]\n[[rows]]\nname = "one"\nmethod = "finetune"\nfaceset = "toys"\n'
        + TINY.replace("= 1,", "= 10,")
    )
    command = [
        sys.executable,
        "-c",
        "from facetell.benching import run; run.usable_cores = lambda: 1; from facetell.cli.main import main; main()",
        "bench",
        str(spec),
        "-o",
        str(tmp_path / "out"),
        "--data",
        str(folder),
    ]
    process = subprocess.Popen([*command, "--jobs", "1"], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not list(tmp_path.rglob("checkpoint.safetensors")) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert list(tmp_path.rglob("checkpoint.safetensors"))
    assert not list(tmp_path.rglob("result.json"))
    table = facetell.bench(spec, tmp_path / "out", data=folder, jobs=1)
    line = table.lines[0]
    assert line["seeds"] == [0]
    assert line["fit_seconds"] is None  # not the time of a whole fit, so none is claimed
    whole = facetell.bench(spec, tmp_path / "whole", data=folder, jobs=1).lines[0]
    assert whole["fit_seconds"] > 0
    assert line["auroc"]["each"] == whole["auroc"]["each"]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('name = "again"', 'name = "baseline"'), "name of its own"),
        (('start = "baseline"\nsplit', 'start = "basline"\nsplit'), "did you mean 'baseline'"),
        (("epochs = 1", "epoch = 1"), "did you mean 'epochs'"),
        (("[[paper]]", "[[papers]]"), "unknown key 'papers'"),
        (('faceset = "gone"', 'faceset = "toy"'), "unknown face set 'toy'"),
        (("shots = 8", "shots = 9"), "no cell of row"),
        (('control = "baseline"', 'control = "none"'), "no row 'none'"),
        (('split = "finetune"', 'split = "finetunes"'), "unknown split"),
        (("auroc = 0.987", "auc = 0.987"), "unknown key 'auc'"),
    ],
)
def test_a_wrong_file_is_refused_before_any_work(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in SPEC
    with pytest.raises(SettingsError) as raised:
        read_spec(write(tmp_path, SPEC.replace(*change)))
    assert said in str(raised.value)


def test_lists_are_axes(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path, SPEC))
    again = spec.of("again")
    assert [(dict(cell.axes), cell.seed) for cell in again] == [
        ({"shots": 4}, 0), ({"shots": 4}, 1), ({"shots": 8}, 0), ({"shots": 8}, 1),
    ]  # fmt: skip
    assert {cell.start for cell in again} == set(spec.of("baseline"))


REST = Path(__file__).parents[1] / "benchmarks" / "few-shot.toml"


@pytest.mark.parametrize("name", [*shipped_specs(), REST])
def test_specs_that_come_along_are_whole(name: str | Path) -> None:
    spec = read_spec(name)
    assert spec.cells
    assert spec.about
    assert all(dict(row.where) is not None and row.metrics for row in spec.paper)


def test_papers_numbers_are_theirs() -> None:
    """Spot checks against the papers' tables."""
    fdftnet = {(row.row, *row.where.values()): row.metrics for row in read_spec("fdftnet").paper}
    assert fdftnet["FDFtNet as published, N = 4", "deepfake", "xception"] == {"accuracy": 0.9702, "auroc": 0.9937}
    assert fdftnet["baseline", "face2face", "resnetv2_50"] == {"accuracy": 0.5883, "auroc": 0.6247}
    assert fdftnet["FDFtNet as published, N = 2", "pggan", "xception"] == {"accuracy": 0.9029, "auroc": 0.9598}
    assert len(fdftnet) == 25
    features = {tuple(row.where.values()): row.metrics for row in read_spec("features").paper}
    assert features["convnext_base.fb_in1k", "svc-linear"] == {"auroc": 0.9169, "recall": 0.7442}
    assert features["deit_base_patch16_224.fb_in1k", "forest"] == {"auroc": 0.7339, "recall": 0.4483}


@pytest.mark.slow
@pytest.mark.usefixtures("found")
def test_an_interval_that_is_not_known_is_a_dash(folder: Path, tmp_path: Path) -> None:
    """As where all faces of a test are of one group: no interval of anything."""
    copy = tmp_path / "out"
    shutil.copytree(folder / "out", copy)
    for path in copy.glob("cells/*/report-*/report.json"):
        report = json.loads(path.read_text())
        report["metrics"]["auroc"] |= {"low": None, "high": None}
        path.write_text(json.dumps(report))
    table = facetell.bench(folder / "toys.toml", copy, data=folder, jobs=1)
    assert [line["interval"] for line in table.lines if line["seeds"]] == [[None, None]] * 4
    page = (copy / "bench.md").read_text()
    assert "| – |" in page
    assert "0.000–" not in page


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is no bench"):
        facetell.bench(write(tmp_path, SPEC), tmp_path / "mine", data=tmp_path)


@pytest.mark.slow
def test_peak_memory_is_of_this_process() -> None:
    script = (
        "import numpy as np; from facetell.benching.cell import peak_memory as p; a = p(); "
        "x = np.ones(50_000_000); print(p() - a)"
    )
    grown = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert 350e6 < grown < 480e6
    assert peak_memory() > 1e7


def test_no_such_file_names_those_that_come_along() -> None:
    with pytest.raises(SettingsError) as raised:
        read_spec("fdfnet")
    assert "did you mean 'fdftnet'" in str(raised.value)
    assert "cffn" in str(raised.value.hint)


def test_json_is_plain(folder: Path, found: dict[str, dict]) -> None:
    assert json.loads((folder / "out" / "bench.json").read_text())["format"] == "facetell-bench"


def test_a_detector_to_begin_with_is_known_by_its_content(folder: Path, fitted: Path, tmp_path: Path) -> None:
    """Another one in the same place begins another cell."""
    copied = Path(shutil.copytree(fitted, tmp_path / "first"))
    text = SPEC[: SPEC.index("[[rows]]")] + f'[[rows]]\nname = "a"\nmethod = "finetune"\nseeds = [0]\n{TINY}\n'
    (tmp_path / "plan.toml").write_text(text.replace('pretrained = "none"', f'pretrained = "{copied}"'))
    faces = {"toys": FaceSet.open(prepare(folder / "toys", tmp_path / "faces").path), "gone": "gone"}

    def key() -> str:
        (only,) = _Queue(read_spec(tmp_path / "plan.toml"), faces, folder, tmp_path / "out", 1).keys.values()
        return only

    before = key()
    assert key() == before
    text = (copied / "detector.json").read_text()
    (copied / "detector.json").write_text(text + " ")
    assert key() != before
