"""``threshold``: tell a detector when to say fake, and when to say nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from facetell.api._labelled import labelled
from facetell.detector.bundle import update_calibration
from facetell.detector.calibration import Calibration, OperatingPoint, Scale, UnsureBand, plain, uncalibrated
from facetell.detector.measure import Sample
from facetell.detector.places import DetectorLike, bundle_path, description_file
from facetell.errors import DataError, SettingsError, UsageError
from facetell.evaluation.thresholds import check_rule, too_few_warning
from facetell.faceset.table import FaceSetLike
from facetell.files import alone
from facetell.progress import ShowProgress, callback

__all__ = ["Chosen", "ThresholdResult", "threshold"]

_NAME = re.compile(r"[\w.=+-]+")


@dataclass(frozen=True)
class Chosen:
    """What was chosen for single faces, or for whole videos; None where nothing was."""

    point: OperatingPoint | None
    unsure: UnsureBand | None


@dataclass(frozen=True)
class ThresholdResult:
    """What ``threshold`` has stored.

    ``name``: of the operating point, None without one. ``video``: the same for whole videos, None where the detector has
    no calibration for them or the split too few.
    """

    detector: str
    name: str | None
    face: Chosen
    video: Chosen | None
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in ``threshold --json``."""
        found: dict[str, Any] = plain(self)
        return found


@alone("detector", description_file)
def threshold(
    detector: DetectorLike,
    faceset: FaceSetLike,
    *,
    split: str = "validation",
    at: str | None = None,
    name: str | None = None,
    coverage: float | None = None,
    device: str = "auto",
    runtime: str | None = None,
    progress: ShowProgress = None,
) -> ThresholdResult:
    """Choose an operating point, an *unsure* band or both on a split of a face set and store them in the detector.

    ``at``: the rule, see :func:`~facetell.evaluation.thresholds.choose_threshold`; the point is stored as ``name``
    (default: the rule as written), in place of one that has it. ``default`` is the name that decides unless another is
    asked for. ``coverage``: of the unsure band, in (0, 1), see :mod:`facetell.evaluation.conformal`; 0 removes the band.
    For whole videos the same is chosen on their pooled scores where the split has 10 of each class.

    The detector on disk is the old or the new one at every moment; one that is loaded stays as it is.

    Raises:
        UsageError: neither ``at`` nor ``coverage``, a test split, the faces it was fitted on, a bad name, or a detector
            that is uncalibrated.
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
    measured = labelled(detector, faceset, split, device, runtime, callback(progress))
    calibration = measured.detector.calibration
    if calibration is None:
        raise uncalibrated("scores to choose a threshold among")
    face = _chosen(measured.faces, calibration.face, at, coverage)
    video, warnings = None, [*measured.warnings, *_promised("", at, face)]
    if calibration.video is not None:
        if measured.videos is not None:
            try:
                video = _chosen(measured.videos, calibration.video, at, coverage)
                warnings += _promised("whole videos: ", at, video)
            except DataError as error:
                warnings.append(f"not chosen for whole videos: {error.message}")
        elif at or coverage:
            warnings.append(
                f"{measured.faces.faceset} has too few videos: nothing was chosen for whole videos; their operating points stay"
            )

    def change(stored: Calibration | None) -> Calibration:
        if stored is None or (stored.face.curve, stored.video and stored.video.curve) != (
            calibration.face.curve, calibration.video and calibration.video.curve
        ):  # fmt: skip
            raise UsageError("the detector was calibrated anew meanwhile", hint="choose again")
        return replace(
            stored,
            face=_with(stored.face, name, face, coverage),
            video=stored.video and _with(stored.video, name, video, coverage),
        )

    path = bundle_path(detector)
    update_calibration(path, change, measured.lineage)
    return ThresholdResult(str(path), name, face, video, tuple(warnings))


def _chosen(sample: Sample, scale: Scale, at: str | None, coverage: float | None) -> Chosen:
    point = sample.point(scale.curve, at) if at else None
    if point and not point.rates["recall"]["value"]:
        raise DataError(
            f"at {at} not one fake of {point.on.n_fake:,} is found: a real face has the highest score",
            hint="allow more false alarms, or look at that face: is its label right?",
        )
    return Chosen(point, sample.band(scale.curve, coverage) if coverage else None)


def _promised(of: str, at: str | None, chosen: Chosen) -> list[str]:
    warning = too_few_warning(at, chosen.point.rates) if at and chosen.point else None
    return [of + warning] if warning else []


def _with(scale: Scale, name: str | None, chosen: Chosen | None, coverage: float | None) -> Scale:
    """The scale with what was chosen; a band of other faces says nothing of this coverage, so it goes in any case."""
    if chosen and chosen.point and name:
        scale = replace(scale, points={**scale.points, name: chosen.point})
    if coverage is not None:
        scale = replace(scale, unsure=chosen.unsure if chosen else None)
    return scale
