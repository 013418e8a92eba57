"""Names of files as text: which can stand in a table, and how one is shown to people."""

from __future__ import annotations

import os
import unicodedata

__all__ = ["is_text", "shortened", "shown_name"]

_BREAKS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, undecodable bytes, and line and paragraph separators."""
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that show what follows in another order, so that ``gpj.exe`` can look like ``exe.jpg``."""


def is_text(name: str) -> bool:
    """Whether a name can stand in a table: every byte is text, and none breaks a line.

    Spaces of all widths, joiners, accents and marks are text: macOS writes U+202F into the names of screenshots.
    """
    return name.isprintable() or not any(unicodedata.category(mark) in _BREAKS for mark in name)


def shown_name(name: str) -> str:
    """A name for a line of text on a terminal: as it is, or escaped where it would break or turn the line."""
    return name if is_text(name) and _TURNS.isdisjoint(name) else ascii(name)


def shortened(name: str, most: int) -> str:
    """The begin of a name that takes at most ``most`` bytes on a disk, which counts bytes and not characters."""
    return os.fsencode(name)[:most].decode(errors="ignore")
