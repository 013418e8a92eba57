"""Builds the detector in the box, `starter`, from the shared data, and measures it.

    python benchmarks/starter.py DATA WEIGHTS -o FOLDER             # faces, detector, tables: a quarter of an hour with a GPU
    python benchmarks/starter.py DATA WEIGHTS -o FOLDER --tune 0   # the backbone stays frozen: half an hour on two cores
    python benchmarks/starter.py DATA WEIGHTS -o FOLDER --without stylegan stylegan-more --dfdc 0.3   # for adapt to learn them

DATA holds a folder for each set of `SETS`, with an index.csv; WEIGHTS is EfficientNet-Lite2's safetensors file. Every picture
is used as it is, and where it shows more than a face also cut to the face that is found in it: people bring both. Test splits
choose nothing. `FOLDER/table.md` has a row for each kind: AUROC of its test fakes against the reals of the same making, as they
are and once all of them have been shrunk to 128 pixels and written as JPEG of quality 75, with 95% intervals over groups.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from safetensors.numpy import save_file

import facetell
from facetell.detector.bundle import hash_of_tensors, read_bundle, update_description
from facetell.detector.description import DESCRIPTION, MODEL, WEIGHTS
from facetell.detector.runtimes.onnx_model import read_onnx
from facetell.detector.weights import read_weights
from facetell.evaluation.bootstrap import grouped_bootstrap
from facetell.evaluation.metrics import auroc
from facetell.faceset.join import Part, join
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet
from facetell.files import sha256_of
from facetell.pixels.decode import decode, resize
from facetell.pixels.encode import encode

SETS = (
    "dfdc", "dfdc-more", "stylegan", "stylegan-more", "stargan", "pggan", "sd21", "sdxl-flux", "flux", "all-ages",
    "swap-tools", "ffpp-c40",
)  # fmt: skip
WHOLE_PHOTOS = ("swap-tools", "ffpp-c40")
"""Photos and clips: used only through the faces found in them."""
CLOSE = ("dfdc", "dfdc-more")
"""Crops that are cut close already: finding the face again gives the same."""
KINDS = "swap=dfdc,ffpp,swap-tools;gan=stylegan,stargan,pggan;diffusion=sd21,sdxl,flux"
SETTINGS = {
    "backbone": "tf_efficientnet_lite2",
    "size": 256,
    "width": 1024,
    "epochs": 60,
    "source_share": 0.7,
    "kinds": KINDS,
    "tune": 10,
}
ROWS = {
    "DFDC": (("dfdc",), ("dfdc",)),
    "StyleGAN": (("stylegan", "stylegan-more"), ("stylegan", "stylegan-more")),
    "StarGAN": (("stargan",), ("stargan",)),
    "PGGAN": (("pggan",), ("stylegan", "stylegan-more", "all-ages")),
    "Stable Diffusion 2.1": (("sd21",), ("stylegan", "stylegan-more", "all-ages")),
    "SDXL and FLUX": (("sdxl-flux",), ("stylegan", "stylegan-more", "all-ages")),
    "FLUX": (("flux",), ("stylegan", "stylegan-more", "all-ages")),
    "swap tools": (("swap-tools",), ("swap-tools",)),
    "FaceForensics++ c40": (("ffpp-c40",), ("ffpp-c40",)),
}
"""The sets of the fakes, and of the reals that they are told from."""

CARD = """
## On test faces

One fit, seed 0; intervals 95%, over groups. No test face chose anything, but that logits of kinds are shifted was thought of
after a first look at this table. *As*: the crop as it is, or the face found in it.
*Equalised*: all shrunk to 128 pixels and written as JPEG of quality 75, so that sizes and formats tell nothing. Recall and FPR
are at the default threshold, chosen for an FPR of 5% over all real validation faces together.

{table}
Some real sources are a little above that rate, most of all DFDC. Swaps of online tools and FaceForensics++ at c40 are
hardly found. It has not been tested on groups of people by age, sex or skin; on makeup, filters or phones of other makers. A
kind of fake that it has not seen is not found: faces unlike all it knows are `unsure`, but many fakes look like faces it knows.

## Terms

