"""What frozen features cost: ``python benchmarks/classical.py [--part extraction|grid|triplets] [--json F]``.

``extraction``: features of a decoded face set, read from the cache and written to it, against the bare forward pass of
the same network on tensors already in memory, in turns; ratio of medians. ``grid``: three extractors × four
classifiers on one face set with features extracted once, against extracting for every model. ``triplets``: forward and
backward pass of all valid triplets of 512 embeddings, ours against the (512, 512, 512) tensor, time and memory, each in
a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline import write_pictures

SIZE = 64
EXTRACTORS = ("squeezenet1_0", "resnet18", "mobilenetv3_large_100")
CLASSIFIERS = {
    "logistic": "C=0.01",
    "svc-linear": "C=0.001",
    "forest": "trees=100;depth=8;leaf=1",
    "xgboost": "trees=100;depth=3;rate=0.1;columns=0.1",
}
"""Each with one point of its grid: a whole grid takes longer, and what caching saves is then a smaller part."""
TRIPLETS = """
import sys, time, torch
from facetell.benching.cell import peak_memory
from facetell.training.triplets import squared_distances, triplet_loss

def cube(x, labels, margin):
    d = squared_distances(x, x)
    same = labels[:, None] == labels[None, :]
    valid = (same & ~torch.eye(len(x), dtype=torch.bool))[:, :, None] & ~same[:, None, :]
    return (d[:, :, None] - d[:, None, :] + margin).relu()[valid].sum() / valid.sum()

loss = {"ours": lambda x, y: triplet_loss(x, y, 0.8), "tensor": lambda x, y: cube(x, y, 0.8)}[sys.argv[1]]
x = torch.nn.functional.normalize(torch.randn(512, 128, generator=torch.Generator().manual_seed(0))).requires_grad_()
y = torch.arange(512) % 2
loss(x[:16], y[:16]).backward()
before, times = peak_memory(), []
for _ in range(7):
    began = time.perf_counter()
    value = loss(x, y)
    value.backward()
    times.append(time.perf_counter() - began)
print(float(value), sorted(times)[3], peak_memory() - before)
"""


def extraction(folder: Path, faces: Any) -> dict[str, Any]:
    """Ratio of whole extraction to the bare forward pass."""
    import numpy as np
    import torch

    from facetell.allocator import tune_allocator
    from facetell.faceset.samples import samples_of
    from facetell.networks.acceleration import fast_inference
    from facetell.networks.backbones import build_backbone
    from facetell.training import vectors
    from facetell.training.fabric import make_fabric

    tune_allocator()
    samples = samples_of(faces, "train", SIZE)
    fabric = make_fabric("32-true")
    results = {}
    for name in EXTRACTORS:
        backbone = build_backbone(name, SIZE).eval()
        bare = fast_inference(vectors._Vectors(backbone), SIZE)
        batch = torch.rand(vectors.BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
        whole, alone = [], []
        for turn in range(5):
            with torch.no_grad():
                backbone.mean += 1e-6  # another key, or the cache would answer
                began = time.perf_counter()
                vectors.extract(backbone, samples, fabric)
                whole.append(len(samples) / (time.perf_counter() - began))
                steps = int(np.ceil(len(samples) / vectors.BATCH))
                began = time.perf_counter()
                for _ in range(steps):
                    bare(batch)
                alone.append(steps * vectors.BATCH / (time.perf_counter() - began))
            if turn == 0:
                whole.clear()
                alone.clear()
        middle, floor = statistics.median(whole), statistics.median(alone)
        results[name] = {"whole images/s": middle, "bare images/s": floor, "ratio": middle / floor}
    return results


def grid(folder: Path, faces: Any) -> dict[str, Any]:
    """Seconds of the twelve models (fit and evaluate), and what extracting for each of them would have cost."""
    import facetell

    times: dict[str, dict[str, float]] = {}
    for extractor in EXTRACTORS:
        times[extractor] = {}
        start = folder / f"start-{extractor}"
        facetell.fit(
            "finetune", faces.path, start, shots=8, settings={"backbone": extractor, "pretrained": "none", "epochs": 1}
        )
        for classifier, point in CLASSIFIERS.items():
            out = folder / f"{extractor}-{classifier}"
            began = time.perf_counter()
            facetell.fit(
                "features",
                faces.path,
                out,
                settings={"pretrained": str(start), "classifier": classifier, "grid": point, "size": SIZE},
            )
            facetell.evaluate(
                out, faces.path, folder / f"report-{extractor}-{classifier}", split="validation", device="cpu"
            )
            times[extractor][classifier] = time.perf_counter() - began
        began = time.perf_counter()
        for path in (folder / "cache").glob("vectors-*.npy"):
            path.unlink()
        facetell.evaluate(out, faces.path, folder / f"again-{extractor}", split="train", device="cpu")
        cold = time.perf_counter() - began
        began = time.perf_counter()
        facetell.evaluate(out, faces.path, folder / f"warm-{extractor}", split="train", device="cpu")
        times[extractor]["extraction"] = cold - (time.perf_counter() - began)
    once = sum(sum(each.values()) - each["extraction"] for each in times.values())
    extractions = sum(each["extraction"] for each in times.values())
    every = once + extractions * (len(CLASSIFIERS) - 1)
    return {"seconds": times, "cached s": once, "extracting for every model s": every, "ratio": every / once}


def triplets() -> dict[str, Any]:
    """Time and memory of one forward and backward pass, ours and with the tensor of all triplets."""
    results: dict[str, Any] = {}
    for way in ("ours", "tensor"):
        ran = subprocess.run([sys.executable, "-c", TRIPLETS, way], capture_output=True, text=True, check=True)
        loss, seconds, grown = map(float, ran.stdout.split())
        results[way] = {"loss": loss, "ms": 1e3 * seconds, "MiB": grown / 2**20}
    results["B×B×B float32 MiB"] = 512**3 * 4 / 2**20
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("extraction", "grid", "triplets"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["FACETELL_CACHE"] = str(folder / "cache")
        from facetell.ingest.prepare import prepare

        faces = prepare(write_pictures(folder / "pictures", 3000), folder / "faces")
        for part, work in (("extraction", extraction), ("grid", grid)):
            if arguments.part in (None, part):
                results[part] = work(folder, faces)
    if arguments.part in (None, "triplets"):
        results["triplets"] = triplets()
    text = json.dumps(results, indent=2, ensure_ascii=False)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
