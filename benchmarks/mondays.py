"""Monday after Monday: seven new kinds of fakes, one after the other, on a detector that knew DFDC's face swaps alone.

    python benchmarks/mondays.py DATA WEIGHTS -o FOLDER --seeds 0 1

DATA and WEIGHTS as for `starter.py`. Every picture is shrunk to 224 pixels and written as JPEG of quality 90 first, so that sizes
and formats tell nothing. A Monday brings 50 fakes of one kind (40 where there are no more) and 50 reals from where they were
found, drawn by the seed. Four ways to learn them, on the same frozen features, of which every face is read once:

- `adapt`: the command, with a replay buffer of vectors; where it refuses, the detector stays as it is;
- `fine-tune`: the perceptron learns on, from the new faces alone;
- `with replay`: from as many kept vectors in every step, those of `adapt`'s size;
- `retrain`: a new perceptron from all faces so far.

After each Monday every way is measured on the test faces of every kind so far, at the threshold that it chose: `adapt` its own,
the others that of an FPR of 5% on the validation faces of DFDC. Average accuracy and forgetting are those of Chaudhry et al.
2018, with AUROC for accuracy. What is done is kept in FOLDER; `table.md` and `mondays.png` there are the result.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

import facetell
from facetell.detector.runtimes.torch import torch_runtime
from facetell.errors import AcceptanceError
from facetell.evaluation.metrics import auroc
from facetell.faceset.join import Part, join
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet
from facetell.networks.mixture import MixtureOfExperts
from facetell.networks.perceptron import Perceptron
from facetell.pixels.decode import decode, resize
from facetell.pixels.encode import encode
from facetell.progress import silent
from facetell.training.fabric import make_fabric
from facetell.training.perceptron import PerceptronPlan, row_weights, train_perceptron
from facetell.training.vectors import extract

SIDE = 224
OLD = "DFDC"
BASE = {"backbone": "tf_efficientnet_lite2", "size": SIDE, "width": 256, "epochs": 30, "views": 1}
KEPT = 500
STEPS, RATE = 60, 1e-4
"""Of a fine-tune."""
SHOTS = 50
MOST = 120
"""Faces of a kind and label, to draw from and to test on."""
WAYS = ("adapt", "fine-tune", "with replay", "retrain")
COLUMNS = ("path", "label", "group", "source", "split")


@dataclass(frozen=True)
class Kind:
    """A Monday: sets and splits, ``set:split+split``, of the fakes and reals to learn from and to test on."""

    name: str
    fakes: str
    reals: str
    test_fakes: str
    test_reals: str


MONDAYS = (
    Kind("StyleGAN", "stylegan:finetune", "stylegan:finetune", "stylegan:test", "stylegan:test"),
    Kind("SD 2.1", "sd21:finetune", "stylegan-more:train", "sd21:test", "stylegan-more:test+validation"),
    Kind("StarGAN", "stargan:train", "stargan:train", "stargan:test", "stargan:test"),
    Kind("SDXL, FLUX", "sdxl-flux:train", "stylegan:validation", "sdxl-flux:test", ""),
    Kind(
        "swap tools", "swap-tools:train", "swap-tools:train", "swap-tools:test+validation", "swap-tools:test+validation"
    ),
)
BLENDS = (("blends", "dfdc", ("finetune", "test")), ("blends elsewhere", "all-ages", ("train", "test")))
"""Mondays six and seven: self-blended faces of the old place, and of one more; learned from and tested on other persons."""
REALS = {"SDXL, FLUX": "SD 2.1"}
"""Kinds whose test fakes are told from the test reals of another kind, from the same place."""
NAMES = (*(kind.name for kind in MONDAYS), *(name for name, _, _ in BLENDS))
SENT = "DFDC, sent"
"""DFDC's test faces shrunk to 128 pixels and written as JPEG of quality 75: known swaps on photographs of another making."""


