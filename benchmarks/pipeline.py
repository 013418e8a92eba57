"""What everything around the network costs: ``python benchmarks/pipeline.py [--part training|scoring|memory] [--json F]``.

With ``--processor-time`` processor seconds are compared instead of those on the clock: for a machine that others use.

``training``: whole training (reading the decode cache, augmentation, step, running average) against the bare network
step on tensors already in memory. ``scoring``: 10,000 crops of a face set, decoded for the first time and from the
cache, against the bare forward pass. Both take turns with what they are compared with, in one process; ratios are of
medians. ``memory``: peak of preparing and of scoring a face set, and of one ten times as large, each in its own
process.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from facetell.progress import Step

BACKBONES = ("squeezenet1_0", "xception")
SIZE, BATCH = 64, 128


def write_pictures(folder: Path, count: int) -> Path:
    """``count`` JPEG pictures of 96×96 px and an index; half of them fake."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)

    def write(i: int) -> str:
        coarse = np.random.default_rng(i).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        (folder / f"{i}.jpg").write_bytes(out.getvalue())
        split = "validation" if i % 40 < 2 else "train"
        return f"{i}.jpg,{('real', 'fake')[i % 2]},{i},{split}\n"

    with ThreadPoolExecutor() as pool, (folder / "index.csv").open("w") as index:
        index.write("path,label,group,split\n")
        index.writelines(pool.map(write, range(count)))
    return folder


def training(folder: Path) -> dict[str, Any]:
    """Ratio of whole training to the bare step, for a plain fine-tune of each backbone."""
    import numpy as np
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

    from facetell.allocator import tune_allocator
    from facetell.faceset.decoded import decoded
    from facetell.faceset.samples import Samples
    from facetell.ingest.prepare import prepare
    from facetell.methods.finetune import FinetuneSettings, build
    from facetell.networks.acceleration import channels_last
    from facetell.training.fabric import make_fabric
    from facetell.training.loop import train
    from facetell.training.recipe import parameter_groups
    from facetell.training.run import Run

    tune_allocator()
    faces = prepare(write_pictures(folder / "pictures", 3000), folder / "faces")
    results: dict[str, Any] = {}
    for backbone in BACKBONES:
        settings = FinetuneSettings(backbone=backbone, epochs=5, batch_size=BATCH)
        bare = channels_last(build(settings))
        optimizer = torch.optim.AdamW(bare.parameters(), settings.lr)
        images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
        labels = (torch.arange(BATCH) % 2).float()
        fabric = make_fabric(settings.precision)
        whole_rates, bare_rates = [], []

        def bare_steps(count: int = 6 if backbone == BACKBONES[1] else 22) -> float:
            bare.train()
            began = time.perf_counter()
            for _ in range(count):
                with fabric.autocast():
                    logits = bare(images)
                optimizer.zero_grad()
                loss_of(logits.float(), labels).backward()
                optimizer.step()
            return count * BATCH / (time.perf_counter() - began)

        bare_steps(2)

        def after_epoch(step: Step) -> None:
            if step.what == "epoch" and step.done > 1:  # the first epoch warms up
                whole_rates.append(step.numbers["images_per_s"])
                bare_rates.append(bare_steps())

        parts = {split: decoded(faces, split, SIZE) for split in ("train", "validation")}
        some = 768 if backbone == BACKBONES[1] else 2816
        rows = {split: np.arange(len(images))[:some] for split, images in parts.items()}
        samples = {s: Samples(parts[s], r, faces.labels(s)[:some], r) for s, r in rows.items()}  # groups play no part
        run = Run(samples["train"], samples["validation"], 0, folder, progress=after_epoch)
        network = build(settings)
        train(network, run, settings, groups=parameter_groups((network, 1.0)), fabric=fabric)
        whole, alone = statistics.median(whole_rates), statistics.median(bare_rates)
        results[backbone] = {"whole images/s": whole, "bare step images/s": alone, "ratio": whole / alone}
    return results


