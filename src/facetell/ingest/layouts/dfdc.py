"""DFDC, the Deepfake Detection Challenge: the parts of the training set, and the test set with its labels.

An original and all its fakes are one **group**. The metadata names no people, so somebody who was filmed twice may be
in two splits; a note says so. "split": "train" in the metadata only names the part of the challenge: splits are taken
from it where it names more than one, else they are made. ``test/`` with ``labels.csv`` is the test split.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from facetell.errors import DataError
from facetell.faceset.rows import RowBuilder
from facetell.ingest.layouts.layout import (
    VIDEOS,
    Chosen,
    Layout,
    media_in,
    names_only,
    printable,
    read_csv,
    read_videos,
    skip_missing,
    skip_unknown,
)
from facetell.ingest.sources import names_in
from facetell.ingest.spellings import split_of

__all__ = ["LAYOUT"]

LABELS = {"REAL": 0, "FAKE": 1}
METADATA, TEST_LABELS = "metadata.json", "labels.csv"
_SOURCE = "dfdc"

TREE = """
{dfdc_train_part_*,train_sample_videos}/
  metadata.json      {"x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"}}
  *.mp4
test/                optional
  labels.csv         optional: filename,label with 1 = fake
  *.mp4              optional
"""


def _recognises(root: Path) -> bool:
    return any(_is_part(name) and (root / name / METADATA).is_file() for name in names_only(root))


def _is_part(name: str) -> bool:
    return re.fullmatch(r"dfdc_train_part_\d+|train_sample_videos", name) is not None


def _read(builder: RowBuilder, chosen: Chosen) -> None:
    parts: dict[str, dict[str, Any]] = {}
    for name in names_in(builder.root, "", builder):
        if _is_part(name) and (builder.root / name / METADATA).is_file():
            parts[name] = read_videos(builder.root / name / METADATA, LABELS)
        elif name != "test":
            skip_unknown(builder, name, "no training part with a metadata.json")
    words = {str(entry.get("split")) for videos in parts.values() for entry in videos.values()}
    for folder, videos in parts.items():
        _add_part(builder, folder, videos, words != {"train"})
    if (builder.root / "test" / TEST_LABELS).is_file():
        _add_test(builder)
    elif (builder.root / "test").exists():
        skip_unknown(builder, "test", f"no {TEST_LABELS} in it")
    builder.notes.append("DFDC names no people: groups are originals with their fakes, a person may be in two splits")


def _add_part(builder: RowBuilder, folder: str, videos: dict[str, Any], use_splits: bool) -> None:
    there = set()
    for name in media_in(builder, folder, VIDEOS | {".json"}):
        there.add(name)
        entry, path = videos.get(name), f"{folder}/{name}"
        if entry is None:
            if name != METADATA:
                skip_unknown(builder, path, f"not in {METADATA}")
            continue
        original = printable(str(entry.get("original") or name))
        split = (split_of(str(entry.get("split", ""))) or "") if use_splits else ""
        builder.add(path, LABELS[entry["label"]], original.rsplit(".", 1)[0], _SOURCE, split)
    for name in videos:
        if name not in there:
            skip_missing(builder, f"{folder}/{name}", f"{folder}/{METADATA}")


def _add_test(builder: RowBuilder) -> None:
    file = builder.root / "test" / TEST_LABELS
    labels: dict[str, int] = {}
    for line, record in read_csv(file):
        name, label = record.get("filename"), record.get("label")
        if name is None or label not in ("0", "1"):
            raise DataError(f"{file}, line {line}: no filename, or a label that is not 0 or 1")
        labels[name] = int(label)
    for name in media_in(builder, "test", VIDEOS | {".csv"}):
        if name in labels:
            builder.add(f"test/{name}", labels.pop(name), None, _SOURCE, "test")
        elif name != TEST_LABELS:
            skip_unknown(builder, f"test/{name}", f"not in {TEST_LABELS}")
    for name in labels:
        skip_missing(builder, f"test/{name}", f"test/{TEST_LABELS}")


LAYOUT = Layout(
    name="dfdc",
    title="DFDC (Deepfake Detection Challenge)",
    homepage="https://ai.meta.com/datasets/dfdc/",
    licence="after registration, under the DFDC terms",
    groups="an original with all its fakes; a test video each for itself",
    tree=TREE,
    recognises=_recognises,
    read=_read,
)
