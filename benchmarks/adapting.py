"""Every strategy of `facetell adapt`, and its own choice, on new kinds of fakes: before and after, new faces and old.

    python benchmarks/adapting.py DETECTOR OLD NEW... --shots 10 25 50 100 --seeds 0 1 2 -o rows.jsonl
    python benchmarks/adapting.py --table rows.jsonl --plot adapting.png

DETECTOR has a memory (`facetell remember`). OLD is the face set it was fitted on, of which the split *test* measures. Each
NEW is NAME=FAKES,REALS: face sets whose split *finetune* is learned from and whose split *test* is measured on. A row that
is in the file already is not measured again. Nothing of the test splits reaches `adapt`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from facetell.adapting import STRATEGIES, get_strategy
from facetell.adapting.choosing import SHARES, cross_validate, mixed
from facetell.api import adapting
from facetell.api.facesets import samples_of
from facetell.api.gating import old_gate
from facetell.api.newfaces import SPLIT, new_faces, of_label
from facetell.api.weights import general_backbone
from facetell.data.faceset import FaceSet
from facetell.detector.detector import Detector
from facetell.detector.memory import memory_of
from facetell.evaluation.calibration import calibrated
from facetell.evaluation.metrics import auroc
from facetell.training.fabric import make_fabric
from facetell.training.loop import predict
from facetell.training.runtime import tune_allocator


def measure(detector: Path, old: Path, sources: list[str], shots: list[int], seeds: list[int], out: Path) -> None:
    tune_allocator()
    fabric = make_fabric("auto")
    loaded = Detector.load(detector, "cpu")
    known = adapting._known(loaded)
    memory = memory_of(detector, loaded.description)
    size = loaded.size
    old_test = samples_of(FaceSet.open(old), "test", size)
    done = {json.dumps(row["key"]) for row in read(out)}
    for spec in sources:
        name, _, paths = spec.partition("=")
        fakes, reals = (Path(path) for path in paths.split(","))
        tests = [(samples_of(FaceSet.open(path), "test", size), label) for path, label in ((fakes, 1), (reals, 0))]

        def logits(network, tests=tests):
            found = [(predict(network, samples, fabric), samples.labels == label) for samples, label in tests]
            return np.concatenate([scores[own] for scores, own in found])

        truth = np.concatenate([np.full((samples.labels == label).sum(), label) for samples, label in tests])

        def judged(network, truth=truth, logits=logits):
            scores = logits(network)
            called = calibrated(scores, loaded.temperature) >= loaded.threshold
            return {
                "new": auroc(truth, scores),
                "recall": float(called[truth == 1].mean()),
                "fpr": float(called[truth == 0].mean()),
                "old": auroc(old_test.labels, predict(network, old_test, fabric)),
            }

        before = judged(known.network)
        for count in shots:
            for seed in seeds:
                key = [name, count, seed]
                if json.dumps(key) in done:
                    continue
                began = time.perf_counter()
                parts = {1: of_label(fakes, 1), 0: of_label(reals, 0)}
                new = new_faces(parts, count, seed)
                samples = samples_of(new, SPLIT, size)
                remembered = adapting._old(memory, known, new, fabric, seed)
                rows = {"before": before}
                with tempfile.TemporaryDirectory() as folder:
                    start = general_backbone(loaded.description, None)
                    lesson = adapting._lesson(known, samples, remembered, start, seed, fabric, Path(folder))
                    found = {}
                    for each in STRATEGIES:
                        strategy, at = get_strategy(each), time.perf_counter()
                        found[each] = strategy.learn(known, lesson)
                        seconds = time.perf_counter() - at
                        for share in SHARES if strategy.mixes else (1.0,):
                            label = each if share == 1 else f"{each} × {share:g}"
                            rows[label] = judged(mixed(known, found[each], share).network) | {"seconds": seconds}
                    at = time.perf_counter()
                    fakes_given = int(samples.labels.sum())
                    trials = cross_validate(
                        known,
                        lesson,
                        [get_strategy(each) for each in STRATEGIES],
                        remembered.choose,
                        folds=adapting.FOLDS,
                        repeats=adapting.REPEATS if fakes_given < adapting.FEW else 1,
                        margin=adapting.MARGIN,
                    )
                allowed = adapting._allowed(trials, adapting.MARGIN)
                best = max(allowed, key=lambda trial: trial.auroc(samples.labels))
                network = mixed(known, found[best.candidate.strategy.name], best.candidate.share).network
                gate = remembered.gate
                scores = [predict(each, gate, fabric).astype(float) for each in (known.network, network)]
                rows["automatic"] = rows[best.candidate.name] | {
                    "seconds": time.perf_counter() - at,
                    "chosen": best.candidate.name,
                    "held_out": best.auroc(samples.labels),
                    "old gate": old_gate(gate.labels, gate.groups, *scores, adapting.MARGIN)["passed"],
                }
                row = {"key": key, "n_fake": fakes_given, "n_test": len(truth), "n_old": len(old_test), "rows": rows}
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(key, rows["automatic"], f"{time.perf_counter() - began:.0f} s", flush=True)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def table(rows: list[dict]) -> str:
    """Markdown: mean over seeds (sd) of each strategy, by source and shots."""
    lines = []
    for cell in dict.fromkeys(tuple(row["key"][:2]) for row in rows):
        mine = [row for row in rows if tuple(row["key"][:2]) == cell]
        lines += [
            f"\n**{cell[0]}, {cell[1]} shots** ({len(mine)} seeds; new: n = {mine[0]['n_test']}, "
            f"old: n = {mine[0]['n_old']:,})\n",
            "| | new AUROC | recall | FPR | old AUROC | s |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name in mine[0]["rows"]:
            each = [row["rows"][name] for row in mine]
            values = {key: np.array([one[key] for one in each]) for key in ("new", "recall", "fpr", "old")}
            spread = f" ± {values['new'].std(ddof=1):.3f}" if len(each) > 1 and name != "before" else ""
            seconds = f"{np.mean([one['seconds'] for one in each]):.0f}" if "seconds" in each[0] else ""
            chosen = f" ({', '.join(dict.fromkeys(one['chosen'] for one in each))})" if name == "automatic" else ""
            lines.append(
                f"| {name}{chosen} | {values['new'].mean():.3f}{spread} | {values['recall'].mean():.2f} | "
                f"{values['fpr'].mean():.2f} | {values['old'].mean():.3f} | {seconds} |"
            )
    return "\n".join(lines)


def plot(rows: list[dict], path: Path) -> None:
    """New and old AUROC against shots, a line for each strategy."""
    from facetell.reporting.plots import dressed, figure_of, save_figure

    name = rows[0]["key"][0]
    mine = [row for row in rows if row["key"][0] == name]
    shots = sorted({row["key"][1] for row in mine})
    figure = figure_of(3.6)
    panels = figure.subplots(1, 2)
    for panel, key, title in ((panels[0], "new", f"{name}: the new kind"), (panels[1], "old", "the old kinds")):
        dressed(panel, title, "shots (images of each label)", "AUROC on test faces", pad=6)
        for strategy in ("before", *list(STRATEGIES)[:-1], "automatic", "beside"):
            means = [np.mean([row["rows"][strategy][key] for row in mine if row["key"][1] == n]) for n in shots]
            style = {"before": ("grey", ":", 1.5), "automatic": ("black", "-", 3.2), "beside": ("C9", "--", 1.4)}
            colour, line, width = style.get(
                strategy, (f"C{list(STRATEGIES).index(strategy)}" if strategy in STRATEGIES else "k", "--", 1.2)
            )
            panel.plot(shots, means, line, color=colour, linewidth=width, label=strategy, marker=".")
        panel.set_xscale("log")
        panel.set_xticks(shots, [str(n) for n in shots])
        panel.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    save_figure(figure, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", nargs="?", type=Path)
    parser.add_argument("old", nargs="?", type=Path)
    parser.add_argument("new", nargs="*")
    parser.add_argument("--shots", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-o", "--out", type=Path, default=Path("adapting.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if given.table:
        print(table(read(given.table)))
        if given.plot:
            plot(read(given.table), given.plot)
    else:
        measure(given.detector, given.old, given.new, given.shots, given.seeds, given.out)
