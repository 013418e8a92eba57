"""What `adapt` makes of a few faces of a new kind: ``python benchmarks/draws.py DETECTOR DATA 50,50,0 -o rows.jsonl``.

DATA is a folder with an index.csv (path, label, split), such as stylegan. Each argument after it is a draw: fakes, reals and a
seed. They are drawn from its split *finetune* and given to ``facetell adapt`` as two folders, as a person would. Then the
new detector judges DATA's split *test*, and the *test* of ``--old``: AUROC, and FPR and recall at the written threshold. A draw
that is refused is a row with its reason.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import facetell
from facetell.errors import AcceptanceError
from facetell.evaluation.metrics import auroc
from facetell.faceset.samples import Samples, samples_of
from facetell.faceset.table import FaceSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("draws", nargs="+", help="fakes,reals,seed")
    parser.add_argument("--old", type=Path, help="a face set of what it knows")
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()
    with (asked.data / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "finetune"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tests = {"new": facetell.prepare(asked.data / "index.csv", folder / "faces", faces="crops")}
        if asked.old:
            tests["old"] = FaceSet.open(asked.old)
        before = facetell.Detector.load(asked.detector, "cpu")
        samples = {kind: samples_of(faces, "test", before.size) for kind, faces in tests.items()}
        add(asked.out, {"draw": "before", **measured(before, samples)})
        for number, draw in enumerate(asked.draws):
            fakes, reals, seed = map(int, draw.split(","))
            rng, given = np.random.default_rng(seed), {}
            for label, count in (("fake", fakes), ("real", reals)):
                given[label] = folder / f"{number}-{label}"
                given[label].mkdir()
                mine = [asked.data / row["path"] for row in rows if row["label"] == label]
                for place in rng.permutation(len(mine))[:count]:
                    (given[label] / mine[place].name).symlink_to(mine[place].resolve())
            began, out = time.perf_counter(), folder / f"{number}"
            try:
                facetell.adapt(asked.detector, out=out, **given)
            except AcceptanceError as error:
                add(asked.out, {"draw": draw, "refused": error.message})
                continue
            row = {"draw": draw, "seconds": round(time.perf_counter() - began, 1)}
            add(asked.out, row | measured(facetell.Detector.load(out, "cpu"), samples))


def measured(detector: facetell.Detector, samples: dict[str, Samples]) -> dict[str, float]:
    """AUROC, FPR and recall on each kind."""
    found: dict[str, float] = {}
    for kind, each in samples.items():
        logits = detector.logits(each.images.gather(each.rows))
        fake = detector.scores(logits) >= detector.decider.threshold
        found[f"{kind} n"] = len(each)
        found[f"{kind} auroc"] = round(auroc(each.labels, logits), 4)
        found[f"{kind} fpr"], found[f"{kind} recall"] = (
            round(float(fake[each.labels == at].mean()), 3) for at in (0, 1)
        )
    return found


def add(path: Path, row: dict[str, Any]) -> None:
    print(row, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
