"""Where a detector is: a bundle's path, a name in the folder of detectors, or a detector that is loaded already."""

from __future__ import annotations

from pathlib import Path

from facetell.detector.bundle import BOX, located
from facetell.detector.description import DESCRIPTION
from facetell.detector.detector import Detector
from facetell.errors import UsageError
from facetell.hub import is_fetched

__all__ = ["DetectorLike", "bundle_path", "description_file", "loaded"]

DetectorLike = Detector | str | Path


def bundle_path(detector: DetectorLike) -> Path:
    """The bundle of a detector, whether it is whole or not. Raises ``UsageError`` for a loaded one that was never written."""
    if not isinstance(detector, Detector):
        return located(detector)
    if detector.path is None:
        raise UsageError("this detector is not on disk", hint="give the path of a detector that `facetell.fit` wrote")
    return detector.path


def loaded(detector: DetectorLike, device: str = "auto", runtime: str | None = None) -> tuple[str, Detector]:
    """What to call a detector, and the detector itself; ``device`` and ``runtime`` are for one that is loaded now."""
    if isinstance(detector, Detector):
        return detector.path.name if detector.path else "detector", detector
    path = located(detector)
    return path.name, Detector.load(path, device, runtime=runtime)


def description_file(detector: DetectorLike) -> Path | None:
    """What to lock for a change of a detector's bundle; None where there is no folder to change.

    Raises ``UsageError`` for one that comes with facetell, or with ``hf://``: it stays as it was measured.
    """
    path = bundle_path(detector)
    if path.parent == BOX:
        raise UsageError(
            f"{path.name} comes with facetell and stays as it is",
            hint=f"copy it first: python -c \"import shutil; shutil.copytree(r'{path}', 'mine')\"",
        )
    if is_fetched(path):
        raise UsageError(
            f"{path.name} is in the cache of the hub and stays as it is",
            hint="make it yours first: facetell pull hf://OWNER/NAME -o FOLDER",
        )
    return path / DESCRIPTION if path.is_dir() else None
