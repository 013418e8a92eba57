"""Faces that people labelled, written out as pictures to learn from."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from facetell.errors import DataError
from facetell.files import write_csv
from facetell.store.kinds import spelling
from facetell.store.labels import latest, votes
from facetell.store.records import WHOLE
from facetell.store.store import Store
from facetell.store.tables import CROPS, FACES, FILES

__all__ = ["INDEX", "Reviewed", "write_reviewed"]

INDEX = "index.csv"
"""What lies beside the pictures of each label, as `facetell.prepare` takes it."""


@dataclass(frozen=True)
class Reviewed:
    """How many faces were labelled ``fakes`` (of the ``kind`` that was asked for, as reviewers spelled it) and
    ``reals``, and how many were left out: ``disagreed`` on, their label or kind; fakes of an ``other`` kind or of none;
    ``gone``: their crops are; ``foreign``: they were cut out in another way than the detector's."""

    kind: str | None
    fakes: int
    reals: int
    disagreed: int
    other: int
    gone: int
    foreign: int

    @property
    def sentence(self) -> str:
        """What there is to learn from, in words."""
        of_kind = f" of the kind '{self.kind}'" if self.kind else ""
        reasons = (
            (self.disagreed, "reviewers disagree on them"),
            (self.other, "of another kind, or of none that was named"),
            (self.gone, "their crops are deleted"),
            (self.foreign, "cut out in another way than this detector's faces"),
        )
        left_out = ", ".join(f"{count} ({why})" for count, why in reasons if count)
        return f"reviewed: {self.fakes} fakes{of_kind} and {self.reals} reals" + (
            f"; left out: {left_out}" * bool(left_out)
        )

    def check(self, least: int, *, reals: bool, named: Sequence[str]) -> None:
        """Raise ``DataError`` where there are fewer than ``least``; ``reals``: they are needed, too; ``named``: the kinds."""
        missing = {"fakes": least - self.fakes, "reals": least - self.reals if reals else 0}
        short = [f"{count} {what}" for what, count in missing.items() if count > 0]
        if short:
            raise DataError(
                f"{self.sentence}. At least {least} of each are needed, 50 are better: {' and '.join(short)} are missing",
                hint="label more at /review of the server"
                + (f", with that kind (named are: {', '.join(named) or 'none'})" if self.kind else "")
                + ", or give --real FOLDER",
            )


def write_reviewed(store: Store, folder: Path, cut: str, kind: str | None = None) -> Reviewed:
    """Write the labelled faces to ``folder`` as pictures, with ``index.csv`` in each of ``fake`` and ``real``.

    Only faces of the ``cut`` (see `facetell.store.records.cut_of`), and whole pictures. A face's group is the file that it
    came from. The same picture with both labels is one that reviewers disagree on.
    """
    said = votes()
    asked = (
        sql.select(
            FACES.c.id,
            FACES.c.cut,
            sql.func.coalesce(FILES.c.sha256, FILES.c.id).label("file"),
            said.c.fakes,
            said.c.reals,
        )
        .join(FILES, FACES.c.file == FILES.c.id)
        .join(said, said.c.face == FACES.c.id)
        .where(said.c.fakes + said.c.reals > 0)
        .order_by(FACES.c.id)
    )
    last = latest()
    named = sql.select(last.c.face, last.c.kind).where(last.c.label == "fake", last.c.kind.is_not(None))
    crops = sql.select(CROPS.c.id, CROPS.c.png).where(CROPS.c.expires > time.time()).order_by(CROPS.c.id)
    kinds: defaultdict[int, set[str]] = defaultdict(set)
    lines: dict[str, list[list[str]]] = {"fake": [], "real": []}
    of_hash: defaultdict[str, set[str]] = defaultdict(set)
    chosen: list[tuple[str, str, str, list[str]]] = []  # label, file, source, names of pictures
    left_out = dict.fromkeys(("disagreed", "other", "gone", "foreign"), 0)
    for label in lines:
        (folder / label).mkdir(parents=True)
    with store.reading() as reading:
        spelled = spelling(reading)
        kind = None if kind is None else spelled.of(kind)
        for face, word in reading.execute(named):
            kinds[face].add(spelled.of(word))
        for row in reading.execute(asked).all():
            label, why = _of(row, kinds[row.id], kind, cut)
            if why is not None:
                left_out[why] += 1
                continue
            pngs = reading.execute(crops.where(CROPS.c.face == row.id)).all()
            if not pngs:
                left_out["gone"] += 1
                continue
            hashes = [hashlib.sha256(png).hexdigest() for _, png in pngs]
            for (_, png), name in zip(pngs, hashes, strict=True):
                of_hash[name].add(label)
                (folder / label / f"{name}.png").write_bytes(png)
            source = next(iter(kinds[row.id]), "reviews") if label == "fake" else "reviews"
            chosen.append((label, row.file, source, hashes))
    counts = {"fake": 0, "real": 0}
    for label, file, source, names in chosen:
        if any(len(of_hash[name]) > 1 for name in names):
            left_out["disagreed"] += 1
            continue
        counts[label] += 1
        lines[label] += [[f"{name}.png", label, file, source, "finetune"] for name in names]
    for label, rows in lines.items():
        unique = list({row[0]: row for row in rows}.values())
        write_csv(folder / label / INDEX, ["path", "label", "group", "source", "split"], unique)
    return Reviewed(kind, counts["fake"], counts["real"], **left_out)


def _of(row: Any, kinds: set[str], kind: str | None, cut: str) -> tuple[str, str | None]:
    """The label of a face, and why it is left out, if it is."""
    label = "fake" if row.fakes > row.reals else "real"
    if row.fakes == row.reals or (label == "fake" and len(kinds) > 1):
        return label, "disagreed"
    if label == "fake" and kind is not None and kinds != {kind}:
        return label, "other"
    return label, None if row.cut in (cut, WHOLE) else "foreign"
