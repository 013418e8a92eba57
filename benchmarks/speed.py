"""How much faster than the obvious port, on this machine: ``python benchmarks/speed.py [--quick] [--part NAME]``.

Every variant lives in its own process (so that peak memory is its own) and they take turns, step by step, so that
whatever else the machine does meets all of them alike. Rates are medians; ``CPU img/s`` counts the processor time of
the step and not the time it waited for a core, which is the steadier figure on a shared machine.

To add a part: write a function that returns a list of ``Case`` and name it in ``PARTS``; to add a way to run one,
a worker in ``WORKERS`` that returns a function doing one step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One variant of one comparison. The first case of a comparison is what the others are compared with."""

    comparison: str
    name: str
    worker: str
    batch: int
    options: dict[str, Any] = field(default_factory=dict)


def port(quick: bool) -> list[Case]:
    """FDFtNet on Xception, N = 4, M = 3, 64 px: the naive port against ours."""
    naive, ours = {"naive": True}, {"tuned": True}
    cases = []
    for label, options in (("training, all", {}), ("training, frozen backbone", {"frozen": True})):
        cases += [
            Case(label, name, "train", 32 if quick else 128, {**base, **options})
            for name, base in (("naive", naive), ("ours", ours))
        ]
    for batch in (32,) if quick else (32, 128):
        cases += [
            Case(f"inference, batch {batch}", name, "score", batch, base)
            for name, base in (("naive", naive), ("ours", ours))
        ]
    return cases


def attention(quick: bool) -> list[Case]:
    """The first attention of the Fine-Tune Transformer, 1,024 positions, forward and backward."""
    batch = 32 if quick else 128
    return [
        Case("attention, 1,024 positions", name, "attend", batch, options)
        for name, options in (("naive", {"naive": True}), ("ours", {"tuned": True}))
    ]


def precision(quick: bool) -> list[Case]:
    """Single precision against bfloat16 autocast, both with everything else tuned."""
    return [
        Case(
            f"{backbone}, {label}", name, worker, 32 if quick else batch, {"backbone": backbone, "tuned": True, **extra}
        )
        for backbone in ("xception", "squeezenet1_0")
        for label, worker, batch in (("training", "train", 128), ("inference", "score", 32))
        for name, extra in (("32-true", {"precision": "32-true"}), ("bf16-mixed", {"precision": "bf16-mixed"}))
    ]


PARTS: dict[str, Callable[[bool], list[Case]]] = {"port": port, "attention": attention, "precision": precision}


def _network(options: dict[str, Any]) -> Any:
    import torch

    torch.manual_seed(0)
    backbone = options.get("backbone", "xception")
    if options.get("naive"):
        from naive import NaiveFDFtNet

        return NaiveFDFtNet(backbone, 64)
    from facetell.networks.acceleration import channels_last
    from facetell.networks.backbones import build_backbone
    from facetell.networks.ftt import FDFtNet, FineTuneTransformer
    from facetell.networks.mbblock import MobileNetHead

    body = build_backbone(backbone, 64)
    channels = body.map_shape(64)[0]
    return channels_last(FDFtNet(body, MobileNetHead(channels, 4), FineTuneTransformer()))


def _images(batch: int, options: dict[str, Any]) -> Any:
    import torch

    images = torch.rand(batch, 3, 64, 64)
    return images if options.get("naive") else images.contiguous(memory_format=torch.channels_last)


def _autocast(options: dict[str, Any]) -> Any:
    import torch

    from facetell.networks.acceleration import preferred_precision

    chosen = "32-true" if options.get("naive") else options.get("precision", preferred_precision("cpu"))
    return torch.autocast("cpu", torch.bfloat16, enabled=chosen == "bf16-mixed")


def train(batch: int, options: dict[str, Any]) -> Step:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as loss

    network, images = _network(options), _images(batch, options)
    labels = (torch.arange(batch) % 2).float()
    if options.get("frozen"):
        network.backbone.requires_grad_(False).eval()
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, 1e-4, fused=None if options.get("naive") else True)

    def step() -> None:
        optimiser.zero_grad()
        with _autocast(options):
            logits = network(images)
        loss(logits.float(), labels).backward()
        optimiser.step()

    return step


