"""Training by several processes: ``torchrun`` over two gives the curve of one, and a run goes on with another number of them."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy import TINY

import facetell
from facetell.faceset.table import FaceSet

PLAIN = {**TINY, "batch_size": 20, "precision": "32-true", "flip": False, "translate": 0.0, "zoom": 0.0, "rotate": 0.0}
"""No batch statistics and nothing drawn but the order: what each process draws for its own faces cannot be the same."""
SCRIPT = """
import sys, facetell
def stop(step):
    if step.what == "epoch" and step.done == int(sys.argv[3]):
        raise SystemExit(9)
facetell.fit("finetune", sys.argv[1], sys.argv[2], settings=SETTINGS, seed=3, resume=len(sys.argv) > 4, progress=stop)
"""


def curve(folder: Path) -> list[list[float]]:
    with (folder / "training.csv").open(encoding="utf-8", newline="") as file:
        columns = ("epoch", "lr", "loss", "validation_loss", "validation_auroc")
        return [[float(row[name]) for name in columns] for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_processes_learn_as_one_does(faces: FaceSet, tmp_path: Path) -> None:
    facetell.fit("finetune", faces.path, tmp_path / "one", settings=PLAIN, seed=3, device="cpu")
    (script := tmp_path / "script.py").write_text(SCRIPT.replace("SETTINGS", repr(PLAIN)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def two(out: str, *more: str) -> int:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
        arguments = [str(faces.path), str(tmp_path / out), *more]
        return subprocess.run([*command, *arguments], env=environment, capture_output=True, check=False).returncode

    assert two("two", "99") == 0
    one = curve(tmp_path / "one")
    assert len(one) == PLAIN["epochs"]
    for found, expected in zip(curve(tmp_path / "two"), one, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)

    assert two("cut", "2") != 0
    facetell.fit("finetune", faces.path, tmp_path / "cut", settings=PLAIN, seed=3, device="cpu", resume=True)
    for found, expected in zip(curve(tmp_path / "cut"), one, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
