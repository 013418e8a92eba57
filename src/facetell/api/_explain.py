"""``explain``: where in faces a detector sees the fake."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facetell.detector.detector import Detector
from facetell.detector.places import DetectorLike, bundle_path, loaded
from facetell.detector.runtimes import RUNTIMES
from facetell.errors import MissingExtraError, UsageError, learning
from facetell.explanation.by_occlusion import occluded
from facetell.explanation.explained_faces import faces_of_faceset, faces_of_files, forged_regions
from facetell.explanation.maps import Explained
from facetell.explanation.pointing import pointing_games
from facetell.explanation.writing import Faces, check_explanation, write_explanation
from facetell.faceset.table import INFO_FILE, FaceSet, FaceSetLike, source_path
from facetell.progress import Progress, ShowProgress, callback
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

    Without the extra ``learn``, and of a detector whose network is none of ours, it is found by occlusion alone.

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
        UsageError: arguments that do not go together; ``out`` holds something else.
        DataError: no such split, no mask fits, or no file has a face.
    """
    check_counts(workers=workers, limit=limit)
    paths = list(map(source_path, [items] if isinstance(items, FaceSet | str | Path) else items))
    sets = [path for path in paths if (path / INFO_FILE).is_file()]
    if sets and len(paths) > 1:
        raise UsageError(f"{sets[0]} is a face set, which is explained alone", hint="give it alone, or files only")
    if masks is not None and not sets:
        raise UsageError("masks belong to a face set", hint="facetell prepare makes one")
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
    explained = _explained(judge, found.crops, device, sanity, seed, callback(progress))
    logits = judge.logits(found.crops)
    judged = zip(
        found.entries, logits.tolist(), decider.scores(logits).tolist(), decider.decisions(logits), strict=True
    )
    for entry, logit, score, decision in judged:
        entry |= {"logit": logit, "score": score, "decision": decision}
    description, groups = judge.description, [entry["group"] for entry in found.entries] if regions else []
    content = {
        "detector": name,
        "warnings": explained.warnings,
        "sanity": explained.sanity,
        "pointing": pointing_games(explained.maps, regions, groups) if regions else None,
        "attention": explained.attention,
        "left_out": found.left_out,
        "context": {
            "method": description["method"],
            "backbone": description["settings"]["backbone"],
            "input size": judge.size,
            **found.about,
            "seed": seed,
            "versions": {**description["versions"], **explained.versions},
        },
    }
    faces_found = Faces(found.crops, explained.maps, found.entries)
    written = write_explanation(folder, faces_found, explained.kinds, content, by_source=bool(sets))
    return ExplainResult(**written, maps=explained.maps, path=folder)


def _explained(
    judge: Detector, crops: npt.NDArray[np.uint8], device: str, sanity: int, seed: int, progress: Progress
) -> Explained:
    """By the network where there is one and what it takes to look into it, else by occlusion, which says why."""
    if judge.description["runtime"] not in RUNTIMES:
        return occluded(judge, crops, "its runtime gives logits alone", progress)
    try:
        with learning("Grad-CAM"):
            importlib.import_module("captum.attr")
            from facetell.explanation.by_network import looked_into
    except MissingExtraError as error:
        return occluded(judge, crops, f"{error.message} ({error.hint})", progress)
    return looked_into(judge, crops, device, sanity, seed, progress)
