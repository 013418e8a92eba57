"""Verdicts of a store as ``watch`` reads them: a file of JSON Lines for each day."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import sqlalchemy as sql

from facetell.errors import DataError
from facetell.store.store import Store
from facetell.store.tables import FILES

__all__ = ["write_days"]


def write_days(store: Store, identity: str, days: float, folder: Path) -> list[Path]:
    """Write the verdicts of a detector in the last ``days`` to ``folder``, a file for each day (UTC), the first day first.

    Each is named by its file's id there: clients call many files alike. Raises ``DataError`` where there are none.
    """
    asked = (
        sql.select(FILES.c.id, FILES.c.created, FILES.c.answer)
        .where(FILES.c.state == "done", FILES.c.detector == identity, FILES.c.created >= time.time() - days * 86_400)
        .order_by(FILES.c.created)
    )
    opened: dict[Path, TextIO] = {}
    with ExitStack() as files, store.reading() as reading:
        for name, created, answer in reading.execution_options(yield_per=1000).execute(asked):
            path = folder / f"{datetime.fromtimestamp(created, UTC):%Y-%m-%d}.jsonl"
            if path not in opened:
                opened[path] = files.enter_context(path.open("w", encoding="utf-8"))
            opened[path].write(json.dumps({**json.loads(answer)["verdict"], "path": name}) + "\n")
    if not opened:
        raise DataError(
            f"the store {store.name} holds no verdict of this detector in {days:g} days",
            hint="name the detector that the server judges with, as it is now",
        )
    return list(opened)
