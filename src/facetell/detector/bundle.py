"""A detector on disk: a folder ("bundle") of JSON and safetensors. Reading one never runs code.

``detector.json`` says what the detector is and carries the SHA-256 of every other file that matters;
``weights.safetensors`` are the network's tensors, ``selftest.safetensors`` two inputs and their logits,
``lineage.safetensors`` hashes of the faces it has learned from, ``embedding.safetensors`` (where there is one) points of
known faces, ``metrics.json`` what was measured on validation,
``training.csv`` the epochs or what was tried instead, ``README.md`` the model card (for people, free to edit).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save, save_file

from facetell.detector.calibration import Calibration, calibration_of
from facetell.detector.lineage import LINEAGE, Lineage
from facetell.errors import BundleError, UsageError
from facetell.files import locked, sha256_of, whole_file, whole_folder, write_error

__all__ = [
    "DESCRIPTION",
    "EMBEDDING",
    "FORMAT",
    "SELFTEST",
    "VERSION",
    "WEIGHTS",
    "Tensors",
    "hash_of_tensors",
    "is_bundle",
    "read_bundle",
    "read_description",
    "update_calibration",
    "update_description",
    "write_bundle",
]

Tensors = dict[str, npt.NDArray[Any]]

FORMAT = "facetell.detector"
VERSION = 2
DESCRIPTION = "detector.json"
WEIGHTS = "weights.safetensors"
SELFTEST = "selftest.safetensors"
EMBEDDING = "embedding.safetensors"
METRICS = "metrics.json"
CARD = "README.md"
REQUIRED = {
    "runtime": str,
    "method": str,
    "settings": dict,
    "input": dict,
    "labels": dict,
    "data": dict,
    "seed": int,
    "versions": dict,
    "files": dict,
}
"""Entries of ``detector.json`` beside ``format`` and ``version``, with their types."""


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is a folder that holds a detector."""
    return (path / DESCRIPTION).is_file()


def hash_of_tensors(tensors: Tensors) -> str:
    """SHA-256 of the file that ``write_bundle`` makes of them: what a calibration says it was measured on."""
    return hashlib.sha256(save(_in_order(tensors))).hexdigest()


def _in_order(tensors: Tensors) -> Tensors:
    """The same numbers row by row: safetensors writes memory as it lies, that of a transposed array column by column."""
    return {name: np.asarray(array, order="C") for name, array in tensors.items()}


def write_bundle(
    path: Path,
    description: dict[str, Any],
    weights: Tensors,
    selftest: Tensors,
    metrics: dict[str, object],
    card: str,
    tables: dict[str, str],
    embedding: Tensors | None = None,
    fill: Callable[[Path], None] | None = None,
    *,
    lineage: Lineage,
) -> None:
    """Write a bundle beside ``path`` and rename it there. ``path`` must not exist.

    ``description`` lacks ``format``, ``version`` and ``files``, which are added here. ``tables`` are further text
    files by name; ``embedding`` what `facetell.detector.known_faces` keeps, if it keeps any. ``fill`` may put folders into
    the bundle before it appears; they answer for themselves.
    """
    with locked(path):
        if path.exists():
            raise UsageError(f"{path} exists", hint="choose another name or remove it")
        try:
            with whole_folder(path) as folder:
                parts = {
                    WEIGHTS: weights,
                    SELFTEST: selftest,
                    LINEAGE: lineage.tensors(),
                    **({EMBEDDING: embedding} if embedding else {}),
                }
                for name, tensors in parts.items():
                    save_file(_in_order(tensors), folder / name)
                for name, text in {METRICS: json.dumps(metrics, indent=2) + "\n", **tables}.items():
                    (folder / name).write_text(text, encoding="utf-8")
                files = {
                    file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
                    for file in sorted(folder.iterdir())
                }
                (folder / CARD).write_text(card, encoding="utf-8")
                whole = {"format": FORMAT, "version": VERSION, **description, "files": files}
                _check_description(whole, folder / DESCRIPTION)
                (folder / DESCRIPTION).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
                if fill:
                    fill(folder)
        except SafetensorError as error:
            raise write_error(path, error) from error