def main() -> None:
    """Make faces and the first detector where they are not there yet, then go through the Mondays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="to do some beside others")
    parser.add_argument(
        "--groups", type=int, default=1000, help="source videos of DFDC that the first detector learns from"
    )
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    faces = faces_of(asked.data, asked.out, asked.groups)
    first = asked.out / "first"
    if not first.exists():
        settings = {**BASE, "pretrained": str(asked.weights)}
        facetell.fit("depth", faces, first, settings=settings, threshold="fpr=0.05", progress=True)
    if not any(first.glob("replay-*")):
        facetell.remember(first, faces, faces=KEPT, vectors=True)
    bench = Bench(faces, first, asked.out, asked.seeds)
    for seed in asked.seeds:
        bench.run(seed, asked.ways)
    report(asked.out, bench.rows)


def faces_of(data: Path, out: Path, groups: int) -> FaceSet:
    """All faces as one face set: *train* and *validation* of DFDC, *finetune* for the Mondays, *test*."""
    whole = FaceSet.open_if_whole(out / "faces")
    if whole:
        return whole
    rows = list(dfdc(data, out, groups))
    for kind in MONDAYS:
        for label, learn, test in (("fake", kind.fakes, kind.test_fakes), ("real", kind.reals, kind.test_reals)):
            for place, split in ((learn, "finetune"), (test, "test"))[: 1 + bool(test)]:
                rows += [
                    [str(equal(path, out)), label, f"{kind.name}/{group}", kind.name, split]
                    for path, group in pictures(data, out, place, label)
                ]
    for name, place, splits in BLENDS:
        rows += blends(data, out, name, place, splits)
    index = out / "faces.csv"
    with index.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *dict.fromkeys(map(tuple, rows))])
    return facetell.prepare(index, out / "faces", faces="crops")


def dfdc(data: Path, out: Path, groups: int) -> Iterator[list[str]]:
    """Rows of DFDC: as many groups to learn from as asked for, a fifth as many to choose and to test on."""
    with (data / "dfdc" / "index.csv").open(encoding="utf-8", newline="") as file:
        every = [row for row in csv.DictReader(file) if row["split"] != "finetune"]
    for split, count in (("train", groups), ("validation", groups // 5), ("test", groups // 5)):
        named = dict.fromkeys(row["group"] for row in every if row["split"] == split)
        drawn = set(sorted(named, key=chance)[:count])
        for row in every:
            if row["split"] == split and row["group"] in drawn:
                picture = data / "dfdc" / row["path"]
                yield [str(equal(picture, out)), row["label"], f"dfdc/{row['group']}", OLD, split]
                if split == "test":
                    yield [str(equal(picture, out, 128, 75)), row["label"], f"dfdc/{row['group']}", SENT, split]


def chance(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()


def pictures(data: Path, out: Path, place: str, label: str) -> Iterator[tuple[Path, str]]:
    """Path and group of each face of a set's splits; of whole photos the faces that are found in them."""
    name, _, splits = place.partition(":")
    if name == "swap-tools":
        folder = out / name
        found = FaceSet.open_if_whole(folder) or facetell.prepare(data / name / "index.csv", folder, faces="find")
        for split in splits.split("+"):
            columns = found.columns(["group", "label"], split)
            for row, group, number in zip(
                found.rows(split), *(columns[each].to_pylist() for each in ("group", "label")), strict=True
            ):
                if number == (label == "fake"):
                    path = out / "found" / f"{row}.jpg"
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(found.image(row))
                    yield path, group
        return
    with (data / name / "index.csv").open(encoding="utf-8", newline="") as file:
        mine = [row for row in csv.DictReader(file) if row["label"] == label and row["split"] in splits.split("+")]
    for row in sorted(mine, key=lambda row: chance(row["path"]))[:MOST]:
        yield data / name / row["path"], row["group"]


def equal(path: Path, out: Path, side: int = SIDE, quality: int = 90) -> Path:
    """The picture shrunk and written as all others."""
    target = out / "pictures" / f"{chance(str(path))[:24]}-{side}.jpg"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        pixels = decode(path.read_bytes())
        height, width = pixels.shape[:2]
        share = min(side / max(height, width), 1.0)
        if share < 1:
            pixels = resize(pixels, max(round(height * share), 1), max(round(width * share), 1))
        target.write_bytes(encode(pixels, quality, "4:2:0"))
    return target


def blends(data: Path, out: Path, name: str, place: str, splits: tuple[str, str]) -> list[list[str]]:
    """Rows of fakes made from real faces, and of the reals of their pairs."""
    with (data / place / "index.csv").open(encoding="utf-8", newline="") as file:
        reals = [row for row in csv.DictReader(file) if row["label"] == "real"]
    rows = []
    for split, to in zip(splits, ("train", "validation"), strict=True):
        mine = sorted((row for row in reals if row["split"] == split), key=lambda row: chance(row["group"]))[-MOST:]
        rows += [[str(data / place / row["path"]), "real", row["group"], name, to] for row in mine]
    fake, group = next(pictures(data, out, MONDAYS[0].fakes, "fake"))
    rows.append([str(fake), "fake", group, name, "train"])  # no face set is without; blends are made of reals alone
    index = out / f"{name}.csv"
    with index.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    reals_only = FaceSet.open_if_whole(out / f"{name}-reals") or facetell.prepare(
        index, out / f"{name}-reals", faces="crops"
    )
    made = FaceSet.open_if_whole(out / name) or facetell.blend(reals_only, out / name, draws=1, size=SIDE)
    found = []
    for split, to in (("train", "finetune"), ("validation", "test")):
        columns = made.columns(["group", "label"], split)
        for row, group, label in zip(
            made.rows(split), *(columns[each].to_pylist() for each in ("group", "label")), strict=True
        ):
            path = out / "found" / f"{name}-{row}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(made.image(row))
            found.append([str(equal(path, out)), ("real", "fake")[label], f"{name}/{group}", name, to])
    return found


