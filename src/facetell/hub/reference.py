"""The address of a repository: ``hf://owner/name``, with ``@revision`` (branch, tag or commit) if it is not to be the newest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from facetell.errors import UsageError

__all__ = ["Reference", "is_commit", "reference_in"]

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_BEGIN = re.compile(r"hf:/{1,2}(?!/)")
"""One slash, too: a ``Path`` of the address has lost the other."""
_ADDRESS = re.compile(rf"(datasets/)?({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9_./-]{{0,199}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Reference:
    """A repository by ``owner/name``. ``revision`` is None for the newest; ``dataset``: it was said to hold a face set."""

    repository: str
    revision: str | None = None
    dataset: bool = False

    def __str__(self) -> str:
        return (
            f"hf://{'datasets/' if self.dataset else ''}{self.repository}{f'@{self.revision}' if self.revision else ''}"
        )

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return self.revision is not None and is_commit(self.revision)


def is_commit(text: object) -> bool:
    """Whether it is the whole hash of a commit."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def reference_in(text: str | Path) -> Reference | None:
    """The repository that an argument names, None where it is a path. Raises ``UsageError`` for a name that cannot be."""
    words = str(text)
    begin = _BEGIN.match(words)
    if begin is None:
        return None
    address = _ADDRESS.fullmatch(words[begin.end() :])
    if address is None or ".." in words:
        raise UsageError(f"'{words}' names no repository", hint="hf://owner/name, or hf://owner/name@revision")
    return Reference(address[2], address[3], address[1] is not None)
