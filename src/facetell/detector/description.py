"""What ``detector.json`` says of a bundle: names of its files, and its entries read and checked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from facetell.detector.calibration import calibration_of
from facetell.detector.lineage import LINEAGE
from facetell.errors import BundleError

__all__ = [
    "CARD",
    "DESCRIPTION",
    "EMBEDDING",
    "FORMAT",
    "METRICS",
    "MODEL",
    "REPLAY",
    "SELFTEST",
    "VERSION",
    "WEIGHTS",
    "check_description",
    "is_lineage",
    "read_description_file",
    "weights_hash",
]

FORMAT = "facetell.detector"
VERSION = 2
DESCRIPTION = "detector.json"
WEIGHTS = "weights.safetensors"
MODEL = "model.onnx"
SELFTEST = "selftest.safetensors"
EMBEDDING = "embedding.safetensors"
METRICS = "metrics.json"
REPLAY = "replay"
"""The folder, or file of vectors, of the replay buffer, where there is one, or what its name begins with."""
CARD = "README.md"
REQUIRED = {
    "runtime": str,
    "method": str,
    "settings": dict,
    "parameters": int,
    "input": dict,
    "labels": dict,
    "data": dict,
    "seed": int,
    "versions": dict,
    "files": dict,
}
"""Entries of ``detector.json`` beside ``format`` and ``version``, with their types."""


def read_description_file(file: Path) -> dict[str, Any]:
    """What ``detector.json`` holds. Raises ``BundleError`` for what is missing, damaged, or of another version."""
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
    check_description(description, file)
    return description


def check_description(description: dict[str, Any], file: Path) -> None:
    """Raise ``BundleError`` for entries that are missing or wrong, and for a calibration of other weights."""
    for key, kind in REQUIRED.items():
        if not isinstance(description.get(key), kind):
            raise BundleError(f"{file} is damaged: '{key}' is missing or not {kind.__name__}")
    hashes = {}
    for name, entry in description["files"].items():
        if not isinstance(entry, dict) or Path(name).name != name:
            raise BundleError(f"{file} is damaged: bad entry for '{name}'")
        hashes[name] = str(entry.get("sha256"))
    counts = {name: int(name in hashes) for name in (WEIGHTS, SELFTEST, METRICS)}
    counts[LINEAGE] = sum(map(is_lineage, hashes))
    for name, count in counts.items():
        if count != 1:
            raise BundleError(
                f"{file} does not list {'one ' * bool(count)}{name}: the description is damaged or was edited"
            )
    apart = description.get("weights", {"sha256": "", "in_model": []})
    if not isinstance(apart, dict) or apart.keys() != {"sha256", "in_model"} or not isinstance(apart["in_model"], list):
        raise BundleError(f"{file} is damaged: 'weights' does not say which of them are in {MODEL}")
    if "calibration" not in description:
        raise BundleError(f"{file} is damaged: 'calibration' is missing")
    try:
        calibration = calibration_of(description)
        if calibration is None and EMBEDDING in hashes:
            raise BundleError("it keeps known faces without a calibration that says which weights they belong to")
        if calibration:
            calibration.check_weights(weights_hash(description), hashes.get(EMBEDDING))
    except BundleError as error:
        raise BundleError(f"{file}: {error.message}", hint=error.hint) from None


def weights_hash(description: dict[str, Any]) -> str:
    """SHA-256 of all weights, which a calibration belongs to: of their file, as it would be where it lacks some.

    ``weights`` in a description names those tensors that are in ``model.onnx`` alone.
    """
    return str((description.get("weights") or description["files"][WEIGHTS])["sha256"])


def is_lineage(name: str) -> bool:
    """Whether a file of that name is a lineage."""
    return re.fullmatch(r"lineage(-[0-9a-f]{16})?\.safetensors", name) is not None
