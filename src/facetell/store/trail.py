"""The audit trail, read: who did what to what, the latest first."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sql

from facetell.store.store import Store
from facetell.store.tables import TRAIL

__all__ = ["Step", "steps"]


@dataclass(frozen=True)
class Step:
    """What was done: ``at`` when (s since 1970), by ``who``, ``what`` (label, forget, expire, alarm, adapt, shadow, promote,
    back, refuse), and ``about`` what."""

    at: float
    who: str
    what: str
    about: str


def steps(store: Store, count: int, what: str | None = None) -> list[Step]:
    """The last ``count`` steps, or those that did ``what``, the latest first."""
    asked = sql.select(TRAIL.c.at, TRAIL.c.who, TRAIL.c.what, TRAIL.c.about).order_by(TRAIL.c.id.desc()).limit(count)
    with store.reading() as reading:
        return [Step(*row) for row in reading.execute(asked if what is None else asked.where(TRAIL.c.what == what))]
