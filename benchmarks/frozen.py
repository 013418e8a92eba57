"""What a backbone that does not learn costs: ``python benchmarks/frozen.py [--processor-time]``.

Seconds per epoch (1,000 images of 64×64 px to train on, 300 to validate on, of noise) of ``finetune`` with ``train=head``
and of ``fdftnet`` with ``train_backbone=false``, on SqueezeNet: with the backbone computed in every epoch (``views=0``),
in the first round of the views, in later rounds, and of the learning part alone on tensors in memory, which is the
floor. They take turns in one process; numbers are medians.

With ``--quality FACESET --weights FILE`` instead: validation AUROC from 100 shots of the split *finetune* by number of
views, a seed each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from facetell.progress import Step

SIZE, IMAGES, VALIDATION, BATCH = 64, 1000, 300, 32
EPOCHS = 4
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "head": ("finetune", {"train": "head"}),
    "fdftnet frozen": ("fdftnet", {"train_backbone": False}),
}


def speed(rounds: int) -> dict[str, Any]:
    """Seconds per epoch of each case: anew, first round, later, floor."""
    import numpy as np

    from facetell.allocator import tune_allocator
    from facetell.faceset.decoded import DecodedImages
    from facetell.faceset.samples import Samples
    from facetell.methods import get_method
    from facetell.methods.method import Task

    tune_allocator()
    results = {}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "noise.npy", rng.integers(0, 256, (IMAGES + VALIDATION, SIZE, SIZE, 3), dtype=np.uint8))
        images = DecodedImages(folder / "noise.npy")
        rows = np.arange(IMAGES + VALIDATION)
        parts = [Samples(images, part, (part % 2).astype(np.int8), part) for part in (rows[:IMAGES], rows[IMAGES:])]
        for case, (name, change) in CASES.items():
            method = get_method(name)
            taken: dict[str, list[float]] = {"anew": [], "first": [], "later": [], "floor": []}
            for _ in range(rounds):
                for views in (0, 1):
                    marks = [time.perf_counter()]

                    def mark(step: Step, marks: list[float] = marks) -> None:
                        if step.what == "epoch":
                            marks.append(time.perf_counter())

                    run = Task(*parts, 0, folder, progress=mark)
                    settings = {"pretrained": "none", "batch_size": BATCH, "epochs": EPOCHS, "averaging": 0.99}
                    network = method.fit(method.settings(**settings, **change, views=views), run)
                    epochs = np.diff(marks)[1:] if views else np.diff(marks)  # the first includes building the network
                    taken["later" if views else "anew"] += list(epochs[0 if views else 1 :])
                    taken["first"] += [marks[1] - marks[0]] if views else []
                taken["floor"] += floor(network, parts[0].labels)
            medians = {key: statistics.median(values) for key, values in taken.items()}
            results[case] = {
                **{f"{key} s": value for key, value in medians.items()},
                "anew / later": medians["anew"] / medians["later"],
                "floor / later": medians["floor"] / medians["later"],
                "n": len(taken["later"]),
            }
    return results


def floor(network: Any, labels: Any, epochs: int = 3) -> list[float]:
    """Seconds of epochs of what learns alone: steps and validation on pixels and maps in memory, all of one batch."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

    from facetell.networks.acceleration import channels_last
    from facetell.training.fabric import make_fabric
    from facetell.training.run import WeightAverage

    fabric = make_fabric()
    network = channels_last(network)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, 1e-4)
    average = WeightAverage(network, 0.99)
    images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        maps = network.backbone(images).contiguous(memory_format=torch.channels_last)
    truths = torch.from_numpy(labels[:BATCH]).float()
    taken = []
    for _ in range(epochs):
        began = time.perf_counter()
        network.train()
        for step in range(IMAGES // BATCH):
            with network.backbone.given(maps), fabric.autocast():
                logits = network(images)
            optimizer.zero_grad()
            loss_of(logits.float(), truths).backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            average.update(network, step)
        network.eval()
        with torch.no_grad(), fabric.autocast():
            for _ in range(round(VALIDATION / BATCH)):
                with network.backbone.given(maps):
                    network(images)
        taken.append(time.perf_counter() - began)
    return taken


def quality(faces: Path, weights: Path, seeds: int, cases: list[str], epochs: list[int]) -> dict[str, Any]:
    """Validation AUROC of the detector from 100 shots, by case, epochs and views."""
    import csv

    import facetell

    results: dict[str, Any] = {}
    for case in cases:
        method, change = CASES[case]
        shared: dict[str, Any] = {"pretrained": str(weights), "batch_size": BATCH, "averaging": 0.99, "select": "last"}
        shared["lr"] = 3e-3 if method == "finetune" else 4e-4
        for count in epochs:
            for views in (0, 1, 4, 8, 16):
                values, began = [], time.process_time()
                for seed in range(seeds):
                    with tempfile.TemporaryDirectory() as folder:
                        out = Path(folder) / "detector"
                        settings = {**shared, **change, "epochs": count, "views": views}
                        facetell.fit(method, faces, out, split="finetune", shots=100, seed=seed, settings=settings)
                        with (out / "training.csv").open() as file:
                            values.append(float(list(csv.DictReader(file))[-1]["validation_auroc"]))
                mean, seconds = statistics.mean(values), (time.process_time() - began) / seeds
                results[f"{case}, {count} epochs, views {views}"] = values
                print(
                    f"{case:<15}{count:4d} epochs  views {views:2d}  AUROC {mean:.4f}  "
                    f"{' '.join(f'{value:.4f}' for value in values)}  {seconds:.1f} s of processor time",
                    flush=True,
                )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns that the variants take")
    parser.add_argument("--quality", type=Path, metavar="FACESET", help="measure AUROC on this one, not seconds")
    parser.add_argument("--weights", type=Path, help="of SqueezeNet, for --quality")
    parser.add_argument("--seeds", type=int, default=3, help="for --quality")
    parser.add_argument("--case", choices=CASES, action="append", help="for --quality; may be repeated")
    parser.add_argument("--epochs", type=int, action="append", help="for --quality; may be repeated (16)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument(
        "--processor-time", action="store_true", help="compare processor seconds, not those on the clock"
    )
    arguments = parser.parse_args()
    if arguments.quality:
        cases, epochs = arguments.case or list(CASES), arguments.epochs or [16]
        results = quality(arguments.quality, arguments.weights, arguments.seeds, cases, epochs)
    else:
        if arguments.processor_time:
            time.perf_counter = time.process_time
        results = speed(arguments.rounds)
        for case, numbers in results.items():
            print(f"{case:<16}" + "  ".join(f"{key} {value:.3g}" for key, value in numbers.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
