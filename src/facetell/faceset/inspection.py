"""What is in a face set: numbers, and a sheet of example pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image, ImageDraw

from facetell.faceset.table import FaceSet
from facetell.files import whole_file
from facetell.labels import LABELS
from facetell.pixels.decode import decode_resized

__all__ = ["contact_sheet", "pair_sheet", "summarise"]

_CELL = 112
_GAP = 4
_CAPTION = 190
_MAX_ROWS = 40


def summarise(faceset: FaceSet) -> dict[str, Any]:
    """Count a face set's rows.

    Returns:
        ``rows``, ``fingerprint``, ``seed``; ``counts`` split → label → source → rows; ``by_split``, ``by_label``,
        ``by_source`` → rows; ``groups`` split → distinct groups; ``sizes`` width/height → min, median, max in
        pixels; ``formats`` → rows; ``skipped`` reason → files left out; ``splits_made`` how the splits came about.
        Ready for JSON.
    """
    info = faceset.info
    by_label, by_source = Counter[str](), Counter[str]()
    for labels in info["counts"].values():
        for label, sources in labels.items():
            by_label[label] += sum(sources.values())
            by_source.update(sources)
    groups = {
        split: int(pc.count_distinct(faceset.columns(["group"], split)["group"]).as_py()) for split in faceset.splits
    }
    table = faceset.columns(["width", "height", "format"])
    sizes = {}
    for name in ("width", "height"):
        values = table[name].to_numpy()
        sizes[name] = {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}
    formats = {item["values"]: item["counts"] for item in pc.value_counts(table["format"]).to_pylist()}
    return {
        "rows": len(faceset),
        "fingerprint": faceset.fingerprint,
        "seed": info["seed"],
        "splits_made": info["splits_made"],
        "counts": info["counts"],
        "by_split": {split: info["splits"][split] for split in faceset.splits},
        "by_label": {label: by_label[label] for label in LABELS if label in by_label},
        "by_source": dict(sorted(by_source.items())),
        "groups": groups,
        "sizes": sizes,
        "formats": dict(sorted(formats.items())),
        "skipped": info["skipped"],
    }


def contact_sheet(faceset: FaceSet, out: Path, per_cell: int = 6, seed: int = 0) -> Path:
    """Draw examples of every split, label and source into one PNG, each kind on a line with its caption.

    At most 40 kinds are shown; the rest is said at the bottom. The file appears whole or not at all.
    """
    table = faceset.columns(["split", "label", "source"])
    split, source = (pc.dictionary_encode(table[name].combine_chunks()) for name in ("split", "source"))
    label = table["label"].to_numpy()
    keys = np.stack([source.indices.to_numpy(), label, split.indices.to_numpy()], axis=1)
    kinds, member = np.unique(keys, axis=0, return_inverse=True)
    shown = kinds[:_MAX_ROWS]
    rng = np.random.default_rng(seed)
    footer = 20 if len(kinds) > len(shown) else 0
    size = (_CAPTION + per_cell * (_CELL + _GAP), len(shown) * (_CELL + _GAP) + _GAP + footer)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for line, (source_code, label_code, split_code) in enumerate(shown):
        rows = np.flatnonzero(member.reshape(-1) == line)
        top = _GAP + line * (_CELL + _GAP)
        name = str(source.dictionary[int(source_code)].as_py())
        name = name if len(name) <= 28 else f"{name[:27]}…"
        colour = "#b00020" if label_code else "#00602b"
        draw.text((8, top + 30), LABELS[label_code], fill=colour, font_size=16)
        draw.text((8, top + 52), name, fill="black", font_size=12)
        draw.text(
            (8, top + 70), f"{split.dictionary[int(split_code)].as_py()} · {len(rows):,}", fill="#555555", font_size=12
        )
        for column, row in enumerate(rng.permutation(rows)[:per_cell]):
            cell = Image.fromarray(decode_resized(faceset.image(int(row)), _CELL))
            sheet.paste(cell, (_CAPTION + column * (_CELL + _GAP), top))
    if footer:
        draw.text((8, size[1] - 18), f"and {len(kinds) - len(shown)} more kinds", fill="#555555", font_size=12)
    _save(sheet, out)
    return out


def pair_sheet(faceset: FaceSet, pairs: Sequence[tuple[Sequence[str], Sequence[int]]], out: Path) -> None:
    """Draw pairs of rows side by side, each with the lines of its caption, into one PNG, whole or not at all."""
    step = _CELL + _GAP
    sheet = Image.new("RGB", (2 * step + 3 * _CAPTION, len(pairs) * step + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (caption, rows) in enumerate(pairs):
        top = _GAP + line * step
        for column, row in enumerate(rows):
            cell = Image.fromarray(decode_resized(faceset.image(row), _CELL))
            sheet.paste(cell, (column * step, top))
        for number, words in enumerate(caption):
            words = words if len(words) <= 80 else f"{words[:30]}…{words[-49:]}"
            draw.text((2 * step + 8, top + 24 + 22 * number), words, fill="black", font_size=13)
    _save(sheet, out)


def _save(sheet: Image.Image, out: Path) -> None:
    with whole_file(out) as partial:
        sheet.save(partial, "PNG")