def score(batch: int, options: dict[str, Any]) -> Step:
    import torch

    network, images = _network(options).eval(), _images(batch, options)
    if not options.get("naive"):
        from facetell.networks.acceleration import fast_inference

        network = fast_inference(network, 64)

    def step() -> None:
        with torch.inference_mode(), _autocast(options):
            network(images)

    return step


def attend(batch: int, options: dict[str, Any]) -> Step:
    import torch

    if options.get("naive"):
        from naive import naive_attend as function
    else:
        from facetell.networks.attention import attend as function
    f, g, h = ((torch.randn(batch, 1024, c) * 0.5).requires_grad_() for c in (4, 4, 32))
    grad = torch.randn(batch, 1024, 32)
    return lambda: torch.autograd.grad(function(f, g, h), (f, g, h), grad)


WORKERS: dict[str, Callable[[int, dict[str, Any]], Step]] = {"train": train, "score": score, "attend": attend}


def work(case: Case) -> None:
    """The worker process: for every line read one step, and its times (at the end the profile) written."""
    import torch

    torch.set_num_threads(1)
    if case.options.get("tuned"):
        from facetell.allocator import tune_allocator

        tune_allocator()
    step = WORKERS[case.worker](case.batch, case.options)
    step()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "profile":
            with torch.profiler.profile() as profile:
                step()
            events = sorted(profile.key_averages(), key=lambda e: -e.self_cpu_time_total)
            total = sum(e.self_cpu_time_total for e in events)
            top = [(e.key, e.count, round(100 * e.self_cpu_time_total / total, 1)) for e in events[:12]]
            print(json.dumps({"peak_mib": _peak_mib(), "profile": top}), flush=True)
            return
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)


def _peak_mib() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(cases: list[Case], repeats: int) -> list[dict[str, Any]]:
    """Run the cases of one comparison in turns."""
    here = Path(__file__).resolve()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    processes = []
    for case in cases:
        command = [sys.executable, str(here), "--worker", json.dumps(asdict(case))]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=here.parent,
            env=environment,
        )
        processes.append(process)
        if _ask(process, None) != "ready":
            raise SystemExit(f"{case.comparison}, {case.name}: the worker did not start")
    times: list[list[list[float]]] = [[] for _ in cases]
    for _ in range(repeats):
        for process, taken in zip(processes, times, strict=True):
            taken.append(json.loads(_ask(process, "step")))
    rows = []
    for case, process, taken in zip(cases, processes, times, strict=True):
        end = json.loads(_ask(process, "profile"))
        process.communicate()
        wall, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
        rows.append(
            {**asdict(case), "images_per_second": case.batch / wall, "images_per_cpu_second": case.batch / cpu, **end}
        )
    for row in rows:
        row["ratio"] = row["images_per_second"] / rows[0]["images_per_second"]
        row["cpu_ratio"] = row["images_per_cpu_second"] / rows[0]["images_per_cpu_second"]
    return rows


def _ask(process: subprocess.Popen[str], question: str | None) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if question:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def show(rows: list[dict[str, Any]]) -> None:
    print(f"\n{rows[0]['comparison']} (batch {rows[0]['batch']}, one thread)")
    print(f"  {'':<12}{'img/s':>9}{'ratio':>8}{'CPU img/s':>12}{'ratio':>8}{'peak MiB':>11}")
    for row in rows:
        print(
            f"  {row['name']:<12}{row['images_per_second']:>9.1f}{row['ratio']:>8.2f}"
            f"{row['images_per_cpu_second']:>12.1f}{row['cpu_ratio']:>8.2f}{row['peak_mib']:>11}"
        )
    top = ", ".join(f"{name.removeprefix('aten::')} {share}%" for name, _, share in rows[-1]["profile"][:6])
    print(f"  profile of {rows[-1]['name']}: {top}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller batches, fewer repeats")
    parser.add_argument("--part", choices=sorted(PARTS), action="append", help="only this part (may be repeated)")
    parser.add_argument("--repeats", type=int, help="steps of each variant (default 7, quick 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(Case(**json.loads(arguments.worker)))
        return
    repeats = arguments.repeats or (3 if arguments.quick else 7)
    results = []
    for part in arguments.part or PARTS:
        cases = PARTS[part](arguments.quick)
        for comparison in dict.fromkeys(case.comparison for case in cases):
            rows = measure([case for case in cases if case.comparison == comparison], repeats)
            show(rows)
            results += [{"part": part, **row} for row in rows]
    if arguments.json:
        record = {
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "results": results,
        }
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