def update_description(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Let ``change`` edit the description of the bundle at ``path`` in place, whole or not at all.

    ``detector.json`` holds the hashes of the other files and none of them holds a hash of it, so one rename is enough:
    at every moment the bundle is the old or the new one. What ``change`` leaves must still be a description.

    Other processes that change it wait meanwhile.

    Raises ``BundleError`` when the bundle is damaged, ``DataError`` when it cannot be written.
    """
    read_description(path)  # there is a detector: only then is there something to lock
    file = path / DESCRIPTION
    with locked(file):
        description = read_bundle(path)[0]
        change(description)
        with whole_file(file) as partial:
            partial.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
            _read_description(partial)


def update_calibration(path: Path, change: Callable[[Calibration | None], Calibration]) -> None:
    """Replace the calibration of the bundle at ``path`` by what ``change`` makes of it, as ``update_description`` does."""

    def changed(description: dict[str, Any]) -> None:
        description["calibration"] = change(calibration_of(description)).as_dict()

    update_description(path, changed)


def read_bundle(path: Path) -> tuple[dict[str, Any], Tensors, Tensors]:
    """Read and check a bundle: its description, its weights and its self-test tensors.

    Raises ``BundleError`` with the reason when a file is missing, was changed or swapped, or is of a foreign version.
    """
    description = read_description(path)
    for name, expected in description["files"].items():
        _check_file(path, name, expected)
    try:
        return description, load_file(path / WEIGHTS), load_file(path / SELFTEST)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"the tensors of {path} cannot be read: {error}") from error


def read_description(path: Path) -> dict[str, Any]:
    """What ``detector.json`` of a bundle holds; its other files are not looked at. Raises ``BundleError``."""
    if not path.is_dir():
        raise BundleError(f"there is no detector at {path}", hint="make one: facetell fit --help")
    return _read_description(path / DESCRIPTION)


def _read_description(file: Path) -> dict[str, Any]:
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{file.parent} is not a detector: it has no {DESCRIPTION}") from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BundleError(f"{file} is damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise BundleError(f"{file} does not describe a facetell detector")
    if description.get("version") != VERSION:
        raise BundleError(
            f"{file.parent} has bundle version {description.get('version')!r}; this facetell reads version {VERSION}",
            hint="fit it again",
        )
    _check_description(description, file)
    return description


def _check_description(description: dict[str, Any], file: Path) -> None:
    """Raise ``BundleError`` for entries that are missing or wrong, and for a calibration of other weights."""
    for key, kind in REQUIRED.items():
        if not isinstance(description.get(key), kind):
            raise BundleError(f"{file} is damaged: '{key}' is missing or not {kind.__name__}")
    hashes = {}
    for name, entry in description["files"].items():
        if not isinstance(entry, dict) or Path(name).name != name:
            raise BundleError(f"{file} is damaged: bad entry for '{name}'")
        hashes[name] = str(entry.get("sha256"))
    for name in (WEIGHTS, SELFTEST, LINEAGE, METRICS):
        if name not in hashes:
            raise BundleError(f"{file} does not list {name}: the description is damaged or was edited")
    if "calibration" not in description:
        raise BundleError(f"{file} is damaged: 'calibration' is missing")
    try:
        calibration = calibration_of(description)
        if calibration is None and EMBEDDING in hashes:
            raise BundleError("it keeps known faces without a calibration that says which weights they belong to")
        if calibration:
            calibration.check_weights(hashes[WEIGHTS], hashes.get(EMBEDDING))
    except BundleError as error:
        raise BundleError(f"{file}: {error.message}", hint=error.hint) from None


def _check_file(path: Path, name: str, expected: dict[str, Any]) -> None:
    file = path / name
    if not file.is_file():
        raise BundleError(f"{path} is incomplete: {name} is missing")
    if file.stat().st_size != expected.get("bytes"):
        raise BundleError(
            f"{file} is damaged: {file.stat().st_size} bytes, {expected.get('bytes')} were written",
            hint="copy the detector again",
        )
    if sha256_of(file) != expected.get("sha256"):
        raise BundleError(f"{file} is not the file that was written: its SHA-256 differs", hint="damaged or swapped")
