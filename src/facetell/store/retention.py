"""What is removed once its time is over: crops, and what came of files. Labels stay."""

from __future__ import annotations

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from facetell.store.store import Store, now, record
from facetell.store.tables import CROPS, EXPIRED, FACES, FILES, LABELS

__all__ = ["MOST", "expire_crops", "expire_verdicts"]

MOST = 500
"""Files removed in one transaction, for which nobody else can write."""
_NOT = ("accepted", EXPIRED)
"""States of files that stay; said so, and not by those that go, for SQLite would look for these and not for the oldest."""


def expire_crops(store: Store) -> int:
    """Remove crops whose time is over; how many."""
    with store.writing() as done:
        count = done.execute(CROPS.delete().where(CROPS.c.expires < now(done))).rowcount
        if count:
            record(done, "facetell", "expire", f"{count} crops")
    if count:
        store.scrub()
    return int(count)


def expire_verdicts(store: Store, days: float) -> int:
    """Remove what came of files that were accepted more than ``days`` ago, of at most `MOST` at once; of how many.

    One that still has crops stays until those are gone. Where people labelled a face of it, its faces and their labels stay,
    and nothing that says which file it was or who sent it.
    """
    with store.writing() as done:
        names = _old(done, now(done) - days * 86_400)
        if not names:
            return 0
        faces = sql.select(FACES.c.id).where(FACES.c.file.in_(names)).order_by(FACES.c.id)
        # A label that is on its way is seen below, or finds no face any more.
        done.execute(faces.with_for_update()).all()
        said = sql.select(FACES.c.file).join(LABELS, LABELS.c.face == FACES.c.id).where(FACES.c.file.in_(names))
        labelled = set(done.execute(said.distinct()).scalars())
        done.execute(FILES.delete().where(FILES.c.id.in_([name for name in names if name not in labelled])))
        nobody = {"owner": "-", "sender": "", "name": "", "sha256": None, "answer": None, "state": EXPIRED}
        done.execute(FILES.update().where(FILES.c.id.in_(labelled)).values(**nobody))
        kept = f", labels of {len(labelled)} among them are kept" if labelled else ""
        record(done, "facetell", "expire", f"{len(names)} verdicts{kept}")
    store.scrub()
    return len(names)


def _old(done: Connection, before: float) -> list[str]:
    """Ids of files that are over and have no crops, the oldest first; not those that another server is just removing."""
    crops = sql.exists().where(FACES.c.file == FILES.c.id, CROPS.c.face == FACES.c.id)
    asked = (
        sql.select(FILES.c.id)
        .where(FILES.c.created < before, FILES.c.state.not_in(_NOT), ~crops)
        .order_by(FILES.c.created)
        .limit(MOST)
        .with_for_update(skip_locked=True, of=FILES)
    )
    return list(done.execute(asked).scalars())
