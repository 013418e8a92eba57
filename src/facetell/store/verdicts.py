"""Files that were accepted and what came of them, with the crops that are kept for a time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from facetell.store.records import Accepted, Ended
from facetell.store.store import Store, now, record
from facetell.store.tables import CROPS, EXPIRED, FACES, FILES, SERVERS

__all__ = ["accept", "alive", "end", "find", "forget", "gone", "withdraw"]

LEASE = 10.0
"""Seconds without a sign of a server after which what it had accepted is lost."""


def accept(store: Store, server: str, files: Sequence[Accepted]) -> None:
    """Write that a server has accepted files, before anybody is told so."""
    with store.writing() as done:
        same = {"server": server, "created": now(done), "state": "accepted"}
        rows = [{**file.__dict__, "name": _text(file.name), "sender": _text(file.sender), **same} for file in files]
        done.execute(FILES.insert(), rows)


def _text(name: str) -> str:
    """A name as a database can hold it, whatever the client wrote."""
    return name.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def end(store: Store, files: Sequence[Ended], keep_days: float | None) -> None:
    """Write what came of files; their crops too, for ``keep_days`` if given. One that is no longer there stays away."""
    with store.writing() as done:
        at = now(done)
        for file in files:
            values = {name: value for name, value in file.__dict__.items() if name not in ("id", "faces")}
            mine = FILES.update().where(FILES.c.id == file.id, FILES.c.state != EXPIRED)
            if done.execute(mine.values(finished=at, **values)).rowcount and keep_days is not None:
                _keep(done, file, at + keep_days * 86_400)


def _keep(done: Connection, file: Ended, expires: float) -> None:
    if done.execute(sql.select(FACES.c.id).where(FACES.c.file == file.id)).first() is not None:
        return  # the store's answer was lost, so it is told twice; people may have labelled them by now
    for face in file.faces:
        row = {name: value for name, value in face.__dict__.items() if name != "crops"}
        row["doubt"] = -1.0 if face.decision == "unsure" else abs(face.score - face.threshold)
        made = done.execute(FACES.insert().values(file=file.id, draw=random.random(), labelled=False, **row))
        (number,) = made.inserted_primary_key or (0,)
        done.execute(CROPS.insert(), [{**crop.__dict__, "face": number, "expires": expires} for crop in face.crops])


def find(store: Store, name: str, owner: str) -> dict[str, Any] | None:
    """The owner's file of that id: its ``name``, ``video``, ``state`` and ``answer``."""
    columns = (FILES.c.name, FILES.c.video, FILES.c.state, FILES.c.answer)
    asked = sql.select(*columns).where(FILES.c.id == name, FILES.c.owner == owner, FILES.c.state != EXPIRED)
    with store.reading() as reading:
        row = reading.execute(asked).mappings().first()
    return None if row is None else dict(row)


def withdraw(store: Store, names: Sequence[str]) -> None:
    """Remove files of which no client was told that they are accepted."""
    with store.writing() as done:
        done.execute(FILES.delete().where(FILES.c.id.in_(names)))


def forget(store: Store, name: str, owner: str, who: str) -> bool:
    """Remove the owner's file of that id with its crops and their labels; whether there was one."""
    mine = FILES.delete().where(FILES.c.id == name, FILES.c.owner == owner, FILES.c.state != EXPIRED)
    with store.writing() as done:
        found = done.execute(mine).rowcount
        if found:
            record(done, who, "forget", name)
    return bool(found)


def alive(store: Store, server: str) -> None:
    """Say that a server runs; what others had accepted that say nothing any more has failed, without an answer."""
    with store.writing() as done:
        at = now(done)
        before = done.execute(sql.select(SERVERS.c.seen).where(SERVERS.c.id == server)).scalar()
        if before is None:
            done.execute(SERVERS.insert().values(id=server, seen=at))
        else:
            done.execute(SERVERS.update().where(SERVERS.c.id == server).values(seen=at))
        done.execute(SERVERS.update().where(SERVERS.c.seen > at).values(seen=at))  # the clock went back
        if before is None or at - before < LEASE:  # else the store was away, and nobody could say anything
            done.execute(SERVERS.delete().where(SERVERS.c.seen < at - LEASE))
            running = sql.select(SERVERS.c.id)
            done.execute(
                FILES.update()
                .where(FILES.c.state == "accepted", FILES.c.server.not_in(running))
                .values(state="failed", finished=at)
            )


def gone(store: Store, server: str) -> None:
    """Say that a server has ended."""
    with store.writing() as done:
        done.execute(SERVERS.delete().where(SERVERS.c.id == server))
