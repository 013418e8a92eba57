"""``audit``: whether a face set, or a detector on it, could be right for the wrong reason."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.api._evaluate import predictions
from facetell.api._measurable import measurable
from facetell.detector.detector import Detector
from facetell.detector.places import DetectorLike, loaded
from facetell.evaluation.concentration import error_rates, followed_families, worst_groups
from facetell.evaluation.shortcuts import enough_groups, shortcut_strengths
from facetell.faceset.leaks import find_leaks
from facetell.faceset.samples import check_split, group_codes
from facetell.faceset.survey import sample_statistics, survey
from facetell.faceset.table import FaceSet, FaceSetLike
from facetell.ingest.prepare import open_or_prepare
from facetell.pixels.image_statistics import CONTROLS, FAMILIES, Floats
from facetell.progress import ShowProgress, callback
from facetell.reporting.audit import AUDIT_FORMAT, AUDIT_VERSION, check_audit_destination, findings, write_audit
from facetell.results import AuditResult

__all__ = ["audit", "training_shortcuts"]

log = logging.getLogger("facetell")

SAMPLE = 2000
"""Most training rows that ``fit`` measures."""
PIXELS = 150_000_000
"""Of them together, so that large crops take no longer; but never fewer rows than `LEAST`."""
LEAST = 400


def audit(
    faceset: FaceSetLike,
    out: str | Path | None = None,
    *,
    detector: DetectorLike | None = None,
    split: str = "test",
    seed: int = 0,
    device: str = "auto",
    runtime: str | None = None,
    progress: ShowProgress = None,
) -> AuditResult:
    """Look for leaks between splits and shortcuts to the label, and for a detector's errors where they cluster.

    ``faceset``: a face set, or a picture folder or index. ``out``: a folder to write ``audit.json``, ``audit.md`` and
    pictures to. ``split`` is what shortcuts are measured on, learned from *train* (else *finetune*); where neither is
    another split with enough groups, on itself in five folds, groups apart. ``detector`` is evaluated on it as well, at
    its own threshold, and without faces that it has learned from or others of their groups. ``seed`` draws folds and
    permutations.

    Raises ``DataError`` for a split that is not there or a picture that does not decode, ``UsageError`` when ``out``
    holds something else or the detector has learned from half of the split or more.
    """
    if out is not None:
        check_audit_destination(Path(out))
    name, judge = (None, None) if detector is None else loaded(detector, device, runtime)
    tell = callback(progress)
    faces = open_or_prepare(faceset, progress=tell)
    check_split(faces, split, "audit")
    keep, said = measurable(judge, faces, split) if judge else (None, [])
    seen = survey(faces, tell)
    leaks = find_leaks(faces, seen)
    shortcuts, scores = _shortcuts(faces, seen.statistics, split, seed)
    result: dict[str, Any] = {
        "format": AUDIT_FORMAT,
        "version": AUDIT_VERSION,
        "faceset": faces.path.name,
        "fingerprint": faces.fingerprint,
        "rows": len(faces),
        "split": split,
        "seed": seed,
        "leaks": leaks,
        "shortcuts": shortcuts,
        "detector": None,
    }
    if judge is not None:
        table = {name: column[keep] for name, column in predictions(judge, faces, split, progress=tell).items()}
        scores = None if scores is None else scores[:, keep]
        errors = _errors(judge, table, shortcuts["families"], scores, seed)
        result["detector"] = {"name": name, "warnings": said, **errors}
    result["findings"] = findings(result)
    if out is not None:
        write_audit(result, faces, Path(out))
    return AuditResult(**result, path=None if out is None else Path(out))


def training_shortcuts(faces: FaceSet, rows: NDArray[np.int64], seed: int) -> list[dict[str, Any]]:
    """How well each family of features alone tells the labels of training rows, from a sample; [] when they are few."""
    sizes = faces.columns(["width", "height"])
    middle = float(np.median(sizes["width"].to_numpy()[rows].astype(np.int64) * sizes["height"].to_numpy()[rows]))
    most = int(np.clip(PIXELS / middle, LEAST, SAMPLE))
    labels, groups = faces.labels(), group_codes(faces)
    if not enough_groups(labels[rows], groups[rows]):
        return []
    drawn, features = sample_statistics(faces, rows, most, seed)
    if not enough_groups(labels[drawn], groups[drawn]):
        return []
    return shortcut_strengths(_families(features), labels[drawn], groups[drawn], None, seed, CONTROLS)[0]


def _families(features: Floats) -> dict[str, Floats]:
    stops = np.cumsum([len(names) for names in FAMILIES.values()])
    return {
        family: features[:, stop - len(names) : stop]
        for (family, names), stop in zip(FAMILIES.items(), stops.tolist(), strict=True)
    }


def _shortcuts(
    faces: FaceSet, features: Floats, split: str, seed: int
) -> tuple[dict[str, Any], NDArray[np.float64] | None]:
    labels, groups = faces.labels(), group_codes(faces)
    own = np.asarray(faces.rows(split))
    if not enough_groups(labels[own], groups[own]):
        return {"learned_on": None, "measured_on": split, "families": []}, None
    learned_on, learned = split, None
    for name in ("train", "finetune"):
        if name in faces.splits and name != split:
            there = np.asarray(faces.rows(name))
            if enough_groups(labels[there], groups[there]):
                learned_on, learned = name, (_families(features[there]), labels[there])
                break
    found, scores = shortcut_strengths(_families(features[own]), labels[own], groups[own], learned, seed, CONTROLS)
    return {"learned_on": learned_on, "measured_on": split, "families": found}, scores


def _errors(
    detector: Detector,
    table: dict[str, NDArray[Any]],
    families: list[dict[str, Any]],
    scores: NDArray[np.float64] | None,
    seed: int,
) -> dict[str, Any]:
    threshold = detector.decider.threshold
    labels, groups = table["label"], table["group"]
    wrong = (table["score"].astype(np.float64) >= threshold) != (labels == 1)
    return {
        "threshold": float(threshold),
        "n": len(labels),
        "errors": int(wrong.sum()),
        "sources": error_rates(labels, wrong, groups, table["source"]),
        "worst_groups": worst_groups(labels, wrong, groups, seed),
        "follows": []
        if scores is None
        else followed_families([one["family"] for one in families], scores, table["logit"], labels, groups),
    }
