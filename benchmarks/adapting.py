"""Every strategy of `facetell adapt`, and its own choice, on new kinds of fakes: before and after, new faces and old.

    python benchmarks/adapting.py DETECTOR OLD NEW... --shots 10 25 50 100 400 --seeds 0 1 2 -o rows.jsonl
    python benchmarks/adapting.py DETECTOR OLD NEW... -o rows.jsonl --strategies expert --size 256 \
        --backbone mobilenet_v2_tf --pretrained mobilenet_v2-imagenet.safetensors
    python benchmarks/adapting.py --table rows.jsonl --plot adapting.png

DETECTOR has a replay buffer (`facetell remember`). OLD is the face set it was fitted on, of which the split *test* measures. Each
NEW is NAME=FAKES,REALS: face sets whose split *finetune* is learned from and whose split *test* is measured on. A row that
is in the file already is not measured again. Nothing of the test splits reaches `adapt`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from facetell.adaptation.flow import model_of, task_of
from facetell.adaptation.new_faces import NewFaces, joined, of_label
from facetell.adaptation.second_backbone import find_second_backbone
from facetell.adaptation.selection import SHARES, allowed, cross_validate, interpolated
from facetell.adaptation.strategies import STRATEGIES, get_strategy
from facetell.adaptation.task import AdaptOptions
from facetell.allocator import tune_allocator
from facetell.detector.detector import Detector
from facetell.detector.replay_buffer import open_replay_buffer
from facetell.evaluation.metrics import auroc
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet
from facetell.training.fabric import make_fabric
from facetell.training.loop import predict


def measure(given: argparse.Namespace) -> None:
    tune_allocator()
    fabric = make_fabric("auto")
    loaded = Detector.load(given.detector, "cpu")
    model = model_of(loaded)
    buffer = open_replay_buffer(given.detector, loaded.description)
    second = find_second_backbone(model, given.backbone, given.pretrained, given.size)
    old_faces = FaceSet.open(given.old)
    old_test = samples_of(old_faces, "test", loaded.size)
    second.show(old_test, old_faces, "test")
    done = {json.dumps(row["key"]) for row in read(given.out)}
    for spec in given.new:
        name, _, paths = spec.partition("=")
        fakes, reals = (Path(path) for path in paths.split(","))
        tests = []
        for path, label in ((fakes, 1), (reals, 0)):
            faces = FaceSet.open(path)
            tests.append((samples_of(faces, "test", loaded.size), label))
            second.show(tests[-1][0], faces, "test")
        by_old: dict[Path, np.ndarray] = {}

        def predicted(found, samples, by_old=by_old):
            """As the network does; of experts the statistics, and what the old network says, are computed once."""
            if found.method != "experts":
                return predict(found.network, samples, fabric)
            path = samples.images.path
            if path not in by_old:
                by_old[path] = predict(found.network.old, second.samples(samples), fabric)
            seen = (torch.from_numpy(each) for each in (by_old[path], second.vectors(samples, fabric)))
            with torch.no_grad():
                return found.network.mix(*seen).numpy()

        def judged(found, tests=tests, predicted=predicted):
            found.network.to(fabric.device)
            own = [predicted(found, samples)[samples.labels == label] for samples, label in tests]
            truth = np.repeat([1, 0], [len(each) for each in own])
            scores = np.concatenate(own)
            called = np.array(loaded.decider.decisions(scores)) == "fake"
            return {
                "new": auroc(truth, scores),
                "recall": float(called[truth == 1].mean()),
                "fpr": float(called[truth == 0].mean()),
                "old": auroc(old_test.labels, predicted(found, old_test)),
            }

        before = judged(model)
        for count, seed in itertools.product(given.shots, given.seeds):
            key = [name, count, f"{second.name} at {second.size}", seed]
            if json.dumps(key) in done:
                continue
            began = time.perf_counter()
            asked = AdaptOptions(
                backbone=given.backbone, pretrained=given.pretrained, size=given.size, seed=seed
            )  # fmt: skip
            new = NewFaces(joined({1: of_label(fakes, 1), 0: of_label(reals, 0)}, count, seed), frozenset(), ())
            rows = {"before": before}
            with tempfile.TemporaryDirectory() as folder:
                task = task_of(model, new, buffer, asked, Path(folder))
                for each in given.strategies:
                    strategy, at = get_strategy(each), time.perf_counter()
                    learned = strategy.learn(task)
                    seconds = time.perf_counter() - at
                    for share in SHARES if strategy.interpolates else (1.0,):
                        label = each if share == 1 else f"{each} × {share:g}"
                        rows[label] = judged(interpolated(model, learned, share)) | {"seconds": seconds}
                at = time.perf_counter()
                trials = cross_validate(task, [get_strategy(each) for each in given.strategies], asked.margin)
            best = max(allowed(trials, asked.margin), key=lambda trial: trial.auroc(task.new.labels))
            rows["automatic"] = rows[best.candidate.name] | {
                "seconds": time.perf_counter() - at,
                "chosen": best.candidate.name,
                "held_out": best.auroc(task.new.labels),
            }
            counts = {"n_fake": int(task.new.labels.sum()), "n_real": int((task.new.labels == 0).sum())}
            counts |= {"n_test": sum(int((part.labels == label).sum()) for part, label in tests)}
            row = {"key": key, **counts, "n_old": len(old_test), "rows": rows}
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(key, rows["automatic"], f"{time.perf_counter() - began:.0f} s", flush=True)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def table(rows: list[dict]) -> str:
    """Markdown: mean over seeds (sd) of each strategy, by source and shots."""
    lines = []
    for cell in dict.fromkeys(tuple(row["key"][:3]) for row in rows):
        mine = [row for row in rows if tuple(row["key"][:3]) == cell]
        lines += [
            f"\n**{cell[0]}, {cell[1]} fakes and {mine[0]['n_real']} reals, second backbone {cell[2]}** "
            f"({len(mine)} seeds; new: n = {mine[0]['n_test']}, old: n = {mine[0]['n_old']:,})\n",
            "| | new AUROC | recall | FPR | old AUROC |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name in mine[0]["rows"]:
            each = [row["rows"][name] for row in mine]
            values = {key: np.array([one[key] for one in each]) for key in ("new", "recall", "fpr", "old")}
            spread = f" ± {values['new'].std(ddof=1):.3f}" if len(each) > 1 and name != "before" else ""
            chosen = f" ({', '.join(dict.fromkeys(one['chosen'] for one in each))})" if name == "automatic" else ""
            lines.append(
                f"| {name}{chosen} | {values['new'].mean():.3f}{spread} | {values['recall'].mean():.2f} | "
                f"{values['fpr'].mean():.2f} | {values['old'].mean():.3f} |"
            )
    return "\n".join(lines)


def plot(rows: list[dict], path: Path) -> None:
    """New and old AUROC against shots, a line for each strategy."""
    from facetell.reporting.plots import label_axes, new_figure, save_figure

    name = rows[0]["key"][0]
    mine = [row for row in rows if row["key"][0] == name]
    every = [row for row in mine if len(row["rows"]) > len(STRATEGIES)]
    own = every[0]["key"][2]
    styles = {"before": ("grey", ":", 1.5), "automatic": ("black", "-", 3.2), "expert": ("C9", "--", 1.4)}
    styles = {
        each: styles.get(each, (f"C{k}", "--", 1.2)) for k, each in enumerate(["before", *STRATEGIES, "automatic"])
    }
    figure = new_figure(4.0)
    panels = figure.subplots(1, 2)
    for panel, key, title in ((panels[0], "new", f"{name}: the new kind"), (panels[1], "old", "the old kinds")):
        label_axes(panel, title, "fakes to learn from", "AUROC on test faces", pad=6)
        lines = [(each, every, each, *style) for each, style in styles.items()]
        for second in dict.fromkeys(row["key"][2] for row in mine if row["key"][2] != own):
            other = [row for row in mine if row["key"][2] == second]
            lines.append((f"expert, {second}", other, "expert", "navy", "-", 2.0))
        for label, among, strategy, colour, line, width in lines:
            shots = sorted({row["key"][1] for row in among})
            means = [np.mean([row["rows"][strategy][key] for row in among if row["key"][1] == n]) for n in shots]
            above = 4 if label == "expert" else 3  # where it is the one chosen
            panel.plot(shots, means, line, color=colour, linewidth=width, label=label, marker=".", zorder=above)
        shots = sorted({row["key"][1] for row in mine})
        panel.set_xscale("log")
        panel.set_xticks(shots, [str(n) for n in shots])
        panel.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", nargs="?", type=Path)
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("new", nargs="*")
    parser.add_argument("--shots", type=int, nargs="+", default=[10, 25, 50, 100, 400])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    for each in ("--backbone", "--pretrained"):
        parser.add_argument(each)
    parser.add_argument("--size", type=int)
    parser.add_argument("-o", "--out", type=Path, default=Path("adapting.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if given.table:
        print(table(read(given.table)))
        if given.plot:
            plot(read(given.table), given.plot)
    else:
        measure(given)