For evaluation and research: see LICENSE.md beside this folder, which names the sources.
"""

ABOUT = {
    "kinds": ["face swaps (DFDC)", "StyleGAN", "StarGAN", "PGGAN", "Stable Diffusion 2.1", "SDXL", "FLUX"],
    "licence": "for evaluation and research: see facetell/box/LICENSE.md, as of starter",
}
"""What `facetell detectors` says of it."""


def main() -> None:
    """Make faces and detector where they are not there yet, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--without", nargs="*", default=[], help="sets that it does not learn from")
    parser.add_argument("--dfdc", type=float, default=1.0, help="share of the groups of DFDC that it learns from")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--tune", type=int, default=SETTINGS["tune"], help="epochs in which the backbone learns, too")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    faces = faces_of(asked.data, asked.out)
    name = "starter" + "".join(f"-{each}" for each in asked.without) + (f"-seed{asked.seed}" if asked.seed else "")
    name += f"-dfdc{asked.dfdc:g}" * (asked.dfdc < 1) + f"-views{asked.views}" * (asked.views != 2)
    name += f"-tune{asked.tune}" * (asked.tune != SETTINGS["tune"])
    some = asked.without or asked.dfdc < 1
    learned = without(faces, asked.without, asked.dfdc, asked.out / f"faces-{name}") if some else faces
    detector = asked.out / name
    if not detector.exists():
        settings = {**SETTINGS, "tune": asked.tune, "views": asked.views, "pretrained": str(asked.weights)}
        facetell.fit(
            "depth",
            learned,
            detector,
            settings=settings,
            seed=asked.seed,
            threshold="fpr=0.05",
            resume=True,
            progress=True,
        )
        for rule in ("fpr=0.01", "fpr=0.05"):
            facetell.threshold(detector, faces, at=rule)
        facetell.threshold(detector, faces, coverage=0.9)
        facetell.remember(detector, learned, faces=500, vectors=True)
        store_once(detector)
        about = {**ABOUT, "date": datetime.date.today().isoformat()}
        update_description(detector, lambda stored: stored.update(about=about))
    table = measured(detector, faces)
    (asked.out / f"{name}.md").write_text(table, encoding="utf-8")
    card = detector / "README.md"
    before = card.read_text(encoding="utf-8").partition("\n## On test faces")[0]
    card.write_text(before + CARD.format(table=table), encoding="utf-8")
    print(table)


def faces_of(data: Path, out: Path) -> FaceSet:
    """All faces as one face set: crops as they are, and faces that were found; a picture's rows share a group."""
    whole = FaceSet.open_if_whole(out / "faces")
    if whole:
        return whole
    rows = [row for name in SETS for row in index_of(data, name)]
    crops = [row for row in rows if not row[3].startswith(WHOLE_PHOTOS)]
    photos = [row for row in rows if not row[3].startswith(CLOSE)]
    made = []
    for name, some, how in (("crops", crops, "crops"), ("found", photos, "find")):
        index = out / f"{name}.csv"
        with index.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["path", "label", "group", "source", "split"], *some])
        made.append(FaceSet.open_if_whole(out / name) or facetell.prepare(index, out / name, faces=how, progress=True))
    parts = [Part(faces, np.asarray(faces.rows(split)), split) for faces in made for split in faces.splits]
    return join(out / "faces", parts, {"crop": made[1].info["crop"]})