class Bench:
    """What was read of the faces, and what the ways made of the Mondays."""

    def __init__(self, faces: FaceSet, first: Path, out: Path, seeds: list[int]) -> None:
        self.faces, self.out, self.fabric = faces, out, make_fabric("32-true", "cpu")
        self.detector = facetell.Detector.load(first, "cpu", runtime="torch")
        network: Any = torch_runtime(self.detector, "cpu").network
        self.head: Perceptron = network.head
        splits = "train", "validation", "finetune", "test"
        self.labels = {split: faces.labels(split) for split in splits}
        self.sources = {split: np.array(faces.columns(["source"], split)["source"].to_pylist()) for split in splits}
        self.vectors = {
            split: np.zeros((len(self.labels[split]), self.head.centre.numel()), np.float32) for split in splits
        }
        for split in splits:
            samples = samples_of(faces, split, SIDE)
            if split == "finetune":  # of these only what a seed draws
                samples = samples.subset(
                    np.unique(np.concatenate([self.drawn(name, k) for name in NAMES for k in seeds]))
                )
            self.vectors[split][samples.rows] = extract(network.statistics, samples, self.fabric)
        self.known = self.vectors["validation"][self.labels["validation"] == 0]
        self.file = out / "rows.jsonl"
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def run(self, seed: int, ways: list[str]) -> None:
        """All Mondays of a seed in some ways; what is done is skipped."""
        drawn = [self.drawn(name, seed) for name in NAMES]
        kept = np.random.default_rng([seed, 3]).permutation(len(self.labels["train"]))[:KEPT]
        for monday in range(len(NAMES) + 1):
            for way in ways:
                if any((row["seed"], row["way"], row["monday"]) == (seed, way, monday) for row in self.rows):
                    continue
                began, said = time.perf_counter(), ""
                if way == "adapt":
                    logits, threshold, said = self.adapted(seed, monday, drawn)
                else:
                    head = self.learned(way, seed, monday, drawn, kept)
                    logits, known = scored(head, self.vectors["test"]), scored(head, self.known)
                    threshold = float(np.sort(known)[-int(0.05 * len(known)) - 1]) + 1e-6
                line = {
                    "seed": seed,
                    "way": way,
                    "monday": monday,
                    "said": said,
                    "seconds": time.perf_counter() - began,
                }
                line["kinds"] = {name: self.measured(name, logits, threshold) for name in (OLD, SENT, *NAMES)}
                self.rows.append(line)
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(seed, NAMES[monday - 1] if monday else OLD, way, said, json.dumps(line["kinds"]), flush=True)

    def drawn(self, name: str, seed: int) -> NDArray[np.int64]:
        """Places of the new faces of a Monday in the split *finetune*."""
        rng = np.random.default_rng([seed, NAMES.index(name)])
        mine, labels = self.sources["finetune"] == name, self.labels["finetune"]
        return np.sort(
            np.concatenate([rng.permutation(np.flatnonzero(mine & (labels == label)))[:SHOTS] for label in (0, 1)])
        )

    def measured(self, name: str, logits: NDArray[np.float32], threshold: float) -> dict[str, float]:
        labels, sources = self.labels["test"], self.sources["test"]
        mine = (sources == name) & (labels == 1) | (sources == REALS.get(name, name)) & (labels == 0)
        called = logits >= threshold
        return {
            "auroc": round(auroc(labels[mine], logits[mine]), 4),
            "fpr": round(float(called[mine & (labels == 0)].mean()), 4),
            "recall": round(float(called[mine & (labels == 1)].mean()), 4),
        }

    def adapted(self, seed: int, monday: int, drawn: list[NDArray[np.int64]]) -> tuple[NDArray[np.float32], float, str]:
        """Logits of the test faces, the threshold as a logit, and why the command refused, if it did."""
        folder, said = self.out / f"adapted-{seed}", ""
        path = folder / str(monday) if monday else self.out / "first"
        if monday and not path.exists():
            rows = drawn[monday - 1] + self.faces.rows("finetune").start
            new = FaceSet.open_if_whole(folder / f"new-{monday}") or join(
                folder / f"new-{monday}", [Part(self.faces, rows, "finetune")], {"crop": self.faces.info.get("crop")}
            )
            old = self.latest(folder, monday - 1)
            try:
                facetell.adapt(old, path, fake=new, real=new, seed=seed)
            except AcceptanceError as refused:
                said = refused.message.partition(": ")[2]
        detector = facetell.Detector.load(self.latest(folder, monday), "cpu", runtime="torch")
        network: Any = torch_runtime(detector, "cpu").network
        seen = torch.from_numpy(self.vectors["test"])
        with torch.no_grad():
            logits = network.head(seen) if not isinstance(network, MixtureOfExperts) else mixed(network, seen)
        scores = detector.scores(logits.numpy())
        called = scores >= detector.decider.threshold
        # The smallest logit that is called fake stands for the threshold.
        return logits.numpy(), float(logits.numpy()[called].min()) if called.any() else np.inf, said

    def latest(self, folder: Path, monday: int) -> Path:
        """The last detector that was accepted."""
        found = [folder / str(number) for number in range(monday, 0, -1) if (folder / str(number)).exists()]
        return found[0] if found else self.out / "first"

    def learned(
        self, way: str, seed: int, monday: int, drawn: list[NDArray[np.int64]], kept: NDArray[np.int64]
    ) -> Perceptron:
        """The perceptron of a way after a Monday; those of earlier ones are kept in a file."""
        head = self.copied()
        if not monday:
            return head
        file = self.out / "heads" / f"{way} {seed} {monday}.safetensors"
        before = drawn[: monday - 1]
        if file.exists():
            head.load_state_dict(load_file(file))
            return head.eval()
        new, labels = self.vectors["finetune"][drawn[monday - 1]], self.labels["finetune"][drawn[monday - 1]]
        if way == "retrain":
            rows = np.concatenate(drawn[:monday])
            vectors = np.concatenate([self.vectors["train"], self.vectors["finetune"][rows]])
            truth = np.concatenate([self.labels["train"], self.labels["finetune"][rows]])
            sources = np.concatenate([self.sources["train"], self.sources["finetune"][rows]])
            torch.manual_seed(seed)
            head = Perceptron(vectors.shape[1], BASE["width"], 0.5)
            plan = PerceptronPlan(BASE["epochs"], 256, 5e-4, 0.3, seed)
            weights = row_weights(truth, np.unique(sources, return_inverse=True)[1], 0.7)
            held = (self.vectors["validation"], self.labels["validation"])
            kinds = np.zeros(len(truth), np.int64)
            train_perceptron(head, [vectors], truth, kinds, weights, held, plan, self.fabric, silent)
        else:
            head = self.learned(way, seed, monday - 1, drawn, kept)
            old = [(self.vectors["train"][kept], self.labels["train"][kept])]
            old += [(self.vectors["finetune"][rows], self.labels["finetune"][rows]) for rows in before]
            pool = tuple(np.concatenate(each) for each in zip(*old, strict=True)) if way == "with replay" else None
            tune(head, (new, labels), pool, np.random.default_rng([seed, monday]))
        file.parent.mkdir(exist_ok=True)
        save_file(head.state_dict(), file)
        return head.eval()

    def copied(self) -> Perceptron:
        head = Perceptron(self.vectors["train"].shape[1], BASE["width"], 0.5)
        head.load_state_dict(self.head.state_dict())
        return head.eval()


