"""What people said of faces: written down, summed up to one label, and how far they agree.

Of each reviewer the last word on a face counts. A face is fake, or real, if more reviewers say so than the other; where
as many say the one as the other they disagree, and it has no label. Who says ``unsure`` has no vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from facetell.errors import DataError
from facetell.store.kinds import spelling
from facetell.store.store import Store, now, record
from facetell.store.tables import FACES, FILES, LABELS

__all__ = ["Agreement", "agreements", "kappa", "label", "latest", "votes"]


@dataclass(frozen=True)
class Agreement:
    """Of two ``reviewers`` on ``n`` faces that both labelled: the share they ``agreed`` on, and Cohen's ``kappa``, None where
    chance alone would have them agree on all."""

    reviewers: tuple[str, str]
    n: int
    agreed: float
    kappa: float | None


def label(store: Store, reviewer: str, face: int, word: str, kind: str | None, why: str | None) -> dict[str, Any]:
    """Write down what a reviewer says of a face; gives the ``kind`` as it was spelled first, and the detector's ``decision``,
    ``score`` and ``detector`` on it.

    ``kind``: of fake, in a word. It is on the disk when this returns. Raises ``DataError`` where there is no such face.
    """
    judged = (
        sql.select(FACES.c.decision, FACES.c.score, FILES.c.detector)
        .join(FILES, FACES.c.file == FILES.c.id)
        .where(FACES.c.id == face)
        .with_for_update(key_share=True, of=FACES)  # one that is just being deleted is waited for, and then not there
    )
    with store.writing() as done:
        row = done.execute(judged).mappings().first()
        if row is None:
            raise DataError(f"there is no face {face}", hint="it may have been deleted; label the next one")
        kind = spelling(done).of(kind) if kind is not None and word == "fake" else None
        said = {"reviewer": reviewer, "label": word, "kind": kind, "why": why}
        done.execute(LABELS.insert().values(face=face, at=now(done), **said))
        done.execute(FACES.update().where(FACES.c.id == face, FACES.c.labelled.is_(False)).values(labelled=True))
        record(done, reviewer, "label", f"face {face}: {word}")
    return {"kind": kind, **row}


def latest() -> sql.Subquery:
    """Of each face and reviewer the last label: ``id``, ``face``, ``reviewer``, ``label``, ``kind``."""
    last = sql.select(sql.func.max(LABELS.c.id)).group_by(LABELS.c.face, LABELS.c.reviewer)
    columns = (LABELS.c.id, LABELS.c.face, LABELS.c.reviewer, LABELS.c.label, LABELS.c.kind)
    return sql.select(*columns).where(LABELS.c.id.in_(last)).subquery("latest")


def votes() -> sql.Subquery:
    """Of each face that was labelled: ``face``, how many ``said`` anything, how many ``fakes`` and ``reals`` there are, and
    the id of its ``newest`` label."""
    last = latest()
    count = {word: sql.func.sum(sql.case((last.c.label == word, 1), else_=0)) for word in ("fake", "real")}
    return (
        sql.select(
            last.c.face,
            sql.func.count().label("said"),
            count["fake"].label("fakes"),
            count["real"].label("reals"),
            sql.func.max(last.c.id).label("newest"),
        )
        .group_by(last.c.face)
        .subquery("votes")
    )


def agreements(store: Store) -> list[Agreement]:
    """How far every two reviewers agree who labelled the same faces, those with the most faces first."""
    one, other = latest(), latest().alias("other")
    pairs = (
        sql.select(one.c.reviewer, other.c.reviewer.label("second"), one.c.label, other.c.label.label("word"))
        .join(other, sql.and_(one.c.face == other.c.face, one.c.reviewer < other.c.reviewer))
    )  # fmt: skip
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    with store.reading() as reading:
        for first, second, word, theirs in reading.execute(pairs):
            found.setdefault((first, second), []).append((word, theirs))
    told = [
        Agreement(who, len(words), sum(a == b for a, b in words) / len(words), kappa(words))
        for who, words in found.items()
    ]
    return sorted(told, key=lambda each: (-each.n, each.reviewers))


def kappa(words: Iterable[tuple[str, str]]) -> float | None:
    """Cohen's kappa (1960) of two who said those words of the same things: agreement beyond that of chance."""
    pairs = list(words)
    n = len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[word] * second[word] for word in first) / n**2 if n else 1.0
    agreed = sum(a == b for a, b in pairs) / n if n else 0.0
    return None if chance == 1 else (agreed - chance) / (1 - chance)
