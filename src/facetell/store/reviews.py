"""Which face a reviewer should look at next, and what the labels of a random share say of the detector.

Faces where the detector is in doubt teach it most, and say nothing of how often it errs: they are the hard ones. So a share of
all faces is set aside by chance as they come, and shown in an order by chance. Nobody meets one of them first for another reason,
and their labels alone make the estimate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sql

from facetell.evaluation.rates import effective_share, rate_interval
from facetell.store.kinds import spelling
from facetell.store.labels import latest, votes
from facetell.store.records import REASONS
from facetell.store.store import Store
from facetell.store.tables import CROPS, FACES, FILES, LABELS

__all__ = ["COUNTED", "SHARE", "Case", "Estimate", "Rate", "case", "estimates", "kinds", "left", "next_cases"]

SHARE = 0.2
"""Of all faces, for the estimate."""
COUNTED = 1000
"""Faces that wait are counted no further."""
ENOUGH = 2
"""Labels that a face of that share gets: two, so that agreement can be told."""


@dataclass(frozen=True)
class Case:
    """A face to label: its number, why it is shown, whether it is of a video, and its crops as PNG."""

    face: int
    reason: str
    video: bool
    crops: tuple[bytes, ...]


@dataclass(frozen=True)
class Rate:
    """``hits`` of ``n``, with its 95% interval, in which faces of one file count as fewer than they are; None of none."""

    hits: int
    n: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """What the random share says of a detector: its ``error`` where it decided, ``missed`` fakes and ``false_alarms`` on reals
    among them, how often it was ``unsure``; ``disagreed``: faces left out as reviewers disagree."""

    detector: str
    error: Rate
    missed: Rate
    false_alarms: Rate
    unsure: Rate
    disagreed: int


def next_cases(store: Store, reviewer: str, count: int = 1) -> list[Case]:
    """At most ``count`` faces that this reviewer should label next, of the four reasons in turn."""
    with store.reading() as reading:
        mine = latest()
        done = sql.select(sql.func.count()).select_from(mine).where(mine.c.reviewer == reviewer)
        turn = int(reading.execute(done).scalar() or 0)
        waiting = {
            reason: reading.execute(_waiting(reason, reviewer).limit(count)).scalars().all() for reason in REASONS
        }
    queues = [[(face, reason) for face in waiting[reason]] for reason in REASONS]
    order = [queues[(turn + k) % len(queues)] for k in range(len(queues))]
    chosen: dict[int, str] = {}
    while len(chosen) < count and any(order):
        for some in order:
            if some:
                face, reason = some.pop(0)
                chosen.setdefault(face, reason)
    found = [case(store, face, reason) for face, reason in list(chosen.items())[:count]]
    return [each for each in found if each is not None]


def case(store: Store, face: int, reason: str = "again") -> Case | None:
    """One face with its crops; None where there are none any more."""
    crops = sql.select(CROPS.c.png).where(CROPS.c.face == face, CROPS.c.expires > time.time()).order_by(CROPS.c.id)
    video = sql.select(FILES.c.video).join(FACES, FACES.c.file == FILES.c.id).where(FACES.c.id == face)
    with store.reading() as reading:
        found = tuple(reading.execute(crops).scalars())
        return Case(face, reason, bool(reading.execute(video).scalar()), found) if found else None


def left(store: Store, reviewer: str) -> dict[str, int]:
    """How many faces wait for this reviewer, by reason; no more than `COUNTED` of each are counted."""
    with store.reading() as reading:
        asked = {
            reason: sql.select(sql.func.count()).select_from(_waiting(reason, reviewer).subquery())
            for reason in REASONS
        }
        return {reason: int(reading.execute(each).scalar() or 0) for reason, each in asked.items()}


def kinds(store: Store) -> list[str]:
    """The kinds of fakes that reviewers have named."""
    last = latest()
    with store.reading() as reading:
        named = reading.execute(sql.select(last.c.kind).where(last.c.kind.is_not(None)).distinct()).scalars().all()
        spelled = spelling(reading)
    return sorted({spelled.of(kind) for kind in named}, key=str.casefold)


def _waiting(reason: str, reviewer: str) -> sql.Select[Any]:
    """Ids of the faces that wait for a reviewer for one reason, the first one first."""
    asked = sql.select(FACES.c.id).where(
        sql.exists().where(CROPS.c.face == FACES.c.id, CROPS.c.expires > time.time())
    )  # fmt: skip
    if reason == "random":
        mine = sql.exists().where(LABELS.c.face == FACES.c.id, LABELS.c.reviewer == reviewer)
        many = sql.select(sql.func.count(LABELS.c.reviewer.distinct())).where(LABELS.c.face == FACES.c.id)
        few = many.scalar_subquery() < ENOUGH
        return asked.where(FACES.c.draw < SHARE, ~mine, few).order_by(FACES.c.draw)
    if reason == "disagreement":
        said, last = votes(), latest().alias("mine")
        theirs = sql.func.coalesce(last.c.id, 0) != said.c.newest  # somebody spoke after this reviewer
        return (
            asked.join(said, said.c.face == FACES.c.id)
            .outerjoin(last, sql.and_(last.c.face == FACES.c.id, last.c.reviewer == reviewer))
            .where(FACES.c.labelled, said.c.fakes > 0, said.c.fakes == said.c.reals, theirs)
            .order_by(said.c.newest)
        )
    fresh = asked.where(FACES.c.labelled.is_(False), FACES.c.novel == (reason == "novel"), FACES.c.draw >= SHARE)
    return fresh.order_by(*([FACES.c.p_known] if reason == "novel" else []), FACES.c.doubt, FACES.c.id)


def estimates(store: Store) -> list[Estimate]:
    """What the random share says, of each detector that judged some of it, the one with the latest file first."""
    said = votes()
    asked = (
        sql.select(
            FILES.c.detector, FILES.c.created, sql.func.coalesce(FILES.c.sha256, FILES.c.id).label("file"),
            FACES.c.decision, said.c.fakes, said.c.reals,
        )
        .join(FACES, FACES.c.file == FILES.c.id)
        .join(said, said.c.face == FACES.c.id)
        .where(FACES.c.labelled, FACES.c.draw < SHARE, said.c.fakes + said.c.reals > 0)
        .order_by(FILES.c.created.desc(), FACES.c.id)
    )  # fmt: skip
    rows: dict[str, list[Any]] = {}
    with store.reading() as reading:
        for row in reading.execute(asked):
            rows.setdefault(str(row.detector), []).append(row)
    return [_estimate(detector, some) for detector, some in rows.items()]


def _estimate(detector: str, rows: list[Any]) -> Estimate:
    agreed = [row for row in rows if row.fakes != row.reals]
    fake = np.array([row.fakes > row.reals for row in agreed], dtype=bool)
    called = np.array([row.decision == "fake" for row in agreed], dtype=bool)
    decided = np.array([row.decision != "unsure" for row in agreed], dtype=bool)
    files = np.array([row.file for row in agreed], dtype=np.str_)
    wrong = fake != called
    return Estimate(
        detector,
        error=_rate(wrong, files, decided),
        missed=_rate(wrong, files, decided & fake),
        false_alarms=_rate(wrong, files, decided & ~fake),
        unsure=_rate(~decided, files, np.ones(len(agreed), dtype=bool)),
        disagreed=len(rows) - len(agreed),
    )


def _rate(hits: Any, files: Any, among: Any) -> Rate:
    some, names = hits[among], files[among]
    n = len(some)
    if not n:
        return Rate(0, 0, None, None, None)
    share = effective_share(some.astype(float), names)
    low, high = rate_interval(float(some.sum()) * share, n * share)
    return Rate(int(some.sum()), n, float(some.mean()), low, high)
