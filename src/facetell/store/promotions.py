"""Detectors on their way into use: first in shadow, where they judge what comes and are not heard, then in place of the old."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from facetell.detector.bundle import identity_of, read_description
from facetell.detector.description import DESCRIPTION
from facetell.errors import UsageError
from facetell.store.labels import votes
from facetell.store.records import Compared
from facetell.store.store import Store, record
from facetell.store.tables import COMPARED, DETECTORS, FACES, FILES, PARTS, TRAIL, USES

__all__ = ["Differences", "Use", "Uses", "back", "compare", "differences", "into_use", "shadow", "take_out", "uses"]

_SHOWN = 20
_STEP = 0x66616366
"""The advisory lock of PostgreSQL under which a step is taken; in SQLite there is one writer at a time."""


@dataclass(frozen=True)
class Use:
    """A detector that was promoted: its ``identity`` and ``name``, ``since`` when (s since 1970) and by ``who``; ``refused``: why
    a server does not judge by it, if one does not."""

    identity: str
    name: str
    since: float
    who: str
    refused: str | None = None


@dataclass(frozen=True)
class Uses:
    """What is in use, and what is in shadow. No ``current``: each server judges by the detector it was started with."""

    current: Use | None
    shadow: Use | None


@dataclass(frozen=True)
class Differences:
    """How a detector in shadow differs from what was answered.

    ``files``: that both judged; ``different``: with another decision; ``changes``: how many by (old, new) decision, where
    they differ; ``labelled``: photos of one face among them that people labelled, with how many ``old_right`` and
    ``new_right`` there were; ``examples``: ids of files with another decision, with both decisions and scores, latest first.
    """

    files: int
    different: int
    changes: dict[str, int]
    labelled: int
    old_right: int
    new_right: int
    examples: Sequence[dict[str, Any]]


def uses(store: Store) -> Uses:
    """What is in use and in shadow."""
    with store.reading() as reading:
        return _uses(reading)


def _uses(reading: Connection) -> Uses:
    asked = (
        sql.select(USES.c.stage, DETECTORS.c.identity, DETECTORS.c.name, USES.c.since, USES.c.who)
        .join(DETECTORS, USES.c.detector == DETECTORS.c.identity)
        .where(USES.c.stage != "ended")
        .order_by(USES.c.id)
    )
    last = {row.stage: Use(*row[1:]) for row in reading.execute(asked)}
    told = {stage: replace(use, refused=_refused(reading, use)) for stage, use in last.items()}
    return Uses(told.get("current"), told.get("shadow"))


def shadow(store: Store, bundle: Path, who: str) -> Use:
    """Put the detector at ``bundle``, which is whole, into shadow, in place of the one that is there.

    Raises ``UsageError`` where it is in use already.
    """
    identity = identity_of(bundle)
    names = [DESCRIPTION, *read_description(bundle)["files"]]  # no pictures of a replay buffer: judging needs none
    with _alone(store) as done:
        now = _uses(done)
        if now.current is not None and now.current.identity == identity:
            raise UsageError(f"{bundle.name} ({identity}) is in use already", hint="facetell promote --store shows it")
        if done.execute(sql.select(DETECTORS.c.name).where(DETECTORS.c.identity == identity)).first() is None:
            done.execute(DETECTORS.insert().values(identity=identity, name=bundle.name))
            for name in names:
                done.execute(PARTS.insert().values(detector=identity, path=name, content=(bundle / name).read_bytes()))
        done.execute(USES.update().where(USES.c.stage == "shadow").values(stage="ended"))
        use = Use(identity, bundle.name, time.time(), who)
        done.execute(USES.insert().values(detector=identity, stage="shadow", since=use.since, who=who))
        record(done, who, "shadow", f"{use.name} ({identity})")
    return use


def into_use(store: Store, identity: str | None, who: str) -> Use:
    """Put the detector in shadow into use. Raises ``UsageError`` where there is none, it is not that of ``identity``, or it has
    judged nothing yet."""
    with _alone(store) as done:
        now = _uses(done).shadow
        if now is None or identity not in (None, now.identity):
            raise UsageError(
                "no detector is in shadow"
                if now is None
                else f"another detector is in shadow: {now.name} ({now.identity})",
                hint="let it judge beside the old one first: facetell promote NEW --store PATH",
            )
        judged = sql.select(sql.func.count()).where(COMPARED.c.shadow == now.identity)
        if not done.execute(judged).scalar():
            why = f": a server refused it, {now.refused}" if now.refused else ""
            raise UsageError(
                f"{now.name} ({now.identity}) has judged nothing in shadow yet{why}",
                hint="promote another one" if now.refused else "wait for some traffic, then again",
            )
        done.execute(USES.update().where(USES.c.stage == "shadow").values(stage="ended"))
        use = Use(now.identity, now.name, time.time(), who)
        done.execute(USES.insert().values(detector=use.identity, stage="current", since=use.since, who=who))
        record(done, who, "promote", f"{use.name} ({use.identity})")
    return use


@contextmanager
def _alone(store: Store) -> Iterator[Connection]:
    """A transaction while nobody else takes a step: of two at once, the second one sees what the first has done."""
    with store.writing() as done:
        if done.dialect.name == "postgresql":
            done.execute(sql.select(sql.func.pg_advisory_xact_lock(_STEP)))
        yield done


def _refused(asked: Connection, use: Use) -> str | None:
    """Why a server did not take a detector since it was last promoted, if one did not."""
    name = f"{use.name} ({use.identity})"
    mine = TRAIL.c.about.startswith(name, autoescape=True)
    last = sql.select(TRAIL.c.what, TRAIL.c.about).where(TRAIL.c.what.in_(("shadow", "promote", "refuse")), mine)
    row = asked.execute(last.order_by(TRAIL.c.id.desc()).limit(1)).first()
    return row.about.removeprefix(f"{name}: ") if row is not None and row.what == "refuse" else None


def back(store: Store, who: str) -> Use:
    """Undo the last step: end the shadow if there is one, else go back to what was in use before. Gives what was ended.

    Raises ``UsageError`` where nothing was promoted.
    """
    with _alone(store) as done:
        now = _uses(done)
        use = now.shadow or now.current
        if use is None:
            raise UsageError("nothing was promoted", hint="servers judge by the detector that they were started with")
        stage = "shadow" if now.shadow is not None else "current"
        last = sql.select(sql.func.max(USES.c.id)).where(USES.c.stage == stage).scalar_subquery()
        done.execute(USES.update().where(USES.c.id == last).values(stage="ended"))
        record(done, who, "back", f"{use.name} ({use.identity}) was {'in shadow' if stage == 'shadow' else 'in use'}")
    return use


def take_out(store: Store, identity: str, out: Path) -> None:
    """Write a detector of the store to the folder ``out``, which is not there yet."""
    asked = sql.select(PARTS.c.path, PARTS.c.content).where(PARTS.c.detector == identity)
    out.mkdir()
    with store.reading() as reading:
        for name, content in reading.execute(asked):
            (out / Path(name).name).write_bytes(content)


def compare(store: Store, found: Sequence[Compared]) -> None:
    """Write what a detector in shadow said of files; not of one that was deleted meanwhile."""
    with store.writing() as done:
        for one in found:
            there = sql.select(FILES.c.id).where(FILES.c.id == one.file).with_for_update(read=True)
            if done.execute(there).first() is not None:
                done.execute(COMPARED.delete().where(COMPARED.c.file == one.file, COMPARED.c.shadow == one.shadow))
                done.execute(COMPARED.insert().values(**one.__dict__))


def differences(store: Store, identity: str) -> Differences:
    """How the detector of that identity differs, as far as it has judged in shadow."""
    mine = COMPARED.c.shadow == identity
    by_change = sql.select(COMPARED.c.old_status, COMPARED.c.status, sql.func.count()).where(mine).group_by(
        COMPARED.c.old_status, COMPARED.c.status
    )  # fmt: skip
    latest = (
        sql.select(
            COMPARED.c.file.label("id"),
            COMPARED.c.old_status,
            COMPARED.c.old_score,
            COMPARED.c.status,
            COMPARED.c.score,
        )
        .join(FILES, FILES.c.id == COMPARED.c.file)
        .where(mine, COMPARED.c.status != COMPARED.c.old_status)
        .order_by(FILES.c.created.desc(), FILES.c.id)
        .limit(_SHOWN)
    )
    said = votes()
    alone = sql.select(FACES.c.file).group_by(FACES.c.file).having(sql.func.count() == 1)
    label = sql.case((said.c.fakes > said.c.reals, "fake"), else_="real")
    right = [
        sql.func.sum(sql.case((column == label, 1), else_=0)) for column in (COMPARED.c.old_status, COMPARED.c.status)
    ]
    labelled = (
        sql.select(sql.func.count(), *right)
        .select_from(COMPARED)
        .join(FILES, FILES.c.id == COMPARED.c.file)
        .join(FACES, FACES.c.file == FILES.c.id)
        .join(said, said.c.face == FACES.c.id)
        .where(mine, FILES.c.video.is_(False), FACES.c.file.in_(alone), said.c.fakes != said.c.reals)
    )
    with store.reading() as reading:
        rows = [(old, new, int(count)) for old, new, count in reading.execute(by_change)]
        examples = [dict(row) for row in reading.execute(latest).mappings()]
        count, old_right, new_right = reading.execute(labelled).one()
    changes = {f"{old} to {new}": count for old, new, count in sorted(rows, key=lambda row: -row[2]) if old != new}
    return Differences(
        files=sum(count for _, _, count in rows),
        different=sum(changes.values()),
        changes=changes,
        labelled=int(count),
        old_right=int(old_right or 0),
        new_right=int(new_right or 0),
        examples=examples,
    )
