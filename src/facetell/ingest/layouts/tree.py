"""The folder structure of a data set as text: shown to people, and compared with a folder.

One line is one name, indented by two spaces under its folder; folders end with a slash. A name may hold ``*`` and
``{one,other}``, of which any will do. What follows after two spaces is a remark; a remark that begins with
"optional" makes the name so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from facetell.buckets import is_folder, is_there, list_names

__all__ = ["differs", "show_difference"]

_NEAREST = 0.6
_PARENTS = 8  # folders under which a name is looked for; a data set has thousands of folders of the same kind


@dataclass
class _Node:
    """One line: its text as drawn, the names that satisfy it, and the lines below it."""

    text: str
    names: list[str]
    folder: bool
    optional: bool
    inside: list[_Node] = field(default_factory=list)


def differs(tree: str, root: Path) -> bool:
    """Whether something that the tree demands is not in the folder."""
    return any(_lacks(node, [str(root)]) for node in _parse(tree))


def show_difference(tree: str, root: Path) -> str:
    """The tree with a mark in front of every line, found, missing or optional, and the nearest name where missing."""
    return "\n".join(_marked(_parse(tree), [str(root)], 1))


def _parse(tree: str) -> list[_Node]:
    above: list[list[_Node]] = [[]]
    for line in tree.strip("\n").splitlines():
        name, _, remark = line.strip().partition("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        node = _Node(line.strip(), _spread(name.rstrip("/")), name[-1] == "/", remark.strip().startswith("optional"))
        del above[depth + 1 :]
        above[depth].append(node)
        above.append(node.inside)
    return above[0]


def _spread(name: str) -> list[str]:
    """``{a,b}c`` as ``ac`` and ``bc``."""
    braces = re.search(r"\{([^}]*)\}", name)
    if not braces:
        return [name]
    head, tail = name[: braces.start()], name[braces.end() :]
    return [found for word in braces[1].split(",") for found in _spread(f"{head}{word}{tail}")]


def _lacks(node: _Node, parents: list[str]) -> bool:
    if node.optional:
        return False
    found = _found(node, parents)
    return not found or any(_lacks(inner, found) for inner in node.inside)


def _marked(nodes: list[_Node], parents: list[str], depth: int) -> Iterator[str]:
    for node in nodes:
        found = _found(node, parents)
        mark = "found" if found else "optional" if node.optional else "MISSING"
        near = "" if found or node.optional else _nearest(node, parents)
        yield f"  {mark:<8} {'  ' * depth}{node.text}{near}"
        yield from _marked(node.inside, found, depth + 1)


def _found(node: _Node, parents: list[str]) -> list[str]:
    """Up to some paths below the parents that satisfy the line."""
    paths = (path for parent in parents for name in node.names for path in _matches(parent, name))
    found = []
    for path in paths:
        if not node.folder or is_folder(path):
            found.append(path)
        if len(found) == _PARENTS:
            break
    return found


def _matches(parent: str, name: str) -> Iterator[str]:
    if "*" not in name:
        if is_there(f"{parent}/{name}"):
            yield f"{parent}/{name}"
        return
    try:
        yield from (f"{parent}/{each}" for each in list_names(parent) if fnmatchcase(each.lower(), name))
    except OSError:
        return


def _nearest(node: _Node, parents: list[str]) -> str:
    if not parents or any("*" in name for name in node.names):
        return ""
    try:
        there = sorted(list_names(parents[0]))
    except OSError:
        return ""
    close: list[str] = []
    for name in node.names:
        close += [match for match in difflib.get_close_matches(name, there, n=1, cutoff=_NEAREST) if match not in close]
    shown = ", ".join(f"'{name}'" for name in close[:3])
    return f"   (nearest: {shown})" if close else "   (nothing like it)"
