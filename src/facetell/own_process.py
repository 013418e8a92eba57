"""Whether this process is the command's alone, so that it may be copied: nobody else's threads and locks are in it."""

from __future__ import annotations

__all__ = ["is_ours", "take"]


class _Process:
    ours = False


def take() -> None:
    """Say that it is: what the command does as it begins, and nobody who imports facetell."""
    _Process.ours = True


def is_ours() -> bool:
    """Whether it is."""
    return _Process.ours