def scoring(folder: Path, crops: int = 10_000) -> dict[str, Any]:
    """Ratio of scoring a face set to the bare forward pass."""
    import numpy as np
    import torch

    from facetell.allocator import tune_allocator
    from facetell.api._evaluate import predictions
    from facetell.detector.detector import Detector
    from facetell.detector.predictions import BATCH as SCORE_BATCH
    from facetell.detector.runtimes.torch import TorchRuntime
    from facetell.ingest.prepare import prepare
    from facetell.methods import get_method
    from facetell.settings import as_dict

    tune_allocator()
    faces = prepare(write_pictures(folder / "pictures", crops * 40 // 38), folder / "faces")
    results: dict[str, Any] = {}
    for name, backbone in (("finetune", BACKBONES[0]), ("finetune", BACKBONES[1]), ("fdftnet", BACKBONES[0])):
        method = get_method(name)
        settings: Any = method.settings(backbone=backbone)
        description = {
            "method": name, "input": {"size": SIZE}, "calibration": None, "settings": as_dict(settings),
        }  # fmt: skip
        detector = Detector(TorchRuntime(method.build(settings), SIZE), description)
        count = len(faces.labels("train"))
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (SCORE_BATCH, SIZE, SIZE, 3), np.uint8))
        floats = images.permute(0, 3, 1, 2).float().div_(255)

        def bare() -> float:
            began = time.perf_counter()
            with torch.inference_mode():
                for start in range(0, count, SCORE_BATCH):
                    detector.runtime.forward(floats[: count - start])
            return count / (time.perf_counter() - began)

        def whole() -> float:
            began = time.perf_counter()
            predictions(detector, faces, "train")
            return count / (time.perf_counter() - began)

        for file in Path(os.environ["FACETELL_CACHE"]).rglob("*.npy"):
            file.unlink()
        cold = whole()
        pairs = [(whole(), bare()) for _ in range(4 if (name, backbone) == ("finetune", BACKBONES[0]) else 1)]
        warm, alone = (statistics.median(values) for values in zip(*pairs, strict=True))
        results[f"{name} {backbone}"] = {
            "first time crops/s": cold, "from the cache crops/s": warm, "bare forward crops/s": alone,
            "ratio first time": cold / alone, "ratio": warm / alone,
        }  # fmt: skip
    return results


MEASURED = """
import re, sys
from pathlib import Path
from facetell.allocator import tune_allocator
action, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
tune_allocator()
if action == "prepare":
    from facetell.ingest.prepare import prepare
    prepare(source, out)
else:
    import facetell
    facetell.evaluate(source, out, out.with_name(out.name + "-report"), split="train", device="cpu")
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss would inherit the parent's
print(int(peak.group(1)) / 1024)
"""


def memory(folder: Path, small: int = 2_000) -> dict[str, Any]:
    """Peak resident memory in MiB of preparing and of scoring, at n and at 10 n."""
    import facetell

    peaks: dict[str, list[float]] = {"prepare": [], "score": []}
    for count in (small, 10 * small):
        pictures, faces = write_pictures(folder / f"pictures-{count}", count), folder / f"faces-{count}"
        detector = folder / "detector"
        for action, source in (("prepare", pictures), ("score", detector)):
            if action == "score" and not detector.exists():
                settings = {"pretrained": "none", "epochs": 1}
                facetell.fit("finetune", faces, detector, settings=settings, shots=64)
            command = [sys.executable, "-c", MEASURED, action, str(source), str(faces)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[action].append(float(done.stdout.split()[-1]))
    return {
        action: {f"MiB at {small:,}": low, f"MiB at {10 * small:,}": high, "ratio": high / low}
        for action, (low, high) in peaks.items()
    }


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {"training": training, "scoring": scoring, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="this part only; may be repeated")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument(
        "--processor-time", action="store_true", help="compare processor seconds, not those on the clock"
    )
    arguments = parser.parse_args()
    if arguments.processor_time:
        time.perf_counter = time.process_time  # what the training loop measures its rate with, too
    results = {}
    for part in arguments.part or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["FACETELL_CACHE"] = str(Path(folder) / "cache")
            results[part] = PARTS[part](Path(folder))
        for name, numbers in results[part].items():
            print(f"{part:<9} {name:<24}" + "  ".join(f"{k} {v:,.2f}" for k, v in numbers.items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
