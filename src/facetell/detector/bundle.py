"""A detector on disk: a folder ("bundle") of JSON and safetensors. Reading one never runs code.

``detector.json`` says what the detector is and carries the SHA-256 of every other file that matters;
``weights.safetensors`` are the network's tensors, ``model.onnx`` the same network for any engine,
``selftest.safetensors`` two inputs and their logits,
``lineage.safetensors`` hashes of the faces it has learned from, ``embedding.safetensors`` (where there is one) points of
known faces, ``metrics.json`` what was measured on validation,
``training.csv`` the epochs or what was tried instead, ``README.md`` the model card (for people, free to edit).

What changes later is written under a name of its own (``lineage-HASH.safetensors``, ``replay-HASH``) before the description
names it, so the bundle changes in one step, with its description. What no description names is cleared away by the next
one to change it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save, save_file

from facetell.detector.calibration import Calibration, calibration_of
from facetell.detector.description import (
    CARD,
    DESCRIPTION,
    EMBEDDING,
    FORMAT,
    METRICS,
    MODEL,
    REPLAY,
    SELFTEST,
    VERSION,
    WEIGHTS,
    check_description,
    is_lineage,
    read_description_file,
)
from facetell.detector.lineage import LINEAGE, Lineage
from facetell.errors import BundleError, UsageError, near_miss
from facetell.faceset.on_hub import FACESET_CONTENTS
from facetell.files import clear_leftovers, home, locked, sha256_of, whole_file, whole_folder, write_error
from facetell.hub import Contents, fetched, reference_in

__all__ = [
    "BOX",
    "DETECTOR_CONTENTS",
    "Tensors",
    "detectors_folder",
    "hash_of_tensors",
    "identity_of",
    "is_bundle",
    "located",
    "no_detector",
    "read_bundle",
    "read_description",
    "read_lineage",
    "steadily",
    "update_calibration",
    "update_description",
    "write_bundle",
]

R = TypeVar("R")
Tensors = dict[str, npt.NDArray[Any]]

BOX = Path(__file__).parents[1] / "box"
"""The folder of detectors that come with facetell, known by name: `starter`."""


def detectors_folder() -> Path:
    """The folder of detectors that are known by name: ``FACETELL_DETECTORS``, else ``XDG_DATA_HOME/facetell/detectors``,
    else ``~/.local/share/facetell/detectors``."""
    chosen = os.environ.get("FACETELL_DETECTORS")
    data = os.environ.get("XDG_DATA_HOME") or home() / ".local" / "share"
    return Path(chosen) if chosen else Path(data) / "facetell" / "detectors"


def located(detector: str | Path) -> Path:
    """The path of a detector: ``detector`` itself, or where it is the name of one in `detectors_folder` or `BOX`, that; or
    where it is ``hf://owner/name[@revision]``, what was fetched.

    Raises ``HubError``, or ``BundleError`` for a repository that holds none.
    """
    reference = reference_in(detector)
    if reference is not None:
        return fetched(reference, DETECTOR_CONTENTS)
    path = Path(detector)
    if len(path.parts) != 1 or os.path.exists(path):  # noqa: PTH110  not of `Path`, which raises for a name that no file can have
        return path
    return next((named for named in (detectors_folder() / path, BOX / path) if is_bundle(named)), path)


def identity_of(path: Path) -> str:
    """What tells the detector at ``path`` from others: the first 16 hex digits of its description's SHA-256; "" without."""
    return sha256_of(path / DESCRIPTION)[:16] if is_bundle(path) else ""


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is a folder that holds a detector."""
    return os.path.isfile(path / DESCRIPTION)  # noqa: PTH113  as in `located`


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
    model: bytes | None = None,
    fill: Callable[[Path], dict[str, Any]] | None = None,
    *,
    lineage: Lineage,
) -> None:
    """Write a bundle beside ``path`` and rename it there. ``path`` must not exist.

    ``description`` lacks ``format``, ``version`` and ``files``, which are added here. ``tables`` are further text
    files by name; ``embedding`` what `facetell.detector.known_faces` keeps, if it keeps any; ``model`` the network as ONNX,
    if its runtime takes that. ``fill`` may put more into the bundle before it appears, and returns what the description
    says of that.
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
                if model is not None:
                    (folder / MODEL).write_bytes(model)
                for name, text in {METRICS: json.dumps(metrics, indent=2) + "\n", **tables}.items():
                    (folder / name).write_text(text, encoding="utf-8")
                files = {
                    file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
                    for file in sorted(folder.iterdir())
                }
                (folder / CARD).write_text(card, encoding="utf-8")
                more = fill(folder) if fill else {}
                whole = {"format": FORMAT, "version": VERSION, **description, **more, "files": files}
                check_description(whole, folder / DESCRIPTION)
                (folder / DESCRIPTION).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        except SafetensorError as error:
            raise write_error(path, error) from error


