"""What is explained: faces of a face set, or of files, and where the fakes of a face set are forged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.detector.many import seen
from facetell.errors import DataError, ImageError, UsageError
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSet
from facetell.labels import LABELS
from facetell.pixels.decode import decode_resized

__all__ = ["Subjects", "faces_of_faceset", "faces_of_files", "forged_regions"]

PER_FILE = 8
"""Faces explained of one file: of a video, spread over its time."""


@dataclass(frozen=True)
class Subjects:
    """Faces to explain: crops uint8 (N, size, size, 3), an entry of plain values for each, and the files without any.

    ``about`` says where they are from.
    """

    crops: npt.NDArray[np.uint8]
    entries: list[dict[str, Any]]
    left_out: list[dict[str, Any]] = field(default_factory=list)
    about: Mapping[str, Any] = field(default_factory=dict)


def faces_of_faceset(path: Path, split: str, size: int, limit: int, seed: int) -> Subjects:
    """At most ``limit`` faces of each source and label of a face set's split, drawn by ``seed``.

    Raises ``UsageError`` for a limit below one, ``DataError`` where the face set has no such split.
    """
    if limit < 1:
        raise UsageError(f"limit is {limit}", hint="at least one face of each source")
    faces = FaceSet.open(path)
    check_split(faces, split, "explain")
    table = faces.columns(["path", "label", "source", "group"], split).to_pylist()
    rows = np.random.default_rng(seed).permutation(len(table))
    taken: Counter[tuple[str, int]] = Counter()
    chosen = []
    for row in rows.tolist():
        key = table[row]["source"], table[row]["label"]
        taken[key] += 1
        if taken[key] <= limit:
            chosen.append(row)
    chosen.sort()
    first = faces.rows(split).start
    crops = np.stack([decode_resized(faces.image(first + row), size) for row in chosen])
    entries = [{**table[row], "row": first + row, "label": LABELS[table[row]["label"]]} for row in chosen]
    about = {
        "face set": path.name,
        "fingerprint": faces.fingerprint,
        "split": split,
        "faces of a source, at most": limit,
    }
    return Subjects(crops, entries, about=about)


def faces_of_files(detector: Path, paths: Sequence[Path], options: Mapping[str, Any]) -> Subjects:
    """The faces that count in some files; ``options`` as of `facetell.detector.many.seen`.

    Raises ``DataError`` where no file has one.
    """
    parts: list[npt.NDArray[np.uint8]] = []
    entries: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for verdict, crops in seen(detector, paths, **options):
        used = [number for number, face in enumerate(verdict.faces) if face.used]
        if crops is None or not used:
            left_out.append({"path": verdict.path, "status": verdict.status, "reason": verdict.reason})
            continue
        # A video's faces over its time, a photo's the surest first.
        spread = np.linspace(0, len(used) - 1, min(PER_FILE, len(used))).round().astype(int).tolist()
        shown = [used[place] for place in spread] if verdict.kind == "video" else used[:PER_FILE]
        parts.append(crops[shown])
        for number in shown:
            face = verdict.faces[number]
            about = {"path": verdict.path, "face": number, "frame": face.frame, "time": face.time, "box": face.box}
            entries.append({**about, "file_status": verdict.status, "file_score": verdict.score})
    if not parts:
        first = left_out[0] if left_out else {"path": "no file", "reason": "nothing was given"}
        raise DataError(f"no file has a face to explain: {first['path']}: {first['reason']}")
    return Subjects(np.concatenate(parts), entries, left_out)


def forged_regions(folder: Path, entries: Sequence[Mapping[str, Any]], size: int) -> dict[int, npt.NDArray[np.bool_]]:
    """The forged region (size, size) of each fake that has a mask in ``folder``, by its place in ``entries``.

    Raises ``DataError`` for a mask that cannot be read, or where there is none at all.
    """
    regions = {}
    for index, entry in enumerate(entries):
        file = folder / Path(entry["path"]).with_suffix(".png")
        if entry["label"] == "fake" and file.is_file():
            try:
                regions[index] = decode_resized(file.read_bytes(), size).mean(axis=2) >= 127.5
            except ImageError as error:
                raise DataError(f"mask {file}: {error.message}") from None
    if not regions:
        expected = next((e["path"] for e in entries if e["label"] == "fake"), "fake/1.jpg")
        raise DataError(
            f"{folder} has no mask of a fake of this split",
            hint=f"the mask of {expected} would be {folder / Path(expected).with_suffix('.png')}",
        )
    return regions
