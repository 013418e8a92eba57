"""Which detectors there are by name: the one in the box, and those in the folder of detectors."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facetell.detector.bundle import BOX, detectors_folder, is_bundle, read_description, steadily
from facetell.detector.description import DESCRIPTION, WEIGHTS
from facetell.errors import BundleError
from facetell.results import DetectorsResult, ListedDetector

__all__ = ["STARTER", "is_broken_bundle", "list_detectors", "named"]

STARTER = "starter"
"""The name of the detector in the box, which judges where none is asked for."""


def list_detectors() -> DetectorsResult:
    """All detectors that a name stands for; one that cannot be read is listed with the reason. No weights are read."""
    folder = detectors_folder()
    starter = _listed(BOX / STARTER, shadowed=is_bundle(folder / STARTER))
    return DetectorsResult(folder, [starter, *(_listed(path) for path in _inside(folder))])


def named(name: str | Path) -> Path | None:
    """The detector that a bare name stands for, whatever is called so in the working folder; None where there is none."""
    path = Path(name)
    if len(path.parts) != 1:
        return None
    return next((there for there in (detectors_folder() / path, BOX / path) if is_bundle(there)), None)


def is_broken_bundle(path: Path) -> bool:
    """Whether a folder was a detector, and has lost its description."""
    return not is_bundle(path) and os.path.isfile(path / WEIGHTS)  # noqa: PTH113  as in `located`


def _inside(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise BundleError(f"the folder of detectors {folder} cannot be read: {error.strerror or error}") from None
    yield from (entry for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _listed(path: Path, *, shadowed: bool = False) -> ListedDetector:
    place = (path.name, str(path), path.parent == BOX, shadowed, _bytes(path))
    try:
        return ListedDetector(*place, **steadily(path, lambda: _said(path)))
    except BundleError as error:
        return ListedDetector(*place, error=error.message)


def _said(path: Path) -> dict[str, Any]:
    """What the description says, once it is known to be whole and no file of its is missing or cut."""
    description = read_description(path)
    for name, entry in description["files"].items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"{path} is incomplete: {name} is missing")
        if file.stat().st_size != entry.get("bytes"):
            raise BundleError(f"{file} is damaged: {file.stat().st_size} bytes, {entry.get('bytes')} were written")
    about = description.get("about", {})
    kinds = about.get("kinds", description["data"].get("sources", [])) if isinstance(about, dict) else None
    if not isinstance(kinds, list) or not all(isinstance(each, str) for each in (*kinds, *_words(about))):
        raise BundleError(f"{path / DESCRIPTION} is damaged: 'about' holds something else than texts")
    return {
        "method": description["method"],
        "kinds": kinds,
        "licence": about.get("licence"),
        "date": about.get("date", _day(path / DESCRIPTION)),
        "calibrated": description["calibration"] is not None,
    }


def _words(about: dict[str, Any]) -> list[Any]:
    return [about[name] for name in ("licence", "date") if name in about]


def _day(file: Path) -> str:
    """When it was last changed, as YYYY-MM-DD in local time."""
    return datetime.datetime.fromtimestamp(file.stat().st_mtime).astimezone().date().isoformat()


def _bytes(path: Path) -> int:
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:  # gone meanwhile
            continue
    return total
