"""What each way to tune a backbone learns, costs and brings: ``python benchmarks/tuning.py FACESET --weights FILE``.

Ways: every ``train`` of `finetune`, and the parts of FDFtNet on the same backbone, one taken away at a time. Each is fitted on
``--shots`` faces a class of the split ``--split`` at three peak learning rates (a third of `RATES`, that, three times) with seed
0 at the first ``--size``; *validation* chooses the rate, with which the way is then fitted at every size and seed. *test* is
only measured. Without a face set: learning parameters and processor seconds per 1,000 faces alone, on noise.

A finished fit is a line of ``--rows`` and is not done again, so several may run at once: ``--part 0/4`` to ``--part 3/4``
write rows of their own files, ``--table FILE...`` puts them together (run the parts twice: rates are chosen from all files
beside ``--rows`` that are there, and a part waits for what it needs).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

TUNED = {"averaging": 0.98, "select": "last", "views": 0}
FULL = {"ftt_stages": 3, "mb_blocks": 4}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    **{train: ("finetune", {"train": train}) for train in ("all", "last-block", "head", "norms", "lora", "svd")},
    "FDFtNet": ("fdftnet", FULL),
    "FDFtNet without Transformer": ("fdftnet", {**FULL, "ftt_stages": 0}),
    "FDFtNet without MobileNet blocks": ("fdftnet", {**FULL, "mb_blocks": 0}),
    "FDFtNet, frozen backbone": ("fdftnet", {**FULL, "train_backbone": False}),
}
RATES = {"all": 6e-4, "last-block": 2e-3, "head": 3e-3, "norms": 2e-3, "lora": 2e-3, "svd": 2e-3}
FACTORS = (1 / 3, 1.0, 3.0)
"""Of the peak learning rate: what `RATES` says, for FDFtNet that of *all*."""
BATCH, STEPS = 64, 4
Key = tuple[str, int, int, float]
"""Way, size, seed, factor on the rate."""


class Bench:
    """Fits ways, remembers what is done."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.first = (options.size or [128])[0]

    def settings(self, way: str, size: int, factor: float) -> tuple[Any, Any]:
        """A method and its settings."""
        from facetell.methods import get_method
        from facetell.settings import resolve

        name, chosen = WAYS[way]
        method = get_method(name)
        options = {"backbone": self.options.backbone, "size": size, "lr": RATES.get(way, RATES["all"]) * factor}
        options |= {
            "epochs": self.options.epochs,
            "batch_size": BATCH,
            "pretrained": str(self.options.weights or "none"),
        }
        return method, resolve(method.settings, {**TUNED, **chosen, **options})

    def rows(self) -> dict[Key, dict[str, Any]]:
        """Finished fits, of all parts."""
        found = {}
        for path in sorted(self.options.rows.parent.glob(f"{self.options.rows.stem}*.jsonl")):
            for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                found[row["way"], row["size"], row["seed"], row["factor"]] = row
        return found

    def keys(self) -> list[tuple[str, int, int]]:
        """Every way, size and seed, the cheapest answers first."""
        ways, sizes = self.options.way or list(WAYS), self.options.size or [128]
        return [(way, size, seed) for size in sizes for seed in range(self.options.seeds) for way in ways]

    def run(self) -> None:
        """This part's fits: first the rates, then the rest."""
        part, parts = map(int, self.options.part.split("/"))
        sweep = [(way, self.first, 0, factor) for way in self.options.way or list(WAYS) for factor in FACTORS]
        for number, key in enumerate(sweep):
            if number % parts == part and key not in self.rows():
                self.add(key)
        for number, (way, size, seed) in enumerate(self.keys()):
            if number % parts == part:
                key = (way, size, seed, self.best(way))
                if key not in self.rows():
                    self.add(key)

    def best(self, way: str) -> float:
        """The factor that validation chose; waits until other parts have fitted all of them."""
        while True:
            done = self.rows()
            mine = [key for factor in FACTORS if (key := (way, self.first, 0, factor)) in done]
            if len(mine) == len(FACTORS):
                return max(mine, key=lambda key: done[key]["validation"])[3]
            time.sleep(1)

    def add(self, key: Key) -> None:
        """Fit once and write its row."""
        way, size, seed, factor = key
        row = {"way": way, "size": size, "seed": seed, "factor": factor, **self.fitted(way, size, seed, factor)}
        part, _, parts = self.options.part.partition("/")
        name = self.options.rows if parts == "1" else self.options.rows.with_stem(f"{self.options.rows.stem}-{part}")
        with name.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def fitted(self, way: str, size: int, seed: int, factor: float) -> dict[str, Any]:
        """AUROC on validation and test, and the seconds of an epoch."""
        from facetell.evaluation.metrics import auroc
        from facetell.faceset.samples import samples_of
        from facetell.faceset.table import FaceSet
        from facetell.methods.method import Task
        from facetell.methods.pretrained import read_start
        from facetell.networks.seeding import seeded
        from facetell.training.fabric import make_fabric
        from facetell.training.loop import predict

        method, settings = self.settings(way, size, factor)
        faces = FaceSet.open(self.options.faces)
        training = samples_of(faces, self.options.split, size, shots=self.options.shots, seed=seed)
        held = {split: samples_of(faces, split, size) for split in ("validation", "test")}
        start, _, _ = read_start(settings.pretrained)
        few = held["validation"].subset(slice(0, 64))  # the loop looks at them after every epoch
        with tempfile.TemporaryDirectory() as name, seeded(seed):
            began = time.perf_counter()
            network = method.fit(
                settings, Task(training, few, seed, Path(name), device=self.options.device, start=start)
            )
            seconds = time.perf_counter() - began
        fabric = make_fabric(settings.precision, self.options.device)
        network.to(fabric.device)
        found: dict[str, Any] = {"n": len(training), "seconds": seconds / settings.epochs}
        for split, samples in held.items():
            found |= {split: auroc(samples.labels, predict(network, samples, fabric)), f"{split} n": len(samples)}
        return found

    def cost(self, way: str, size: int) -> tuple[int, float]:
        """Parameters that learn, and processor seconds for 1,000 faces: the median step on noise."""
        import numpy as np

        from facetell.faceset.decoded import DecodedImages
        from facetell.faceset.samples import Samples
        from facetell.methods.method import Task
        from facetell.progress import Step

        method, settings = self.settings(way, size, 1)
        settings = replace(settings, pretrained="none", epochs=1, batch_size=32)
        marks: list[float] = []

        def mark(step: Step) -> None:
            if step.what == "training":
                marks.append(time.process_time())

        with tempfile.TemporaryDirectory() as name:
            noise = np.random.default_rng(0).integers(0, 256, (32 * STEPS + 4, size, size, 3), dtype=np.uint8)
            np.save(Path(name) / "noise.npy", noise)
            rows = np.arange(len(noise))
            images, labels = DecodedImages(Path(name) / "noise.npy"), (rows % 2).astype(np.int8)
            parts = [Samples(images, rows[part], labels[part], rows[part]) for part in (slice(4, None), slice(4))]
            network = method.fit(settings, Task(*parts, 0, Path(name), progress=mark, device="cpu"))
        taken = statistics.median(after - before for before, after in itertools.pairwise(marks))
        return sum(each.numel() for each in network.parameters() if each.requires_grad), taken / 32 * 1000

    def table(self) -> str:
        """A row for each way, with mean and standard deviation over seeds of what is done."""
        done = self.rows()
        sizes = self.options.size or [128]
        lines = [
            f"| way | {' | '.join(f'{size} px' for size in sizes)} | rate |",
            "| --- |" + " --- |" * (len(sizes) + 1),
        ]
        for way in self.options.way or list(WAYS):
            cells, rate = [], ""
            for size in sizes:
                factors = {key[3] for key in done if key[:2] == (way, size)}
                if not {(way, self.first, 0, factor) for factor in FACTORS} <= set(done):
                    cells.append("")
                    continue
                best = self.best(way)
                rate = f"{RATES.get(way, RATES['all']) * best:.0e}"
                rows = [done[key] for seed in range(self.options.seeds) if (key := (way, size, seed, best)) in done]
                if not rows or best not in factors:
                    cells.append("")
                    continue
                area = [row["test"] for row in rows]
                spread = f" ± {statistics.stdev(area):.3f}" if len(area) > 1 else ""
                cells.append(
                    f"{statistics.mean(area):.3f}{spread} ({statistics.median(row['seconds'] for row in rows):.1f} s)"
                )
            lines.append(f"| {way} | {' | '.join(cells)} | {rate} |")
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="?", help="a face set; without one, only the cost is measured")
    parser.add_argument("--backbone", default="tf_efficientnet_lite2")
    parser.add_argument("--weights", type=Path, help="the backbone's, as a safetensors file")
    parser.add_argument("--size", type=int, action="append", help="pixels; may be repeated (128)")
    parser.add_argument("--way", choices=WAYS, action="append", help="may be repeated (all of them)")
    parser.add_argument("--split", default="train", help="what is learned from")
    parser.add_argument("--shots", type=int, default=2000, help="faces a class")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--rows", type=Path, default=Path("tuning.jsonl"), help="finished fits")
    parser.add_argument("--table", action="store_true", help="only show the table of what is done")
    options = parser.parse_args()
    bench = Bench(options)
    if options.faces is None and not options.table:
        print("| way | size | parameters that learn | s per 1,000 faces |\n| --- | --- | --- | --- |")
        for way, size in itertools.product(options.way or WAYS, options.size or [128]):
            learning, seconds = bench.cost(way, size)
            print(f"| {way} | {size} | {learning:,} | {seconds:.0f} |", flush=True)
        return
    if not options.table:
        if not options.weights:
            parser.error("a face set needs --weights")
        bench.run()
    print(bench.table())


if __name__ == "__main__":
    main()
