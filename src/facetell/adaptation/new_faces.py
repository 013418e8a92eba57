"""The new faces that ``adapt`` learns from: gathered from folders or face sets as one face set of both labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facetell.adaptation.task import SPLIT, AdaptOptions
from facetell.blending.face_set import blend
from facetell.detector.replay_vectors import ReplayVectors
from facetell.errors import DataError, LeakError, UsageError
from facetell.faces.finding import Finding
from facetell.faces.load import NAMES
from facetell.faceset.cache import facesets_dir
from facetell.faceset.join import Part, join
from facetell.faceset.kept import kept
from facetell.faceset.rows import RowBuilder
from facetell.faceset.table import INFO_FILE, FaceSet
from facetell.files import write_csv
from facetell.ingest.extract import Extraction
from facetell.ingest.prepare import lacks_readable, prepare
from facetell.ingest.sources import walk
from facetell.labels import FAKE, LABELS, REAL
from facetell.progress import Progress, silent

__all__ = ["LEAST", "NewFaces", "joined", "new_faces", "of_label"]

LEAST = 6
"""Fakes, and reals, below which nothing can be held out."""
REALS = 1000
"""Reals used at most, unless there are more fakes: they are cheap and help much, but too many only take longer."""


@dataclass(frozen=True)
class NewFaces:
    """New faces of both labels, the groups of those that the replay buffer lent, and what should be known of them."""

    faces: FaceSet
    lent: frozenset[str]
    sentences: tuple[str, ...]


def new_faces(
    asked: AdaptOptions, replay: FaceSet | ReplayVectors | None, cut: Mapping[str, Any] | None = None
) -> NewFaces:
    """Gather the new faces that were asked for; reals that are missing come from ``replay``, fakes are made from reals.

    ``cut``: how the detector's own faces were found and cut out; None: they came as crops.

    Raises UsageError where there are no reals, DataError where a place holds no face of its label, and LeakError for a
    picture with both labels, here or in ``replay``.
    """
    if asked.real is None and replay is None:
        raise UsageError(
            "there are no reals to tell fakes from, and the detector keeps no replay buffer to borrow some from",
            hint="give a folder of real faces from where the fakes were found: --real FOLDER",
        )
    if asked.real is None and isinstance(replay, ReplayVectors):
        raise UsageError(
            "there are no reals to tell fakes from: the detector keeps vectors of old faces, and no picture to lend",
            hint="give a folder of real faces from where the fakes were found: --real FOLDER",
        )
    parts, lent, sentences = dict[int, Part](), frozenset[str](), list[str]()
    gathered = partial(of_label, progress=asked.progress, sentences=sentences, faces=asked.faces, cut=cut)
    if asked.fake is not None:
        parts[FAKE] = gathered(asked.fake, FAKE)
    if asked.real is not None:
        parts[REAL] = gathered(asked.real, REAL)
    elif isinstance(replay, FaceSet):
        rows = np.flatnonzero(replay.labels("train") == REAL) + replay.rows("train").start
        most = min(max(len(parts[FAKE].rows) if parts else REALS, LEAST), len(rows) // 2)  # the rest is learned from
        drawn = np.sort(np.random.default_rng(asked.seed).permutation(rows)[:most])
        parts[REAL] = Part(replay, drawn, SPLIT)
        lent = frozenset(replay.columns(["group"])["group"].take(pa.array(drawn)).to_pylist())
        if asked.fake is not None:
            sentences.append(
                f"no reals were given, so {len(drawn)} of the replay buffer stand in: they come from another place than the "
                "fakes, and the place may be what is learned; give some from where the fakes were found: --real FOLDER"
            )
    if asked.fake is None:
        parts = _with_made_fakes(parts[REAL], asked.shots, asked.seed)
        sentences.append(
            "no fakes were given, so they are blended from the reals: the numbers on new faces say how well such blends "
            "are found, not fakes as they are met"
        )
    faces = joined(parts, asked.shots, asked.seed)
    if replay:
        _refuse_contradiction(faces, replay)
    return NewFaces(faces, lent, tuple(sentences))


def of_label(
    where: Path,
    label: int,
    progress: Progress = silent,
    sentences: list[str] | None = None,
    faces: str = "auto",
    cut: Mapping[str, Any] | None = None,
) -> Part:
    """All faces of one label: a folder of which every picture, photo or video has it, or a face set.

    In a folder ``faces`` are looked for as `prepare` says, and cut out as ``cut`` says.
    Of a face set, those of its split *finetune* count, else of *train*: never those that something is measured on. A
    sub-folder is a group. What files are left out, and why, is added to ``sentences``.

    Raises DataError for a place that is not there or holds no such face.
    """
    if (where / INFO_FILE).is_file():
        found = FaceSet.open(where)
        split = next((name for name in (SPLIT, "train") if name in found.splits), None)
        if split is None:
            raise DataError(
                f"{where} has neither a split finetune nor train", hint="its other splits are for measuring"
            )
        rows = np.flatnonzero(found.labels(split) == label) + found.rows(split).start
    else:
        found, left_out = _prepared(where, label, faces, cut, progress)
        if left_out and sentences is not None:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
            sentences.append(
                f"{left_out.total():,} files of {where.name} are left out ({reasons}); facetell prepare lists them"
            )
        rows = np.arange(len(found))
    if not len(rows):
        raise DataError(f"{where} holds no {LABELS[label]} face to learn from")
    return Part(found, rows, SPLIT, prefix=f"{found.fingerprint[:8]}/")


def joined(parts: Mapping[int, Part], shots: int | None, seed: int) -> FaceSet:
    """One face set of the parts by label, kept in the cache folder: at most ``shots`` fakes, and `REALS` or as many reals.

    Drawn by ``seed``.
    """
    rows = {}
    if FAKE in parts:
        rows[FAKE] = _drawn(parts[FAKE].rows, FAKE, shots, seed)
    if REAL in parts:
        rows[REAL] = _drawn(parts[REAL].rows, REAL, max(REALS, len(rows.get(FAKE, ()))), seed)
    chosen = [Part(part.faces, rows[label], SPLIT, part.prefix) for label, part in parts.items()]
    key = hashlib.sha256()
    for part in chosen:
        key.update(part.faces.fingerprint.encode() + part.rows.tobytes())
    crop = next((part.faces.info.get("crop") for part in chosen), None)
    return kept(f"adapt-{key.hexdigest()[:24]}", lambda out: join(out, chosen, {"seed": seed, "crop": crop}))


def _with_made_fakes(reals: Part, shots: int | None, seed: int) -> dict[int, Part]:
    """Parts of both labels from real faces alone: a fake is blended from each of ``shots`` reals, and kept in the cache."""
    drawn = Part(reals.faces, _drawn(reals.rows, REAL, shots, seed), SPLIT, reals.prefix)
    alone = joined({REAL: drawn}, None, seed)
    out = facesets_dir() / f"blended-{alone.fingerprint[:24]}-{seed}"
    made = blend(alone.path, out, draws=1, seed=seed, overwrite=True)
    labels, prefix = made.labels(SPLIT), f"{alone.fingerprint[:8]}/"
    first = made.rows(SPLIT).start
    return {label: Part(made, np.flatnonzero(labels == label) + first, SPLIT, prefix) for label in (REAL, FAKE)}


def _drawn(rows: NDArray[np.int64], label: int, shots: int | None, seed: int) -> NDArray[np.int64]:
    """Nested: those for 25 shots are among those for 100 of the same seed."""
    drawn = np.random.default_rng([seed, label]).permutation(rows)[:shots]
    return np.sort(drawn)


def _refuse_contradiction(new: FaceSet, replay: FaceSet | ReplayVectors) -> None:
    table = new.columns(["sha256", "label", "path"])
    if isinstance(replay, ReplayVectors):
        known = replay.labels_of(new).tolist()
    else:
        old = replay.columns(["sha256", "label"])
        labels = dict(zip(old["sha256"].to_pylist(), old["label"].to_pylist(), strict=True))
        known = [labels.get(each, -1) for each in table["sha256"].to_pylist()]
    for row, other in zip(table.to_pylist(), known, strict=True):
        label = row["label"]
        if other == 1 - label:
            raise LeakError(
                f"{row['path']} is given as {LABELS[label]}, and is {LABELS[1 - label]} in the detector's replay buffer",
                hint="look at the picture; if the replay buffer is wrong, fill it anew: facetell remember",
            )


def _prepared(
    where: Path, label: int, choice: str, cut: Mapping[str, Any] | None, progress: Progress
) -> tuple[FaceSet, Counter[str]]:
    """The pictures of a folder as a face set in the cache folder, found there again while no file has changed; and how
    many files were left out for which reason."""
    if not where.is_dir():
        what = "is a file" if where.exists() else "does not exist"
        raise DataError(f"{where} {what}", hint="give a folder of pictures, photos or videos, or a face set")
    # A face detector of a file of its own is not at hand: then another one finds the faces, which are cut as its were.
    finding = Finding.from_dict(dict(cut), None if cut["model"] in NAMES else NAMES[0]) if cut else Finding()
    root = where.resolve()
    builder = RowBuilder(root)
    key = hashlib.sha256(repr((choice, finding)).encode())
    lines = []
    for relative in walk(root, "", builder):
        status = (root / relative).stat()
        times = status.st_mtime_ns, status.st_ctime_ns  # a copy may keep the first, not the second
        key.update(repr((str(root), relative, status.st_size, times, label)).encode())
        group = str(Path(relative).parent)
        lines.append([str(root / relative), LABELS[label], "" if group == "." else group, where.name, SPLIT])
    if not lines:
        raise DataError(f"{where} holds no file", hint="give a folder of pictures, photos or videos")
    names = Counter(skip.reason for skip in builder.skipped)

    def make(out: Path) -> FaceSet:
        index = out.with_name(f"{out.name}.csv")
        write_csv(index, ["path", "label", "group", "source", "split"], lines)
        try:
            return prepare(
                index,
                out,
                split=SPLIT,
                one_label=True,
                faces=choice,
                extraction=Extraction(finding),
                overwrite=True,
                progress=progress,
            )
        finally:
            index.unlink()

    faces = kept(f"{LABELS[label]}-{key.hexdigest()[:24]}", make, partial(lacks_readable, root=root))
    return faces, names + Counter(faces.info["skipped"])
