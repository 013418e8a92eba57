"""``threshold`` and ``calibrate``: tell a detector when to say fake, when to say nothing, and how sure it may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.api._evaluate import predictions, warn_of_other_crops
from facetell.detector.bundle import update_description
from facetell.detector.calibration import DEFAULT, band_of, curve_of, file_thresholds
from facetell.detector.detector import Detector
from facetell.detector.measured import counted, operating_point, videos_of
from facetell.errors import DataError, SettingsError, UsageError, near_miss
from facetell.evaluation.conformal import fit_band
from facetell.evaluation.metrics import ece, log_loss
from facetell.evaluation.score_curves import Curve, fit_isotonic, fit_temperature
from facetell.evaluation.thresholds import check_rule, promise
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import open_or_prepare

__all__ = ["CALIBRATIONS", "calibrate", "threshold"]

CALIBRATIONS = ("temperature", "isotonic")
Progress = Callable[[int, int], None]
_NAME = re.compile(r"[\w.=+-]+")


def threshold(
    detector: str | Path,
    faceset: str | Path,
    *,
    split: str = "validation",
    at: str | None = None,
    name: str | None = None,
    coverage: float | None = None,
    device: str = "auto",
    on_decode: Progress | None = None,
    on_score: Progress | None = None,
) -> dict[str, Any]:
    """Choose an operating point, an *unsure* band or both on a split of a face set and store them in the detector.

    ``at``: the rule, see :func:`~facetell.evaluation.thresholds.choose_threshold`; the point is stored as ``name``
    (default: the rule as written), in place of one that has it. ``default`` is the name that decides unless another is
    asked for. ``coverage``: of the unsure band, in (0, 1), see :mod:`facetell.evaluation.conformal`; 0 removes the band.
    For whole videos the same is chosen on their pooled scores where the split has 10 of each class.

    The detector at ``detector`` is the old or the new one at every moment. Returns ``detector``, ``name``, ``point``,
    ``unsure``, ``per_file`` (``point`` and ``unsure`` of whole videos) and ``warnings``; what was not chosen is None.

    Raises:
        UsageError: neither ``at`` nor ``coverage``, a test split, the faces it was fitted on, a bad name.
        DataError: a missing class, a rate that cannot be reached, too few groups for the coverage.
        BundleError: the detector is damaged or cannot be written.
    """
    if at is None and coverage is None:
        raise UsageError(
            "nothing to choose", hint="give a rule such as fpr=0.01 (--at), a coverage (--unsure), or both"
        )
    if at is not None:
        check_rule(at)
    elif name is not None:
        raise UsageError("a name without a rule", hint="give a rule such as fpr=0.01 with --at")
    name = name or at
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be a name", hint="letters, digits and . _ = + -")
    if coverage is not None and not 0 <= coverage < 1:
        raise SettingsError(f"a coverage lies between 0 and 1, got {coverage:g}", hint="for example 0.9")
    faces, found, data, table = _scored(detector, faceset, split, device, on_decode, on_score)
    description = found.description
    labels, groups = table["label"], table["group"]
    warnings: list[str] = []
    result: dict[str, Any] = {
        "detector": str(detector), "name": name, "point": None, "unsure": None, "per_file": None, "warnings": warnings,
    }  # fmt: skip
    if at:
        point = _useful(operating_point(labels, table["score"], groups, at, data))
        result["point"] = point
        warning = promise(at, point["rates"])
        warnings.extend([warning] if warning else [])
    if coverage:
        result["unsure"] = _band(labels, table["score"], groups, coverage, data)
    if description.get("per_file"):
        result["per_file"] = _of_videos(faces, description, table["logit"], at, coverage, data, warnings)

    def change(stored: dict[str, Any]) -> None:
        for part, chosen in ((stored, result), (stored.get("per_file"), result["per_file"])):
            if part is None:
                continue
            if coverage is not None:
                part.pop("unsure", None)  # a band of other faces says nothing of this coverage
            if chosen and chosen["unsure"]:
                part["unsure"] = chosen["unsure"]
            if chosen and chosen["point"]:
                part.setdefault("thresholds", {})[name] = chosen["point"]
                if name == DEFAULT and part is not stored:
                    part["calibration"]["threshold"] = chosen["point"]["value"]

    update_description(Path(detector), change)
    return result


def calibrate(
    detector: str | Path,
    faceset: str | Path,
    *,
    method: str = "temperature",
    split: str = "validation",
    device: str = "auto",
    on_decode: Progress | None = None,
    on_score: Progress | None = None,
) -> dict[str, Any]:
    """Fit anew, on a split of a face set, how the detector's logits become probabilities, and store it in the detector.

    ``method``: ``temperature``, or ``isotonic`` from 1,000 faces on. The ranking of the faces stays; thresholds and the
    unsure band are carried over to the new scores, so every decision stays. For whole videos a temperature is fitted
    where the detector has one for them and the split has 10 of each class.

    Returns ``detector``, ``method``, ``n``, ``n_real``, ``n_fake``, and ``before`` and ``after``: ECE and log loss on
    these same faces, so the latter rather too good; ``facetell evaluate`` on another split says what it is worth.

    Raises UsageError, DataError and BundleError as :func:`threshold` does.
    """
    if method not in CALIBRATIONS:
        raise SettingsError(
            f"unknown calibration '{method}'{near_miss(method, CALIBRATIONS)}", hint=f"one of {', '.join(CALIBRATIONS)}"
        )
    faces, found, data, table = _scored(detector, faceset, split, device, on_decode, on_score)
    logits, labels = table["logit"], table["label"]
    old = found.calibration.curve
    new = fit_isotonic(logits, labels) if method == "isotonic" else Curve(fit_temperature(logits, labels))
    counts = counted(labels)
    videos = videos_of(faces, logits, split) if found.description.get("per_file") else None

    def change(stored: dict[str, Any]) -> None:
        _carry(stored, curve_of(stored), new)
        stored["temperature"] = new.temperature
        stored["calibration"] = {"method": method, **data, **counts}
        if new.knots:
            stored["calibration"]["knots"] = [list(knot) for knot in new.knots]
        if videos is not None:
            part = stored["per_file"]
            before, after = (
                Curve(part["calibration"]["temperature"]),
                Curve(fit_temperature(videos.logits, videos.labels)),
            )
            value = _carried(file_thresholds(part)[DEFAULT], before, after)
            _carry(part, before, after)
            part["calibration"] = {"temperature": after.temperature, "threshold": value}
            part.update(data | counted(videos.labels))

    update_description(Path(detector), change)
    return {
        "detector": str(detector),
        "method": method,
        **counts,
        **{
            when: {"ece": ece(labels, scores), "log_loss": log_loss(labels, scores)}
            for when, scores in (("before", old.scores(logits)), ("after", new.scores(logits)))
        },
    }


def _scored(
    path: str | Path,
    faceset: str | Path,
    split: str,
    device: str,
    on_decode: Progress | None,
    on_score: Progress | None,
) -> tuple[FaceSet, Detector, dict[str, str], dict[str, npt.NDArray[Any]]]:
    """The face set, the detector, what to store of where the faces are from, and their predictions."""
    if split == "test":
        raise UsageError(
            "what is chosen on the split 'test' would make its numbers worthless",
            hint="use validation or finetune; facetell prepare makes splits where an index or folder has none",
        )
    detector = Detector.load(path, device)
    faces = open_or_prepare(Path(faceset))
    check_split(faces, split, "choose on")
    fitted = detector.description["data"]
    if (faces.fingerprint, split) == (fitted["fingerprint"], fitted["split"]):
        raise UsageError(
            f"the detector was fitted on the split '{split}' of {faces.path.name}: it is too sure of these faces",
            hint="use the split validation",
        )
    warn_of_other_crops(detector, faces)
    table = predictions(detector, faces, split, on_decode=on_decode, on_score=on_score)
    return faces, detector, {"split": split, "faceset": faces.path.name, "fingerprint": faces.fingerprint}, table


def _useful(point: dict[str, Any]) -> dict[str, Any]:
    """The operating point; raises ``DataError`` where it calls no fake fake."""
    if not point["rates"]["recall"]["value"]:
        raise DataError(
            f"at {point['rule']} not one fake of {point['n_fake']:,} is found: a real face has the highest score",
            hint="allow more false alarms, or look at that face: is its label right?",
        )
    return point


def _band(
    labels: npt.ArrayLike, scores: npt.ArrayLike, groups: npt.ArrayLike, coverage: float, data: dict[str, str]
) -> dict[str, Any]:
    band = fit_band(labels, scores, groups, coverage)
    y, names = np.asarray(labels), np.asarray(groups)
    return {
        "coverage": coverage,
        "fake_from": band.fake_from,
        "real_to": band.real_to,
        **data,
        **counted(labels),
        "groups_real": int(np.unique(names[y == 0].astype(str)).size),
        "groups_fake": int(np.unique(names[y == 1].astype(str)).size),
    }


def _of_videos(
    faces: FaceSet,
    description: dict[str, Any],
    logits: npt.NDArray[np.float32],
    at: str | None,
    coverage: float | None,
    data: dict[str, str],
    warnings: list[str],
) -> dict[str, Any] | None:
    """Point and band of whole videos; None, with a warning, where they are too few."""
    videos = videos_of(faces, logits, data["split"])
    if videos is None:
        if at or coverage:
            warnings.append(
                f"{data['faceset']} has too few videos: nothing was chosen for whole videos; their operating points stay"
            )
        return None
    scores = Curve(description["per_file"]["calibration"]["temperature"]).scores(videos.logits)
    chosen: dict[str, Any] = {"point": None, "unsure": None}
    try:
        if at:
            chosen["point"] = _useful(operating_point(videos.labels, scores, videos.groups, at, data))
        if coverage:
            chosen["unsure"] = _band(videos.labels, scores, videos.groups, coverage, data)
    except DataError as error:
        warnings.append(f"not chosen for whole videos: {error.message}")
    if chosen["point"]:
        warning = promise(str(at), chosen["point"]["rates"])
        warnings.extend([f"whole videos: {warning}"] if warning else [])
    return chosen


def _carried(value: float, old: Curve, new: Curve) -> float:
    """A score of the old curve as one of the new; above 1 (nothing is called fake) it stays."""
    return value if value > 1 else float(new.scores(old.logits(value)))


def _carry(part: dict[str, Any], old: Curve, new: Curve) -> None:
    """Carry the operating points and the band of a description, or of its part for videos, over to another curve."""
    for point in part.get("thresholds", {}).values():
        point["value"] = _carried(point["value"], old, new)
    if band_of(part) is not None:
        for end in ("fake_from", "real_to"):
            part["unsure"][end] = _carried(part["unsure"][end], old, new)
