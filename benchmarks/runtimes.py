"""What computes a detector, compared: torch, ONNX Runtime and OpenVINO, in single precision and in int8.

    python benchmarks/runtimes.py made OUT                      # fits every method briefly on drawn faces, into OUT
    python benchmarks/runtimes.py parity DETECTOR... [--faceset FACESET --split validation]
    python benchmarks/runtimes.py batches DETECTOR              # faces/s by batch and threads

``parity``: a row for each detector, runtime and precision: largest difference of a logit from torch's, and how many faces are
more than 0.001 · (1 + |logit|) apart; with a face set the difference of AUROC; faces/s of one thread; megabytes of what is read.
Rates are of processor time, which is the steadier figure on a shared machine; ``batches`` gives wall time beside it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import facetell
from facetell.detector.bundle import WEIGHTS, located, read_bundle
from facetell.detector.runtimes import openvino as by_openvino
from facetell.detector.runtimes.onnx import runtime_of
from facetell.detector.selftest import PARITY, difference
from facetell.detector.weights import model_bytes
from facetell.errors import FacetellError
from facetell.evaluation.metrics import auroc
from facetell.exporting.quantised import quantised
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet

Logits = NDArray[np.float32]
FITTED = {
    "finetune": {},
    "fdftnet": {"backbone": "xception"},
    "siamese": {"pair_epochs": 1},
    "depth": {"pretrained": "none", "size": 128},
    **{f"features {name}": {"classifier": name} for name in ("logistic", "svc-rbf", "forest", "xgboost")},
}
"""Methods with what is set beside their defaults; all from random weights, one epoch."""


def made(out: Path) -> None:
    """Fit every method on drawn faces."""
    from facetell.drawn.folder import write_drawn_faces

    pictures = out / "pictures"
    if not pictures.exists():
        write_drawn_faces(pictures, people=24, seed=0)
    faces = out / "faces"
    if not faces.exists():
        facetell.prepare(pictures, faces, faces="crops")
    for name, settings in FITTED.items():
        method = name.split()[0]
        known = {"pretrained": "none", "size": 64} | ({} if method == "features" else {"epochs": 1})
        if not (out / name).exists():
            facetell.fit(method, faces, out / name, settings=known | settings, device="cpu")
        print(name, flush=True)


def parity(detectors: list[str], faceset: Path | None, split: str) -> None:
    """Print the table."""
    print("| detector | runtime | precision | largest Δlogit | apart | ΔAUROC | faces/s | MB |\n" + "| --- " * 8 + "|")
    for name in detectors:
        path = located(name)
        crops, labels = _crops(path, faceset, split)
        expected, rate = _timed(facetell.Detector.load(path, "cpu", runtime="torch", threads=1).logits, crops)
        size = (path / WEIGHTS).stat().st_size / 1e6
        _row(path.name, "torch", "fp32", expected, expected, labels, rate, size)
        model = model_bytes(path, read_bundle(path))
        models = {"fp32": model}
        try:
            models["int8"] = quantised(model, crops[:: max(1, len(crops) // 128)])
        except FacetellError as error:
            print(f"| {path.name} | | int8 | {error.message} |")
        for precision, data in models.items():
            for runtime, opened in (("onnx", runtime_of), ("openvino", by_openvino.runtime_of)):
                found, rate = _timed(opened(data, path, crops.shape[1], 1).logits, crops)
                _row(path.name, runtime, precision, found, expected, labels, rate, len(data) / 1e6)


def _crops(path: Path, faceset: Path | None, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int8] | None]:
    size = read_bundle(path)["input"]["size"]
    if faceset is None:
        return np.random.default_rng(0).integers(0, 256, (64, size, size, 3), dtype=np.uint8), None
    samples = samples_of(FaceSet.open(faceset), split, size)
    return samples.images.gather(samples.rows), samples.labels


def _timed(logits: Callable[[NDArray[np.uint8]], Logits], crops: NDArray[np.uint8]) -> tuple[Logits, float]:
    logits(crops[:2])
    began = time.process_time()
    found = np.concatenate([logits(crops[at : at + 32]) for at in range(0, len(crops), 32)])
    return found, len(crops) / (time.process_time() - began)


def _row(
    name: str, runtime: str, precision: str, found: Logits, expected: Logits, labels: NDArray[np.int8] | None,
    rate: float, size: float,
) -> None:  # fmt: skip
    area = "–" if labels is None else f"{auroc(labels, found) - auroc(labels, expected):+.4f}"
    apart = int((difference(found, expected) > PARITY).sum())
    largest = float(np.abs(found - expected).max())
    print(
        f"| {name} | {runtime} | {precision} | {largest:.1e} | {apart} of {len(found)} | {area} | {rate:.1f} | {size:.1f} |",
        flush=True,
    )


def batches(name: str) -> None:
    """Print faces/s for a model in ONNX Runtime: batches on threads of its own, and faces alone on threads of ours."""
    import onnxruntime

    path = located(name)
    data, size = model_bytes(path, read_bundle(path)), read_bundle(path)["input"]["size"]
    crops = np.random.default_rng(0).integers(0, 256, (64, size, size, 3), dtype=np.uint8)
    print("| who has threads | threads | batch | faces/s | faces/s of processor time |\n" + "| --- " * 5 + "|")
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for batch in (1, 8, 32, 64):
            _rate(
                f"ONNX Runtime | {threads} | {batch}",
                crops,
                batch,
                lambda some: session.run(["logits"], {"crops": some}),
            )
        _rate(f"facetell | {threads} | 1", crops, 64, runtime_of(data, path, size, threads).logits)
    for threads in (1, 2):
        judge = facetell.Detector.load(path, "cpu", runtime="torch", threads=threads)
        for batch in (1, 32):
            _rate(f"torch | {threads} | {batch}", crops, batch, judge.logits)


def _rate(row: str, crops: NDArray[np.uint8], batch: int, compute: Callable[[NDArray[np.uint8]], object]) -> None:
    compute(crops[:batch])
    walls, rates = [], []
    for _ in range(3):
        began, spent = time.perf_counter(), time.process_time()
        for at in range(0, len(crops), batch):
            compute(crops[at : at + batch])
        walls.append(len(crops) / (time.perf_counter() - began))
        rates.append(len(crops) / (time.process_time() - spent))
    print(f"| {row} | {np.median(walls):.1f} | {np.median(rates):.1f} |", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("made", "parity", "batches"))
    parser.add_argument("names", nargs="+", help="detectors, or where those that are made go")
    parser.add_argument("--faceset", type=Path)
    parser.add_argument("--split", default="validation")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if asked.what == "made":
        made(Path(asked.names[0]))
    elif asked.what == "parity":
        parity(asked.names, asked.faceset, asked.split)
    else:
        batches(asked.names[0])


if __name__ == "__main__":
    main()
