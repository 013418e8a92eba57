"""``push``: a detector or a face set to a repository of the Hugging Face Hub."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facetell.api._result_path import result_path
from facetell.detector.bundle import BOX, DETECTOR_CONTENTS
from facetell.detector.description import DESCRIPTION, METRICS, REPLAY
from facetell.detector.detector import Detector
from facetell.detector.hub_card import detector_card
from facetell.detector.places import DetectorLike, bundle_path
from facetell.detector.signature import SIGNATURE
from facetell.errors import UsageError
from facetell.faceset.hub_card import faceset_card
from facetell.faceset.on_hub import FACESET_CONTENTS, INFO_FILE, SKIPPED_FILE
from facetell.faceset.table import FaceSet
from facetell.hub import CARD, Contents, Reference, client, reference_in, send
from facetell.reporting.comparing import report_numbers
from facetell.results import EvaluateResult, PushResult

__all__ = ["push"]

Files = dict[str, Path | bytes]


def push(
    item: DetectorLike | FaceSet,
    repository: str,
    *,
    reports: Sequence[EvaluateResult | str | Path] = (),
    licence: str | None = None,
    public: bool = False,
    pictures: bool = False,
) -> PushResult:
    """Send a detector or a face set to ``repository``, which is made where there is none; what it held goes.

    It is checked whole before. The card gets metadata that the hub shows: results, licence, tags.

    Args:
        item: a detector bundle, its name, a face set, or one that is loaded.
        repository: ``owner/name``.
        reports: of a detector, results of `facetell.evaluate` for the card; without them, those of validation.
        licence: a name of the hub's list, such as ``apache-2.0``, or a text; by default what the detector says of itself.
        public: anybody may read it. Else it is private, and a repository that is public is refused.
        pictures: send pictures of faces, too: a face set, or the replay buffer of a detector.

    Raises:
        UsageError: there are pictures and they were not asked for; the repository is public, or holds something else; a
            report is on another detector.
        BundleError, DataError: what is to be sent is damaged.
        HubError: the hub refuses or is out of reach. MissingExtraError: the extra ``hub`` is not installed.
    """
    reference = reference_in(f"hf://{repository.removeprefix('hf://')}")
    if reference is None or reference.revision is not None:
        raise UsageError(f"'{repository}' names no repository to send to", hint="owner/name")
    client()  # says what is not installed before anything is read
    contents, files = _files_of(item, reference, reports, licence, pictures)
    sent, private = send(reference, contents, files, public=public, message=f"{contents.what}, by facetell")
    size = sum(len(each) if isinstance(each, bytes) else each.stat().st_size for each in files.values())
    return PushResult(str(sent), contents.what, private, len(files), size)


def _files_of(
    item: DetectorLike | FaceSet,
    reference: Reference,
    reports: Sequence[EvaluateResult | str | Path],
    licence: str | None,
    pictures: bool,
) -> tuple[Contents, Files]:
    if not isinstance(item, Detector | FaceSet) and (Path(item) / INFO_FILE).is_file():
        item = FaceSet.open(item)
    if not isinstance(item, FaceSet):
        read = [report_numbers(result_path(each)) for each in reports]
        return DETECTOR_CONTENTS, _of_detector(bundle_path(item), reference, read, licence, pictures)
    if reports:
        raise UsageError("a report belongs to a detector, and this is a face set")
    if not pictures:
        raise UsageError(
            f"{item.path} is pictures of {len(item):,} faces, which would leave this machine",
            hint="--pictures if you may give them away",
        )
    return FACESET_CONTENTS, _of_faceset(item, reference, licence)


def _of_detector(
    path: Path, reference: Reference, reports: Sequence[dict[str, Any]], licence: str | None, pictures: bool
) -> Files:
    Detector.verify(path)
    raw = (path / DESCRIPTION).read_bytes()
    description = json.loads(raw)
    files: Files = {name: path / name for name in description["files"]} | _terms(path, DETECTOR_CONTENTS)
    if (path / SIGNATURE).is_file():
        files[SIGNATURE] = path / SIGNATURE
    files |= _replay(path, description, pictures)
    card = (path / CARD).read_text(encoding="utf-8") if (path / CARD).is_file() else f"# {path.name}\n"
    metrics = json.loads((path / METRICS).read_text(encoding="utf-8"))
    name = reference.repository.partition("/")[2]
    files[CARD] = detector_card(name, card, description, metrics, reports, licence).encode()
    return files | {DESCRIPTION: raw}


def _replay(path: Path, description: dict[str, Any], pictures: bool) -> Files:
    """The replay buffer, where there is one: vectors, or pictures of old faces."""
    listed = description.get("replay")
    if not isinstance(listed, dict):
        return {}
    name = Path(str(listed.get("folder", REPLAY))).name
    if "vectors" in listed:
        return {name: path / name}
    if not pictures:
        raise UsageError(
            f"{path} keeps pictures of old faces, which would leave this machine",
            hint=f"--pictures if you may give them away; or without them: facetell remember {shlex.quote(str(path))} --forget",
        )
    return {f"{name}/{shard}": file for shard, file in _shards(FaceSet.open(path / name)).items()}


def _of_faceset(faces: FaceSet, reference: Reference, licence: str | None) -> Files:
    faces.verify()
    card = faceset_card(reference.repository, faces, licence).encode()
    return _shards(faces) | _terms(faces.path, FACESET_CONTENTS) | {CARD: card}


def _shards(faces: FaceSet) -> Files:
    names = [INFO_FILE, SKIPPED_FILE, *(str(shard["file"]) for shard in faces.info["shards"])]
    return {name: faces.path / name for name in names if (faces.path / name).is_file()}


def _terms(path: Path, contents: Contents) -> Files:
    """Licences and the like that lie beside; those of the box are for all that are in it."""
    near = [*(BOX.iterdir() if path.parent == BOX else ()), *path.iterdir()]
    return {file.name: file for file in near if file.is_file() and not contents.outdated(file.name)}
