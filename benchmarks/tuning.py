"""What each ``train`` of ``finetune`` learns, costs and brings: ``python benchmarks/tuning.py [FACESET] --weights FILE``.

A row for each ``train`` and size: parameters that learn, processor seconds to learn from 1,000 faces once (median step on
noise, batch 32), and, with a face set, AUROC on *validation* and *test* for each seed after ``--epochs`` epochs on
``--shots`` faces a class of the split *finetune*. The whole table: ``--size 128 --size 192 --size 256 --seeds 3``.

Every finished row is a line of ``--rows``, and is not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

RATES = {"all": 6e-4, "last-block": 2e-3, "head": 3e-3, "norms": 2e-3, "lora": 2e-3, "svd": 2e-3}
"""Peak learning rates. Not chosen on data: where fewer numbers learn, each may move further."""
BATCH, STEPS = 32, 4


def speed(backbone: str, size: int, train: str) -> dict[str, float]:
    """Learning parameters, and processor seconds for 1,000 faces."""
    import numpy as np

    from facetell.faceset.decoded import DecodedImages
    from facetell.faceset.samples import Samples
    from facetell.methods.finetune import METHOD, Classifier, FinetuneSettings, begin
    from facetell.methods.method import Task
    from facetell.progress import Step

    settings = FinetuneSettings(
        backbone=backbone, pretrained="none", size=size, train=train, batch_size=BATCH, epochs=1, views=0
    )
    network = METHOD.build(settings)
    assert isinstance(network, Classifier)
    begin(network, train, settings)
    learning = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    marks: list[float] = []

    def mark(step: Step) -> None:
        if step.what == "training":
            marks.append(time.process_time())

    with tempfile.TemporaryDirectory() as name:
        noise = np.random.default_rng(0).integers(0, 256, (BATCH * STEPS + 4, size, size, 3), dtype=np.uint8)
        np.save(Path(name) / "noise.npy", noise)
        rows = np.arange(len(noise))
        images, labels = DecodedImages(Path(name) / "noise.npy"), (rows % 2).astype(np.int8)
        parts = [Samples(images, rows[part], labels[part], rows[part]) for part in (slice(4, None), slice(4))]
        assert METHOD.fit is not None
        METHOD.fit(settings, Task(*parts, 0, Path(name), progress=mark))
    taken = statistics.median(after - before for before, after in itertools.pairwise(marks))
    return {"learning": learning, "seconds": taken / BATCH * 1000, "n": len(marks) - 1}


def quality(faces: Path, size: int, train: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """AUROC on validation and test, with the number of faces of each."""
    import facetell

    settings: dict[str, Any] = {"backbone": options.backbone, "size": size, "train": train, "lr": RATES[train]}
    settings |= {"pretrained": str(options.weights), "epochs": options.epochs, "batch_size": BATCH}
    settings |= {"averaging": 0.98, "select": "last"}
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        detector = facetell.fit(
            "finetune",
            faces,
            Path(name) / "detector",
            split="finetune",
            shots=options.shots,
            seed=seed,
            settings=settings,
        )
        for split in ("validation", "test"):
            report = facetell.evaluate(detector, faces, split=split)
            found |= {split: report.metrics["auroc"].value, f"{split} n": report.counts["n"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="?", help="a face set; without one, only the cost is measured")
    parser.add_argument("--backbone", default="tf_efficientnet_lite2")
    parser.add_argument("--weights", type=Path, help="the backbone's, as a safetensors file")
    parser.add_argument("--size", type=int, action="append", help="pixels; may be repeated (128)")
    parser.add_argument("--train", choices=RATES, action="append", help="may be repeated (all)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shots", type=int, help="faces a class, instead of all")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=Path, default=Path("tuning.jsonl"), help="finished rows")
    options = parser.parse_args()
    if options.faces and not options.weights:
        parser.error("a face set needs --weights")
    lines = options.rows.read_text(encoding="utf-8").splitlines() if options.rows.exists() else []
    done = {(row["size"], row["train"], row["seed"]): row for row in map(json.loads, lines)}
    seeds = range(options.seeds) if options.faces else [None]
    keys = [(size, train, seed) for seed in seeds for size in options.size or [128] for train in options.train or RATES]
    print("| size | train | seed | parameters that learn | s per 1,000 faces | validation AUROC | test AUROC |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for key in keys:
        size, train, seed = key
        if key not in done:
            row: dict[str, Any] = {"size": size, "train": train, "seed": seed, **speed(options.backbone, size, train)}
            if seed is not None:
                row |= quality(options.faces, size, train, seed, options)
            done[key] = row
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        row = done[key]
        values = [
            f"{row[split]:.3f} (n = {row[f'{split} n']})" if split in row else "" for split in ("validation", "test")
        ]
        shown = [size, train, "" if seed is None else seed, f"{row['learning']:,}", f"{row['seconds']:.0f}", *values]
        print("| " + " | ".join(map(str, shown)) + " |", flush=True)


if __name__ == "__main__":
    main()