def update_description(path: Path, change: Callable[[dict[str, Any]], None], lineage: Lineage | None = None) -> None:
    """Let ``change`` edit the description of the bundle at ``path`` in place, whole or not at all.

    ``detector.json`` holds the hashes of the other files and none of them holds a hash of it, so one rename is enough:
    at every moment the bundle is the old or the new one. What ``change`` leaves must still be a description. ``lineage``
    takes the place of the one there, with the same rename.

    Other processes that change it wait meanwhile.

    Raises ``BundleError`` when the bundle is damaged, ``DataError`` when it cannot be written.
    """
    read_description(path)  # there is a detector: only then is there something to lock
    file = path / DESCRIPTION
    with locked(file):
        description = read_bundle(path)
        change(description)
        if lineage is not None:
            _write_lineage(path, description, lineage)
        with whole_file(file) as partial:
            partial.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
            read_description_file(partial)
        _clear_unnamed(path, description)


def _write_lineage(path: Path, description: dict[str, Any], lineage: Lineage) -> None:
    """Write a lineage beside the one there, and have the description name it instead; the very same stays as it is."""
    content = save(lineage.tensors())
    digest, old = hashlib.sha256(content).hexdigest(), _lineage_file(description)
    if description["files"][old]["sha256"] == digest:
        return
    name = f"lineage-{digest[:16]}.safetensors"
    with whole_file(path / name) as partial:
        partial.write_bytes(content)
    del description["files"][old]
    description["files"][name] = {"bytes": len(content), "sha256": digest}


def _clear_unnamed(path: Path, description: dict[str, Any]) -> None:
    """Remove lineages and replay buffers that the description no longer names, and what killed processes left."""
    clear_leftovers(path)
    replay = description.get("replay")
    named = {*description["files"], replay.get("folder", REPLAY) if isinstance(replay, dict) else None}
    for left in path.iterdir():
        if left.name in named or not (is_lineage(left.name) or _is_replay(left.name)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def update_calibration(
    path: Path, change: Callable[[Calibration | None], Calibration], lineage: Lineage | None = None
) -> None:
    """Replace the calibration of the bundle at ``path`` by what ``change`` makes of it, as ``update_description`` does."""

    def changed(description: dict[str, Any]) -> None:
        description["calibration"] = change(calibration_of(description)).as_dict()

    update_description(path, changed, lineage)


def steadily(path: Path, read: Callable[[], R]) -> R:
    """What ``read`` reads of the bundle at ``path``; it reads again where another process has changed that meanwhile."""
    while True:
        before = _bytes_of(path)
        try:
            return read()
        except BundleError:
            if before == _bytes_of(path):
                raise


def _bytes_of(path: Path) -> bytes | None:
    try:
        return (path / DESCRIPTION).read_bytes()
    except OSError:
        return None


def read_bundle(path: Path) -> dict[str, Any]:
    """The description of a bundle all of whose files were checked.

    Raises ``BundleError`` with the reason when a file is missing, was changed or swapped, or is of a foreign version.
    """
    return steadily(path, lambda: _read_bundle(path))


def _read_bundle(path: Path) -> dict[str, Any]:
    description = read_description(path)
    try:
        for name, expected in description["files"].items():
            _check_file(path, name, expected)
    except OSError as error:
        raise BundleError(f"the files of {path} cannot be read: {error}") from error
    return description


DETECTOR_CONTENTS = Contents(
    "detector",
    "model",
    DESCRIPTION,
    rf"detector\.json|metrics\.json|model\.onnx|model\.sig|[\w-]+\.(safetensors|csv)|{REPLAY}(-[0-9a-f]{{16}})?/({FACESET_CONTENTS.names})",
    20 * 10**9,
    read_bundle,
    BundleError,
)
"""What a repository of the hub holds that is a detector: the largest backbone there is has some 10 GB."""


def read_lineage(path: Path, description: dict[str, Any] | None = None) -> Lineage:
    """What the detector at ``path`` has learned from; ``description`` is its own, if that was read and checked already.

    Raises ``BundleError`` for a damaged one.
    """
    if description is None:
        return steadily(path, lambda: read_lineage(path, read_bundle(path)))
    return Lineage.read(path / _lineage_file(description))


def _lineage_file(description: dict[str, Any]) -> str:
    """The name of the one file that is its lineage."""
    return str(next(filter(is_lineage, description["files"])))


def _is_replay(name: str) -> bool:
    return re.fullmatch(r"replay(-[0-9a-f]{16}(\.safetensors)?)?", name) is not None


def read_description(path: Path) -> dict[str, Any]:
    """What ``detector.json`` of a bundle holds; its other files are not looked at. Raises ``BundleError``."""
    if not os.path.isdir(path):  # noqa: PTH112  as in `located`
        raise no_detector(path)
    return read_description_file(path / DESCRIPTION)


def no_detector(path: Path, what: str = "detector") -> BundleError:
    """The error for a path where there is no ``what``, with the nearest name."""
    named = [each.name for folder in (detectors_folder(), BOX) for each in folder.glob("*") if is_bundle(each)]
    guess = near_miss(path.name, named) if len(path.parts) == 1 else ""
    return BundleError(f"there is no {what} {str(path)!r}{guess}", hint="facetell detectors lists those with a name")


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
