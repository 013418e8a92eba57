"""DFDC preview, the small set that came before the challenge, with people named and an official test split.

**Groups** are circles of people: who was filmed (``target_id``) and whose face was put on (``swapped_id``), and everyone
tied to them by further fakes. They are made of each official split separately, so that the official split stands
whatever it shares; a note says how many people are on both sides, if any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facetell.faceset.rows import RowBuilder
from facetell.ingest.layouts.layout import (
    VIDEOS,
    Chosen,
    Layout,
    known_in,
    media_in,
    read_videos,
    skip_missing,
    skip_unknown,
)
from facetell.ingest.layouts.people import Circles
from facetell.ingest.spellings import split_of

__all__ = ["LAYOUT"]

FOLDERS = ("original_videos", "method_A", "method_B")
TABLE = "dataset.json"
LABELS = {"real": 0, "fake": 1}

TREE = """
dataset.json        {"method_A/.../x.mp4": {"label": "fake", "set": "train", "target_id": 1, "swapped_id": 2}}
original_videos/
  *
{method_A,method_B}/
  *
"""


def _recognises(root: Path) -> bool:
    return (root / TABLE).is_file() and any((root / name).is_dir() for name in FOLDERS[1:])


def _read(builder: RowBuilder, chosen: Chosen) -> None:
    table = read_videos(builder.root / TABLE, LABELS)
    circles: dict[str, Circles] = {}
    for entry in table.values():
        circles.setdefault(_split(entry), Circles()).tie(_people(entry))
    there = set()
    for folder in known_in(builder, "", (*FOLDERS, TABLE)):
        for name in media_in(builder, folder, VIDEOS) if folder != TABLE else ():
            path = f"{folder}/{name}"
            entry = table.get(path)
            if entry is None:
                skip_unknown(builder, path, f"not in {TABLE}")
                continue
            there.add(path)
            split = _split(entry)
            group = f"{split}/{circles[split].name(_people(entry)[0])}" if _people(entry) else None
            builder.add(path, LABELS[entry["label"]], group, folder, split)
    for path in table:
        if path not in there:
            skip_missing(builder, path, TABLE)
    train, test = circles.get("train", Circles()), circles.get("test", Circles())
    if both := test.shared_with(train):
        builder.notes.append(f"{both} of the {len(test)} people in the official test videos are in train too")


def _people(entry: dict[str, Any]) -> list[str]:
    return [f"person{entry[key]}" for key in ("target_id", "swapped_id") if entry.get(key) is not None]


def _split(entry: dict[str, Any]) -> str:
    return split_of(str(entry.get("set", ""))) or ""


LAYOUT = Layout(
    name="dfdc-preview",
    title="DFDC preview",
    homepage="https://ai.meta.com/datasets/dfdc/",
    licence="after registration, under the DFDC terms",
    groups="people whom fakes tie to each other, within each official split",
    tree=TREE,
    recognises=_recognises,
    read=_read,
)
