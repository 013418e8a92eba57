"""Kinds of fakes, as reviewers name them: however one is typed, it is spelled as it was the first time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from facetell.store.tables import LABELS

__all__ = ["Spelling", "spelling"]


class Spelling:
    """Spells a kind as the first of ``named`` that differs at most in case, spaces or the coding of its letters."""

    def __init__(self, named: Iterable[str]) -> None:
        self._first: dict[str, str] = {}
        for kind in named:
            self._first.setdefault(_folded(kind), kind)

    def of(self, kind: str) -> str:
        """The kind as it was spelled first; as it is where nobody named it."""
        return self._first.get(_folded(kind), kind)


def _folded(kind: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", kind).casefold().split())


def spelling(asked: Connection) -> Spelling:
    """How the kinds of a store are spelled."""
    first = sql.select(LABELS.c.kind).where(LABELS.c.kind.is_not(None)).group_by(LABELS.c.kind)
    return Spelling(asked.execute(first.order_by(sql.func.min(LABELS.c.id))).scalars())
