"""140k Real and Fake Faces: 70,000 of FFHQ and 70,000 of StyleGAN, 256 pixels, split by its author.

Folders say label and split. The ``train.csv``, ``valid.csv`` and ``test.csv`` beside them (columns ``label_str`` and
``path``; their ``label`` has 1 = real) are only used to find pictures that are missing and to notice a contradiction.
Every picture is another face and its own **group**.
"""

from __future__ import annotations

from pathlib import Path

from facetell.errors import DataError
from facetell.faceset.rows import RowBuilder
from facetell.ingest.layouts.layout import PICTURES, Chosen, Layout, known_in, media_in, read_csv, skip_missing

__all__ = ["LAYOUT"]

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
LABELS = {"real": 0, "fake": 1}
SOURCES = {"real": "ffhq", "fake": "stylegan"}
_OUTER, _INNER = "real_vs_fake", "real-vs-fake"

TREE = """
{real_vs_fake/real-vs-fake,real-vs-fake}/
  train/
    {real,fake}/
      *
  valid/
    {real,fake}/
      *
  test/
    {real,fake}/
      *
{train,valid,test}.csv  optional: the list of pictures of each split
"""


def _pictures_folder(root: Path) -> str:
    return f"{_OUTER}/{_INNER}" if (root / _OUTER / _INNER).is_dir() else _INNER


def _recognises(root: Path) -> bool:
    return (root / _pictures_folder(root) / "train" / "real").is_dir()


def _read(builder: RowBuilder, chosen: Chosen) -> None:
    base = _pictures_folder(builder.root)
    tables = [f"{name}.csv" for name in SPLITS]
    known_in(builder, "", (base.split("/")[0], *tables))
    if "/" in base:
        known_in(builder, _OUTER, (_INNER, *tables))
    listed = {
        path: table
        for table in tables
        for folder in ("", f"{_OUTER}/")
        if (builder.root / f"{folder}{table}").is_file()
        for path in _listed(builder.root / f"{folder}{table}")
    }
    for split_name in known_in(builder, base, SPLITS):
        for name in known_in(builder, f"{base}/{split_name}", SOURCES):
            folder = f"{base}/{split_name}/{name}"
            for path in media_in(builder, folder, PICTURES):
                listed.pop(f"{split_name}/{name}/{path}", None)
                builder.add(f"{folder}/{path}", LABELS[name], None, SOURCES[name], SPLITS[split_name])
    for path, table in listed.items():
        skip_missing(builder, f"{base}/{path}", table)


def _listed(file: Path) -> list[str]:
    """The paths in a list, which must say the same as their folders."""
    found = []
    for line, record in read_csv(file, ("path", "label_str")):
        path, label = record["path"] or "", record["label_str"]
        if path.split("/")[1:2] != [label]:
            raise DataError(f"{file}, line {line}: {path} is called {label}, which contradicts its folder")
        found.append(path)
    return found


LAYOUT = Layout(
    name="140k",
    title="140k Real and Fake Faces",
    homepage="https://www.kaggle.com/datasets/xhlulu/140k-real-and-fake-faces",
    licence="see its page; the real faces are FFHQ's, for non-commercial use",
    groups="each picture its own",
    tree=TREE,
    recognises=_recognises,
    read=_read,
)
