"""Every error facetell raises on purpose, and the exit code the command ends with.

::

    FacetellError                1   anything else that has a known cause
    ├── UsageError               2   what was asked for cannot be done as asked
    │   └── SettingsError        2   unknown or impossible setting
    ├── DataError                3   pictures, folders, indexes, face sets
    │   ├── LeakError            3   the same picture or group on both sides of a split
    │   └── ImageError           3   one picture that cannot be read (``reason`` is a status word)
    ├── BundleError              4   a detector bundle that is damaged, incomplete, foreign or swapped
    └── MissingExtraError        5   an optional part that is not installed

``detect`` ends with 6 when some paths could not be judged, and Ctrl-C ends every command with 130.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BundleError",
    "DataError",
    "FacetellError",
    "ImageError",
    "LeakError",
    "MissingExtraError",
    "SettingsError",
    "UsageError",
    "near_miss",
]


class FacetellError(Exception):
    """Base of all errors with a known cause: what happened, and optionally the next step (``hint``)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FacetellError):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class SettingsError(UsageError):
    """An unknown setting, or a value outside its range."""


class DataError(FacetellError):
    """A picture folder, an index or a face set that cannot be used."""

    exit_code = 3


class LeakError(DataError):
    """The same picture or the same group on both sides of a split, or under both labels."""


class ImageError(DataError):
    """One picture that cannot be read. ``reason`` is a status word (``unreadable``, ``unsupported``, ...)."""

    def __init__(self, message: str, *, reason: str = "unreadable", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class BundleError(FacetellError):
    """A detector bundle that is damaged, incomplete, of a foreign version, or swapped."""

    exit_code = 4


class MissingExtraError(FacetellError):
    """An optional part is not installed."""

    exit_code = 5

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the optional part '{extra}'", hint=f"pip install 'facetell[{extra}]'")


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
