"""``explain``: where in faces a detector sees the fake."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch

from facetell.detector.places import DetectorLike, bundle_path, loaded
from facetell.detector.runtimes.torch import torch_runtime
from facetell.errors import MissingExtraError, UsageError, learning
from facetell.explanation.explained_faces import faces_of_faceset, faces_of_files, forged_regions
from facetell.explanation.explainer import Explainer
from facetell.explanation.pointing import pointing_games
from facetell.explanation.sanity import sanity_check
from facetell.explanation.writing import Faces, check_explanation, write_explanation
from facetell.faceset.table import INFO_FILE, FaceSet, FaceSetLike, source_path
from facetell.progress import ShowProgress, callback
from facetell.results import ExplainResult
from facetell.settings import check_counts

__all__ = ["explain"]


def explain(
    detector: DetectorLike,
    items: FaceSetLike | Sequence[str | Path],
    out: str | Path | None = None,
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
) -> ExplainResult:
    """Find what a detector looks at: in photos, videos and crops, or on average over a face set.

    Args:
        detector: a detector bundle, its name, or a loaded detector that was written.
        items: files, folders and patterns as of `facetell.detect`; or one face set.
        out: where the explanation is drawn, a new folder or that of an earlier one; None draws nothing.
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

    Raises:
        MissingExtraError: the extra ``learn`` or ``report`` is not installed.
        UsageError: arguments that do not go together; ``out`` holds something else.
        DataError: no such split, no mask fits, or no file has a face.
    """
    check_counts(workers=workers, limit=limit)
    paths = [source_path(items)] if isinstance(items, FaceSet | str | Path) else [Path(item) for item in items]
    sets = [path for path in paths if (path / INFO_FILE).is_file()]
    if sets and len(paths) > 1:
        raise UsageError(f"{sets[0]} is a face set, which is explained alone", hint="give it alone, or files only")
    if masks is not None and not sets:
        raise UsageError("masks belong to a face set", hint="facetell prepare makes one")
    _check_installed()
    folder = None if out is None else Path(out)
    check_explanation(folder)
    name, judge = loaded(detector, device)
    decider = judge.decider
    if sets:
        found = faces_of_faceset(sets[0], split, judge.size, limit, seed)
    else:
        options = {"faces": faces, "frames": frames, "face_model": face_model, "device": device, "workers": workers}
        found = faces_of_files(bundle_path(detector), paths, options)
    regions = None if masks is None else forged_regions(Path(masks), found.entries, judge.size)
    runtime = torch_runtime(judge, device)
    images = torch.from_numpy(found.crops).permute(0, 3, 1, 2).to(runtime.device).float().div_(255)
    explainer = Explainer(runtime.network, judge.size, runtime.forward)
    maps = explainer.maps(images, callback(progress))
    logits = judge.logits(found.crops)
    judged = zip(
        found.entries, logits.tolist(), decider.scores(logits).tolist(), decider.decisions(logits), strict=True
    )
    for entry, logit, score, decision in judged:
        entry |= {"logit": logit, "score": score, "decision": decision}
    checked = sanity_check(explainer, images, maps, sanity, seed)
    attention = {
        key: {"gamma": explainer.gamma[key], "effect": effect} for key, effect in explainer.effects(images).items()
    }
    description = judge.description
    content = {
        "detector": name,
        "warnings": explainer.warnings(checked, attention),
        "sanity": checked,
        "pointing": pointing_games(maps, regions, [entry["group"] for entry in found.entries]) if regions else None,
        "attention": attention,
        "left_out": found.left_out,
        "context": {
            "method": description["method"],
            "backbone": description["settings"]["backbone"],
            "input size": judge.size,
            **found.about,
            "seed": seed,
            "versions": {**description["versions"], "captum": metadata.version("captum")},
        },
    }
    explained = write_explanation(
        folder, Faces(found.crops, maps, found.entries), explainer.kinds, content, by_source=bool(sets)
    )
    return ExplainResult(**explained, maps=maps, path=folder)


def _check_installed() -> None:
    """Before any work is done."""
    with learning("Grad-CAM"):
        importlib.import_module("captum.attr")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("pictures of maps", "report")
