"""Every error facetell raises on purpose, and the exit code the command ends with.

::

    FacetellError                1   anything else that has a known cause
    ├── UsageError               2   what was asked for cannot be done as asked
    │   └── SettingsError        2   unknown or impossible setting
    ├── DataError                3   pictures, folders, indexes, face sets; a place that cannot be written
    │   ├── LeakError            3   the same picture or group on both sides of a split
    │   └── MediaError           3   one picture or video that cannot be read (``reason`` is a status word)
    │       └── ImageError       3   one picture that cannot be read
    ├── BundleError              4   a detector bundle that is damaged, incomplete, foreign or swapped
    ├── HubError                 1   the Hugging Face Hub refuses, has no such repository, or is out of reach
    ├── MissingExtraError        5   an optional part that is not installed
    └── AcceptanceError          7   an adapted detector that failed an acceptance check, so it was not written

``detect`` ends with 6 when some paths could not be judged, and Ctrl-C ends every command with 130.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = [
    "AcceptanceError",
    "BundleError",
    "DataError",
    "FacetellError",
    "HubError",
    "ImageError",
    "LeakError",
    "MediaError",
    "MissingExtraError",
    "SettingsError",
    "UsageError",
    "learning",
    "near_miss",
]

_LEARNING = ("torch", "torchvision", "timm", "onnx", "lightning_fabric", "sklearn", "captum")
"""Packages that learning needs and judging does not: the extra ``learn``."""


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
    """A picture folder, an index or a face set that cannot be used, or a place that cannot be written."""

    exit_code = 3


class LeakError(DataError):
    """The same picture or the same group on both sides of a split, or under both labels."""


class MediaError(DataError):
    """One picture or video that cannot be read. ``reason`` is a status word.

    ``missing`` (no such file), ``empty`` (zero bytes), ``unreadable`` (damaged), ``unsupported`` (not a kind we read),
    ``too_large`` (bytes or pixels), ``too_long`` (seconds or frames), ``timeout`` (took too long to decode), ``no_access``
    (the system did not give its bytes: no permission, a disk that fails; which may be over tomorrow).
    """

    def __init__(self, message: str, *, reason: str = "unreadable", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ImageError(MediaError):
    """One picture that cannot be read; one that is too large is ``unsupported``."""


class BundleError(FacetellError):
    """A detector bundle that is damaged, incomplete, of a foreign version, or swapped."""

    exit_code = 4


class HubError(FacetellError):
    """The Hugging Face Hub refuses, has no such repository, or is out of reach."""


class MissingExtraError(FacetellError):
    """An optional part is not installed."""

    exit_code = 5

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the optional part '{extra}'", hint=f"pip install 'facetell[{extra}]'")
        self._arguments = (what, extra)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), self._arguments  # pickled by its arguments, or it could not cross from a worker process


class AcceptanceError(FacetellError):
    """An adapted detector failed an acceptance check and was not written; ``record`` is what was tried and measured."""

    exit_code = 7

    def __init__(self, message: str, record: dict[str, Any], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.record = record


@contextlib.contextmanager
def learning(what: str) -> Iterator[None]:
    """Say that ``what`` needs the extra ``learn``, where an import inside fails because one of its packages is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _LEARNING:
            raise
        raise MissingExtraError(what, "learn") from None


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known word, with all that are as close, or an empty string."""
    near = {name: difflib.SequenceMatcher(a=name, b=word).ratio() for name in known}
    best = max(near.values(), default=0.0)
    close = sorted(f"'{name}'" for name, ratio in near.items() if ratio == best >= 0.5)
    return f"; did you mean {' or '.join(close[:3])}?" if close else ""
