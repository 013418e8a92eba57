"""Faces/s of a detector by engine, batch and threads: ``python benchmarks/runtimes.py DETECTOR``.

Of processor time and by the clock, medians of three rounds; the first is the steadier figure on a shared machine. What the
engines say is compared by `parity.py`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import facetell
from facetell.detector.bundle import located, read_bundle
from facetell.detector.runtimes.onnx import runtime_of
from facetell.detector.weights import model_bytes


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
    parser.add_argument("detector")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    batches(asked.detector)


if __name__ == "__main__":
    main()
