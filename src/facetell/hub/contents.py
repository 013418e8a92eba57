"""What a repository may hold: files by name, and their bytes in sum."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from facetell.errors import FacetellError

__all__ = ["ASIDE", "CARD", "Contents"]

CARD = "README.md"
ASIDE = r"README\.md|\.gitattributes|(LICEN[CS]E|NOTICE)(\.md|\.txt)?"
"""A pattern for what every repository may hold beside: the card, the hub's own list of large files, terms."""
_GB = 1e9


@dataclass(frozen=True)
class Contents:
    """One kind of repository.

    ``what``: for people. ``repo_type``: the hub's word, ``model`` or ``dataset``. ``description``: the file that makes it one.
    ``names``: a pattern for all its files, `ASIDE` apart. ``most``: bytes in sum. ``check`` reads a folder whole, raising what
    is wrong with it. ``error`` is raised for a repository that is something else.
    """

    what: str
    repo_type: str
    description: str
    names: str
    most: int
    check: Callable[[Path], object]
    error: type[FacetellError]

    def allows(self, name: str) -> bool:
        """Whether a file may be there, by its path within the repository."""
        return re.fullmatch(rf"{ASIDE}|{self.names}", name) is not None

    def outdated(self, name: str) -> bool:
        """Whether a file that is there belongs to the version before, and goes with it; what lies beside stays."""
        return re.fullmatch(ASIDE, name) is None

    def inspect(self, where: str, sizes: Mapping[str, int]) -> None:
        """Refuse a repository, raising ``error``, that lacks the description, or holds another file or too many bytes."""
        if self.description not in sizes:
            raise self.error(f"{where} holds no {self.what}: it has no {self.description}")
        foreign = sorted(name for name in sizes if not self.allows(name))
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise self.error(
                f"{where} is refused: it holds {foreign[0]!r}{more}, which is no part of a {self.what}",
                hint="nothing of it was fetched",
            )
        total = sum(sizes.values())
        if total > self.most:
            raise self.error(
                f"{where} is refused: it has {total / _GB:,.1f} GB, a {self.what} has at most {self.most / _GB:,.0f}",
                hint="nothing of it was fetched",
            )
