"""Where a result lies that a verb is given."""

from __future__ import annotations

from pathlib import Path

from facetell.errors import UsageError
from facetell.results import Result

__all__ = ["result_path"]


def result_path(result: Result | str | Path) -> Path:
    """The folder of a result. Raises ``UsageError`` for one that was not written."""
    path = getattr(result, "path", None) if isinstance(result, Result) else Path(result)
    if path is None:
        raise UsageError("this result was not written to a folder", hint="give the verb that made it a folder: out=…")
    return path