def index_of(data: Path, name: str) -> list[list[str]]:
    """Rows of a set's index. ``finetune`` is learned from (of sd21 a quarter chooses), ffpp-c40 is tested on *validation*."""
    found = []
    with (data / name / "index.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            split = row["split"]
            if split == "finetune":
                split = "validation" if name == "sd21" and chance(row["group"]) < 25 else "train"
            if name == "ffpp-c40":  # its test split is one clip
                split = {"test": "train", "validation": "test"}.get(split, split)
            place, source = str((data / name / row["path"]).resolve()), f"{name}:{row['source']}"
            found.append([place, row["label"], f"{name}/{row['group']}", source, split])
    return found


def without(faces: FaceSet, names: list[str], dfdc: float, out: Path) -> FaceSet:
    """The faces to learn and choose from without some sets, and with a share of the groups of DFDC to learn from."""
    parts = []
    for split in ("train", "validation"):
        sets, groups = sets_of(faces, split), faces.columns(["group"], split)["group"].to_pylist()
        drawn = np.array([chance(group) < 100 * dfdc for group in groups]) | (split == "validation")
        kept = ~np.isin(sets, names) & (drawn | ~np.isin(sets, CLOSE))
        parts.append(Part(faces, np.flatnonzero(kept) + faces.rows(split).start, split))
    return FaceSet.open_if_whole(out) or join(out, parts, {"crop": faces.info["crop"]})


def chance(group: str) -> int:
    """0 to 99, the same for a group every time."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 100


def sets_of(faces: FaceSet, split: str) -> NDArray[np.str_]:
    """The set (N,) that each face is of: what stands before the colon of its source."""
    return np.array([source.partition(":")[0] for source in faces.columns(["source"], split)["source"].to_pylist()])


def measured(path: Path, faces: FaceSet) -> str:
    """The table of a detector on the test faces."""
    detector = facetell.Detector.load(path, "cpu")
    samples, sets = samples_of(faces, "test", detector.size), sets_of(faces, "test")
    found = np.asarray(pc.is_valid(faces.columns(["face_score"], "test")["face_score"]))
    pixels = samples.images.gather(samples.rows)
    logits = {
        "as it is": scored(detector, pixels),
        "equalised": scored(detector, np.stack([sent(crop) for crop in pixels])),
    }
    point = detector.decider.threshold
    called = detector.scores(logits["as it is"]) >= point
    lines = [
        "| fakes | as | n fake, real | AUROC | equalised | recall | FPR |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (of_fakes, of_reals) in ROWS.items():
        for how, mask in (("crops", ~found), ("found", found)):
            fake = mask & np.isin(sets, of_fakes) & (samples.labels == 1)
            real = mask & np.isin(sets, of_reals) & (samples.labels == 0)
            if min(fake.sum(), real.sum()) < 5:
                continue
            both = fake | real
            areas = [area(samples.labels[both], each[both], samples.groups[both]) for each in logits.values()]
            rates = f"{called[fake].mean():.2f} | {called[real].mean():.3f}"
            lines.append(f"| {name} | {how} | {fake.sum()}, {real.sum()} | {areas[0]} | {areas[1]} | {rates} |")
    lines += ["", "| reals | as | n | called fake |", "| --- | --- | --- | --- |"]
    for name in dict.fromkeys(sets):
        for how, mask in (("crops", ~found), ("found", found)):
            real = mask & (sets == name) & (samples.labels == 0)
            if real.any():
                lines.append(f"| {name} | {how} | {real.sum()} | {called[real].mean():.3f} |")
    return "\n".join(lines) + "\n"


def scored(detector: facetell.Detector, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (N,), some faces at a time."""
    return np.concatenate([detector.logits(pixels[start : start + 64]) for start in range(0, len(pixels), 64)])


def store_once(detector: Path) -> None:
    """Leave those tensors out of ``weights.safetensors`` that ``model.onnx`` has: in a wheel they need not be there twice."""
    description = read_bundle(detector)
    weights, there = read_weights(detector, description), read_onnx((detector / MODEL).read_bytes()).tensors
    in_model = [name for name, each in weights.items() if name in there and np.array_equal(each, there[name])]
    description["weights"] = {"sha256": hash_of_tensors(weights), "in_model": in_model}
    file = detector / WEIGHTS
    save_file({name: each for name, each in weights.items() if name not in in_model}, file)
    description["files"][WEIGHTS] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    (detector / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def sent(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop that was shrunk to 128 pixels and compressed: the same for all."""
    return resize(decode(encode(resize(crop, 128), 75, "4:2:0")), len(crop))


def area(labels: NDArray[np.int8], logits: NDArray[np.float32], groups: NDArray[np.int64]) -> str:
    """AUROC with its 95% interval, groups resampled."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    low, high = grouped_bootstrap(labels, scores, groups, 0.5)["auroc"]
    return f"{auroc(labels, scores):.3f} ({low:.3f}–{high:.3f})"


if __name__ == "__main__":
    main()
