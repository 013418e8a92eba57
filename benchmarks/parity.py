"""Every method, computed by every runtime in single precision and in int8: do they say the same, how quickly, how large.

    python benchmarks/parity.py DATA/dfdc DATA/stylegan -o OUT --weights FOLDER

The folders have an ``index.csv`` (path, label, group, source, split). Of the first, `TRAIN` faces are learned from, `VALIDATION`
choose points and give the ranges of int8, `JUDGED` of *test* are judged; of the second `NEW` are what experts learn. Fits are as
short as can be: what counts is that logits are the same, not that they are right. Detectors are written into OUT once, and
taken from there the next time.

Rows of a detector: largest difference of a logit from torch's, AUROC by torch and how far the others are off, faces/s of one
thread's processor time (median of rounds in which all take turns), megabytes of what is read. int8 is written by
`facetell export --int8`; *refused*: only as it was told to, for it costs more AUROC on the validation faces than is allowed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import facetell
from facetell.detector.bundle import read_bundle
from facetell.detector.description import MODEL, WEIGHTS
from facetell.detector.runtimes import openvino as by_openvino
from facetell.detector.runtimes.onnx import runtime_of
from facetell.detector.weights import model_bytes
from facetell.evaluation.metrics import auroc
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet

TRAIN, VALIDATION, JUDGED, NEW = 400, 300, 500, 300
ALLOWED = 0.003
"""AUROC that `facetell export --int8` may cost unless told otherwise."""
ROUNDS, TIMED = 3, 64

Logits = NDArray[np.float32]
Compute = Callable[[NDArray[np.uint8]], Logits]

LITE2 = {"backbone": "tf_efficientnet_lite2", "size": 128}
SHORT = {"epochs": 2}
FITTED: dict[str, tuple[str, dict[str, Any]]] = {
    "finetune, SqueezeNet": ("finetune", SHORT),
    "finetune, EfficientNet-Lite2, 128 px": ("finetune", LITE2 | SHORT),
    "finetune, ViT-Tiny": ("finetune", {"backbone": "vit_tiny_patch16_224", "pretrained": "none"} | SHORT),
    "fdftnet, SqueezeNet": ("fdftnet", SHORT),
    "fdftnet, Xception, N = 4": ("fdftnet", {"backbone": "xception", "pretrained": "none", "mb_blocks": 4} | SHORT),
    "siamese": ("siamese", {"pair_epochs": 1} | SHORT),
    "depth, EfficientNet-Lite2, 128 px": ("depth", LITE2 | {"epochs": 10}),
    **{
        f"features, {name}": ("features", {"classifier": name})
        for name in ("logistic", "svc-linear", "svc-rbf", "forest", "xgboost")
    },
}
"""What each row is fitted with; SqueezeNet at 64 pixels unless said."""
EXPERTS = ("finetune, SqueezeNet", "depth, EfficientNet-Lite2, 128 px")
"""To these `adapt` adds an expert on the new faces: to the first with a second backbone, to the second on its own."""


def main() -> None:
    """Fit what is not there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="folder with index.csv")
    parser.add_argument("new", type=Path, help="folder of another kind of fakes")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="folder with BACKBONE*.safetensors; default: the library's")
    parser.add_argument("--only", action="append", help="beginning of a row's name; may be repeated")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    faces = _face_set(asked.faces, asked.out / "faces", {"train": TRAIN, "validation": VALIDATION, "test": JUDGED})
    new = _face_set(asked.new, asked.out / "new", {"finetune": NEW})
    print("| detector | runtime | precision | largest Δlogit | AUROC | ΔAUROC | faces/s | MB |\n" + "| --- " * 8 + "|")
    names = [*FITTED, *(f"expert on {name}" for name in EXPERTS)]
    for name in [each for each in names if not asked.only or each.startswith(tuple(asked.only))]:
        compare(name, _detector(name, faces, new, asked.out, asked.weights), faces)


def _face_set(folder: Path, out: Path, wanted: dict[str, int]) -> Path:
    """Some faces of each split, real and fake alike, drawn with seed 0, as a face set."""
    if out.exists():
        return out
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row | {"path": str((folder / row["path"]).resolve())} for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    drawn = []
    for split, number in wanted.items():
        for label in ("real", "fake"):
            drawn += [row for row in rows if (row["split"], row["label"]) == (split, label)][: number // 2]
    index = out.with_suffix(".csv")
    with index.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(drawn[0]))
        table.writeheader()
        table.writerows(drawn)
    facetell.prepare(index, out, faces="crops")
    return out


def _detector(name: str, faces: Path, new: Path, out: Path, weights: Path | None) -> Path:
    """The detector of a row, fitted unless it is there."""
    path = out / name.replace(" ", "-").replace(",", "").replace("=", "")
    if path.exists():
        return path
    old = name.removeprefix("expert on ")
    method, settings = FITTED[old]
    known = {}
    if weights and method != "siamese" and "pretrained" not in settings:
        (file,) = weights.glob(f"{settings.get('backbone', 'squeezenet1_0')}*.safetensors")
        known = {"pretrained": str(file)}
    if old != name:
        before = _detector(old, faces, new, out, weights)
        facetell.remember(before, faces)
        second = known if method == "finetune" else {}  # another reads its own backbone
        facetell.adapt(before, path, fake=new, real=new, strategy="expert", device="cpu", margin=1.0, **second)
        return path
    facetell.fit(method, faces, path, settings=known | settings, device="cpu")
    return path


def compare(name: str, path: Path, faces: Path) -> None:
    """Print the rows of a detector."""
    description = read_bundle(path)
    size = description["input"]["size"]
    samples = samples_of(FaceSet.open(faces), "test", size)
    crops, model = samples.images.gather(samples.rows), model_bytes(path, description)
    folder = path.with_name(f"{path.name}-int8")
    if not folder.exists():
        facetell.export(path, folder, int8=True, faceset=faces, allow_loss=1.0)
    areas = json.loads((folder / "decision.json").read_text(encoding="utf-8"))["auroc"]
    int8 = "int8, refused" if areas["before"] - areas["after"] > ALLOWED else "int8"
    small = (folder / MODEL).read_bytes()
    weights = path / WEIGHTS
    torch = facetell.Detector.load(path, "cpu", runtime="torch", threads=1).logits
    rows: dict[tuple[str, str], tuple[Compute, int]] = {
        ("torch", "fp32"): (torch, weights.stat().st_size if weights.exists() else len(model))
    }
    for precision, data in (("fp32", model), (int8, small)):
        rows["ONNX Runtime", precision] = runtime_of(data, path, size, 1).logits, len(data)
        rows["OpenVINO", precision] = by_openvino.runtime_of(data, path, size, 1).logits, len(data)
    found = {row: compute(crops) for row, (compute, _) in rows.items()}
    times: dict[tuple[str, str], list[float]] = {row: [] for row in rows}
    for _ in range(ROUNDS):
        for row, (compute, _size) in rows.items():
            began = time.process_time()
            compute(crops[:TIMED])
            times[row].append(TIMED / (time.process_time() - began))
    expected = found["torch", "fp32"]
    area = auroc(samples.labels, expected)
    for row, (_, length) in rows.items():
        first = row == ("torch", "fp32")
        apart = "–" if first else f"{float(np.abs(found[row] - expected).max()):.1e}"
        other = "–" if first else f"{auroc(samples.labels, found[row]) - area:+.4f}"
        print(
            f"| {name if first else ''} | {row[0]} | {row[1]} | {apart} | {f'{area:.4f}' if first else ''} | {other} "
            f"| {statistics.median(times[row]):.0f} | {length / 1e6:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