def mixed(network: MixtureOfExperts, seen: torch.Tensor) -> torch.Tensor:
    return network.mix(network.old_logits(seen, seen), seen)


@torch.no_grad()
def scored(head: nn.Module, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = head.eval()(torch.from_numpy(vectors)).numpy()
    return logits


def tune(head: Perceptron, new: tuple[Any, Any], pool: tuple[Any, Any] | None, rng: np.random.Generator) -> None:
    """Gradient steps on all new faces, and on as many kept ones drawn anew in every step."""
    torch.manual_seed(int(rng.integers(2**31)))
    head.train()
    learns = [*head.hidden.parameters(), *head.dense.parameters()]
    optimizer = torch.optim.AdamW(learns, lr=RATE, weight_decay=0.01)
    for _ in range(STEPS):
        vectors, labels = new
        if pool is not None:
            rows = rng.choice(len(pool[1]), len(labels))
            vectors, labels = np.concatenate([vectors, pool[0][rows]]), np.concatenate([labels, pool[1][rows]])
        loss = F.binary_cross_entropy_with_logits(head(torch.from_numpy(vectors)), torch.from_numpy(labels).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def summary(rows: list[dict[str, Any]], way: str) -> dict[str, float]:
    """Means over seeds of what is left after the last Monday."""
    found = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        mine = sorted((row for row in rows if (row["seed"], row["way"]) == (seed, way)), key=lambda row: row["monday"])
        if len(mine) <= len(NAMES):
            continue
        kinds = (OLD, *NAMES)
        areas = np.array([[row["kinds"][name]["auroc"] for name in kinds] for row in mine])  # (Mondays + 1, kinds)
        falls = areas[:-1].max(axis=0) - areas[-1]  # Chaudhry et al. 2018, eq. 3, for all kinds but the last
        end = mine[-1]["kinds"]
        found.append(
            {
                "AUROC": areas[-1].mean(),
                "recall": np.mean([end[name]["recall"] for name in kinds]),
                "FPR": np.mean([end[name]["fpr"] for name in kinds]),
                "worst FPR": max(end[name]["fpr"] for name in kinds),
                "forgetting": falls[:-1].mean(),
                "worst": falls[:-1].max(),
                "DFDC": areas[-1, 0],
                "sent": end[SENT]["auroc"],
                "sent recall": end[SENT]["recall"],
                "sent FPR": end[SENT]["fpr"],
                "s": np.mean([row["seconds"] for row in mine[1:]]),
            }
        )
    return {key: float(np.mean([each[key] for each in found])) for key in found[0]} if found else {}


def report(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write the tables and the plot."""
    lines = [
        "| way | AUROC | recall | FPR | worst FPR | forgetting | worst | DFDC | DFDC sent: AUROC | recall | FPR | seconds |",
        "| --- " * 12 + "|",
    ]
    for way in WAYS:
        said = summary(rows, way)
        if said:
            *numbers, seconds = said.values()
            lines.append(f"| {way} | " + " | ".join(f"{each:.3f}" for each in numbers) + f" | {seconds:.0f} |")
    for key in ("auroc", "fpr", "recall"):
        lines += [
            "",
            f"{key} of `adapt`",
            "",
            "| after | " + " | ".join((OLD, SENT, *NAMES)) + " |",
            "| --- " * (len(NAMES) + 3) + "|",
        ]
        for monday, after in enumerate((OLD, *NAMES)):
            mine = [row for row in rows if (row["way"], row["monday"]) == ("adapt", monday)]
            cells = (
                [f"{np.mean([row['kinds'][name][key] for row in mine]):.3f}" for name in (OLD, SENT, *NAMES)]
                if mine
                else []
            )
            lines.append(f"| {after} | " + " | ".join(cells) + " |")
    refused = [f"seed {row['seed']}, {NAMES[row['monday'] - 1]}: {row['said']}" for row in rows if row["said"]]
    (out / "table.md").write_text("\n".join([*lines, "", *refused]) + "\n", encoding="utf-8")
    print((out / "table.md").read_text(encoding="utf-8"))
    draw(out, rows)


def draw(out: Path, rows: list[dict[str, Any]]) -> None:
    """AUROC and FPR over all kinds so far after each Monday, a line a way: means over seeds."""
    from facetell.reporting.plots import label_axes, new_figure, save_figure

    figure = new_figure(6.0)
    panels = figure.subplots(2, 1, sharex=True)
    colours = dict(zip(WAYS, ("#D55E00", "#8A8A8A", "#0072B2", "#222222"), strict=True))
    marks = dict(zip(WAYS, "osD^", strict=True))
    for panel, key, title in zip(
        panels, ("auroc", "fpr"), ("mean AUROC on the kinds so far", "mean share of reals called fake"), strict=True
    ):
        for way in WAYS:
            means: list[float] = []
            for monday in range(len(NAMES) + 1):
                mine = [row["kinds"] for row in rows if (row["way"], row["monday"]) == (way, monday)]
                each = [kinds[name][key] for kinds in mine for name in (OLD, *NAMES[:monday])]
                means.append(float(np.mean(each)) if each else np.nan)
            panel.plot(means, marker=marks[way], color=colours[way], label=way, linewidth=1.5, markersize=5)
        label_axes(panel, title, "", "")
    panels[1].axhline(0.05, color="#8A8A8A", linewidth=0.8, linestyle=":")
    panels[1].set_xticks(range(len(NAMES) + 1), [OLD, *(f"+ {name}" for name in NAMES)], rotation=25, ha="right")
    panels[0].legend(frameon=False, fontsize=9)
    save_figure(figure, out / "mondays.png")


if __name__ == "__main__":
    main()
