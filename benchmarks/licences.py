"""Licences of what facetell needs to run, as their packages state them: the table of docs/licences.md.

    python benchmarks/licences.py

Versions are left out, as they change with every lock; the packages themselves must be installed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def main() -> None:
    """Print the table."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    core = needed(project["dependencies"])
    serve = needed(project["optional-dependencies"]["serve"]) - core
    print("| package | for | licence, as the package states it |\n| --- | --- | --- |")
    for name in sorted(core | serve):
        print(f"| {name} | {'core' if name in core else '`serve`'} | {licence(name)} |")


def needed(requirements: Iterable[str]) -> set[str]:
    """Names of all packages that these requirements bring on this machine, with theirs."""
    found: set[str] = set()
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in found:
            continue
        found.add(name)
        theirs = [Requirement(each) for each in requires(name) or []]
        waiting += [
            other
            for other in theirs
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in ("", *one.extras))
        ]
    return found


def licence(name: str) -> str:
    """The SPDX expression; of older packages the name of the licence, else its classifier (Core Metadata 2.4)."""
    said = metadata(name)
    text = said["License"] or ""
    classifiers = [
        each.rpartition(" :: ")[2] for each in said.get_all("Classifier", []) if each.startswith("License ::")
    ]
    short = text if text and len(text) < 60 and "\n" not in text else ", ".join(classifiers)
    return said["License-Expression"] or short or "not stated"


if __name__ == "__main__":
    main()
