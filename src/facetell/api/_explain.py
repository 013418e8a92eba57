"""``explain``: where in faces a detector sees the fake."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facetell.detector.detector import Detector
from facetell.detector.many import seen
from facetell.detector.runtimes.torch import torch_runtime
from facetell.errors import DataError, ImageError, MissingExtraError, UsageError
from facetell.explanation.explainer import Explainer, Maps, enlarged
from facetell.explanation.folder import Faces, check_explanation, write_explanation
from facetell.explanation.page import believable
from facetell.explanation.pointing import pointing_game
from facetell.explanation.sanity import LIMIT
from facetell.explanation.sanity import sanity as check_sanity
from facetell.faceset.samples import check_split
from facetell.faceset.table import INFO_FILE, FaceSet
from facetell.pixels.decode import decode_resized
from facetell.progress import ShowProgress, callback
from facetell.reporting.folder import plain

__all__ = ["explain"]

PER_FILE = 8
"""Faces explained of one file: of a video, spread over its time."""

IDLE = 0.01
"""What an attention adds, relative to its input, below which it is said to do nothing."""

NAMES = ("real", "fake")

Pixels = npt.NDArray[np.uint8]


def explain(
    detector: str | Path,
    items: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    split: str = "test",
    limit: int = 100,
    masks: str | Path | None = None,
    faces: str = "auto",
    frames: str = "8",
    face_model: str | None = None,
    sanity: int = 8,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    progress: ShowProgress = None,
) -> dict[str, Any]:
    """Draw what a detector looks at: in photos, videos and crops, or on average over a face set; write ``out``.

    Args:
        detector: a detector bundle.
        items: files, folders and patterns as of `facetell.detect`; or one face set.
        out: where the explanation goes, a new folder or that of an earlier one.
        split: of the face set.
        limit: faces of each source and label of the face set, drawn by ``seed``.
        masks: a folder with the true region of fakes of the face set, for the pointing game: for the face with path
            ``fake/7.jpg`` a picture ``fake/7.png`` of the crop, white where it is forged.
        faces: ``auto``, ``find`` or ``crops``, as of `facetell.detect`.
        frames: of a video, as of `facetell.detect`; at most 8 faces of it are explained.
        face_model: another face detector than that of training.
        sanity: faces for the check with randomised weights; 0 leaves it out.
        seed: draws faces and random weights.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: processes that read files.
        progress: True shows a bar; a function is called after every few faces.

    Returns:
        What ``explain.json`` holds, see ``docs/explain.md``.

    Raises:
        MissingExtraError: the extra ``explain`` is not installed, or ``media`` to read photos and videos.
        UsageError: arguments that do not go together; ``out`` holds something else.
        DataError: no such split, no mask fits, or no file has a face.
    """
    paths = [Path(items)] if isinstance(items, str | Path) else [Path(item) for item in items]
    sets = [path for path in paths if (path / INFO_FILE).is_file()]
    if sets and len(paths) > 1:
        raise UsageError(f"{sets[0]} is a face set, which is explained alone", hint="give it alone, or files only")
    if masks is not None and not sets:
        raise UsageError("masks belong to a face set", hint="facetell prepare makes one")
    _check_installed()
    check_explanation(Path(out))
    loaded = Detector.load(detector, device)
    decider = loaded.decider
    if sets:
        crops, entries, left_out = _of_faceset(sets[0], split, loaded.size, limit, seed)
    else:
        options = {"faces": faces, "frames": frames, "face_model": face_model, "device": device, "workers": workers}
        crops, entries, left_out = _of_files(Path(detector), paths, options)
    regions = None if masks is None else _regions(Path(masks), entries, loaded.size)
    runtime = torch_runtime(loaded)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).to(runtime.device).float().div_(255)
    explainer = Explainer(runtime.network, loaded.size, runtime.forward)
    maps = explainer.maps(images, callback(progress))
    logits = loaded.logits(crops)
    found = zip(entries, logits.tolist(), decider.scores(logits).tolist(), decider.decisions(logits), strict=True)
    for entry, logit, score, decision in found:
        entry |= {"logit": logit, "score": score, "decision": decision}
    checked = _checked(explainer, images, maps, sanity, seed)
    attention = {
        key: {"gamma": explainer.gamma[key], "effect": effect} for key, effect in explainer.effects(images).items()
    }
    description = loaded.description
    content = {
        "detector": Path(detector).name,
        "warnings": _warnings(explainer, checked, attention),
        "sanity": checked,
        "pointing": _pointing(explainer, maps, regions) if regions else None,
        "attention": attention,
        "left_out": left_out,
        "context": {
            "method": description["method"],
            "backbone": description["settings"]["backbone"],
            "input size": loaded.size,
            **(_about(sets[0], split, limit) if sets else {}),
            "seed": seed,
            "versions": {**description["versions"], "captum": metadata.version("captum")},
        },
    }
    return write_explanation(Path(out), Faces(crops, maps, entries), explainer.kinds, content, by_source=bool(sets))


def _check_installed() -> None:
    """Before any work is done."""
    for module, what in (("captum.attr", "Grad-CAM"), ("matplotlib", "pictures of maps")):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingExtraError(what, "explain") from error


def _of_faceset(
    path: Path, split: str, size: int, limit: int, seed: int
) -> tuple[Pixels, list[dict[str, Any]], list[dict[str, Any]]]:
    """Crops (N, size, size, 3) and entries of at most ``limit`` faces of each source and label, drawn by ``seed``."""
    if limit < 1:
        raise UsageError(f"limit is {limit}", hint="at least one face of each source")
    faces = FaceSet.open(path)
    check_split(faces, split, "explain")
    table = faces.columns(["path", "label", "source", "group"], split).to_pylist()
    rows = np.random.default_rng(seed).permutation(len(table))
    taken: Counter[tuple[str, int]] = Counter()
    chosen = []
    for row in rows.tolist():
        key = table[row]["source"], table[row]["label"]
        taken[key] += 1
        if taken[key] <= limit:
            chosen.append(row)
    chosen.sort()
    first = faces.rows(split).start
    crops = np.stack([decode_resized(faces.image(first + row), size) for row in chosen])
    entries = [{**table[row], "row": first + row, "label": NAMES[table[row]["label"]]} for row in chosen]
    return crops, entries, []


def _about(path: Path, split: str, limit: int) -> dict[str, Any]:
    fingerprint = FaceSet.open(path).fingerprint
    return {"face set": path.name, "fingerprint": fingerprint, "split": split, "faces of a source, at most": limit}


def _of_files(
    detector: Path, paths: Sequence[Path], options: Mapping[str, Any]
) -> tuple[Pixels, list[dict[str, Any]], list[dict[str, Any]]]:
    """Crops and entries of the faces that count in some files, and the files that have none."""
    parts: list[Pixels] = []
    entries: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for verdict, crops in seen(detector, paths, **options):
        used = [number for number, face in enumerate(verdict.faces) if face.used]
        if crops is None or not used:
            left_out.append({"path": verdict.path, "status": verdict.status, "reason": verdict.reason})
            continue
        # A video's faces over its time, a photo's the surest first.
        spread = np.linspace(0, len(used) - 1, min(PER_FILE, len(used))).round().astype(int).tolist()
        shown = [used[place] for place in spread] if verdict.kind == "video" else used[:PER_FILE]
        parts.append(crops[shown])
        for number in shown:
            face = verdict.faces[number]
            about = {"path": verdict.path, "face": number, "frame": face.frame, "time": face.time, "box": face.box}
            entries.append({**about, "file_status": verdict.status, "file_score": verdict.score})
    if not parts:
        first = left_out[0] if left_out else {"path": "no file", "reason": "nothing was given"}
        raise DataError(f"no file has a face to explain: {first['path']}: {first['reason']}")
    return np.concatenate(parts), entries, left_out


def _regions(folder: Path, entries: Sequence[Mapping[str, Any]], size: int) -> dict[int, npt.NDArray[np.bool_]]:
    """The true region (size, size) of each fake that has a mask, by its place in ``entries``."""
    regions = {}
    for index, entry in enumerate(entries):
        file = folder / Path(entry["path"]).with_suffix(".png")
        if entry["label"] == "fake" and file.is_file():
            try:
                regions[index] = decode_resized(file.read_bytes(), size).mean(axis=2) >= 127.5
            except ImageError as error:
                raise DataError(f"mask {file}: {error.message}") from None
    if not regions:
        expected = next((e["path"] for e in entries if e["label"] == "fake"), "fake/1.jpg")
        raise DataError(
            f"{folder} has no mask of a fake of this split",
            hint=f"the mask of {expected} would be {folder / Path(expected).with_suffix('.png')}",
        )
    return regions


def _checked(explainer: Explainer, images: Tensor, maps: Maps, faces: int, seed: int) -> dict[str, Any] | None:
    """The sanity check on ``faces`` faces spread over all, with its sentences."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(faces, len(images))).round().astype(int))
    if not len(chosen):
        return None
    some = {key: values[chosen] for key, values in maps.items()}
    found = check_sanity(
        explainer.network, explainer.size, images[torch.from_numpy(chosen).to(images.device)], some, seed
    )
    kinds = {key: {level: plain(asdict(value)) for level, value in levels.items()} for key, levels in found.items()}
    sentences = [believable(explainer.kinds[key].title, levels, LIMIT) for key, levels in kinds.items()]
    return {"limit": LIMIT, "kinds": kinds, "sentences": sentences}


def _pointing(explainer: Explainer, maps: Maps, regions: Mapping[int, npt.NDArray[np.bool_]]) -> dict[str, Any]:
    """The pointing game of each kind of map on the fakes that have a mask."""
    members, masks = list(regions), np.stack(list(regions.values()))
    games = {key: pointing_game(enlarged(maps[key][members], explainer.size), masks) for key in explainer.kinds}
    return {"n": len(members), "kinds": {key: asdict(game) for key, game in games.items()}}


def _warnings(explainer: Explainer, sanity: dict[str, Any] | None, attention: Mapping[str, Any]) -> list[str]:
    warnings = [explainer.without] if explainer.without else []
    if sanity:
        warnings += [
            sentence
            for sentence, levels in zip(sanity["sentences"], sanity["kinds"].values(), strict=True)
            if levels["all"]["strength"] is None or levels["all"]["strength"] > LIMIT
        ]
    for key, found in attention.items():
        if found["effect"] < IDLE:
            warnings.append(
                f"{explainer.kinds[key].title} does next to nothing: γ = {found['gamma']:+.2g}, it adds "
                f"{found['effect']:.2%} to its input; where it looks does not matter to the verdict"
            )
    return warnings
