"""``calibrate``: say how sure a detector may be of its logits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from facetell.api._labelled import labelled
from facetell.detector.bundle import update_calibration
from facetell.detector.calibration import Calibration, Scale
from facetell.detector.description import weights_hash
from facetell.detector.measure import METHODS, RULE, Sample, check_method, measure_calibration
from facetell.detector.places import DetectorLike, bundle_path, description_file
from facetell.evaluation.metrics import ece, log_loss
from facetell.evaluation.score_curves import Curve
from facetell.faceset.table import FaceSetLike
from facetell.files import alone
from facetell.progress import ShowProgress, callback

__all__ = ["CalibrateResult", "Fit", "calibrate"]


@dataclass(frozen=True)
class Fit:
    """How well scores fit labels as probabilities; smaller is better."""

    ece: float
    log_loss: float

    @classmethod
    def of(cls, curve: Curve, sample: Sample) -> Fit:
        """Of the scores that a curve gives a sample."""
        scores = curve.scores(sample.logits)
        return cls(ece(sample.labels, scores), log_loss(sample.labels, scores))


@dataclass(frozen=True)
class CalibrateResult:
    """What ``calibrate`` has stored, on how many faces it was measured, and how well scores fit these same faces.

    ``after`` is therefore rather too good; ``facetell evaluate`` on another split says what it is worth. ``before`` is
    None where the detector was uncalibrated.
    """

    detector: str
    method: str
    n: int
    n_real: int
    n_fake: int
    before: Fit | None
    after: Fit
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in ``calibrate --json``."""
        return asdict(self)


@alone("detector", description_file)
def calibrate(
    detector: DetectorLike,
    faceset: FaceSetLike,
    *,
    method: str = METHODS[0],
    split: str = "validation",
    device: str = "auto",
    runtime: str | None = None,
    progress: ShowProgress = None,
) -> CalibrateResult:
    """Measure on a split of a face set how the detector's logits become probabilities, and store it in the detector.

    ``method``: ``temperature``, or ``isotonic`` from 1,000 faces on. An uncalibrated detector gets a whole calibration:
    with it the operating point ``default`` (by balanced accuracy) and the reference that ``watch`` compares with. In a
    calibrated one scores alone change: thresholds and the unsure band are carried over to the new scores, so every
    decision stays. Whole videos get a temperature of their own where the split has 10 of each class; a calibrated
    detector only if it has one already.

    Raises UsageError, DataError and BundleError as :func:`threshold` does.
    """
    check_method(method)
    measured = labelled(detector, faceset, split, device, runtime, callback(progress))
    faces, videos, old = measured.faces, measured.videos, measured.detector.calibration
    weights = weights_hash(measured.detector.description)
    fresh = measure_calibration(weights, faces, videos, rules={"default": RULE}, method=method)

    def moved(scale: Scale, by: Scale | None) -> Scale:
        return scale.moved(by.curve, by.on) if by else scale

    def change(stored: Calibration | None) -> Calibration:
        if stored is None:
            return fresh
        return replace(
            stored, face=moved(stored.face, fresh.face), video=stored.video and moved(stored.video, fresh.video)
        )

    path = bundle_path(detector)
    update_calibration(path, change, measured.lineage)
    before = Fit.of(old.face.curve, faces) if old else None
    on = fresh.face.on
    return CalibrateResult(
        str(path), method, on.n, on.n_real, on.n_fake, before, Fit.of(fresh.face.curve, faces), measured.warnings
    )
