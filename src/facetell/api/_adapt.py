"""``adapt``: teach a detector a new kind of fake from a few examples, without losing what it knew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facetell.adaptation.task import AdaptOptions
from facetell.detector.places import DetectorLike, bundle_path
from facetell.faceset.table import FaceSetLike, source_path
from facetell.files import alone
from facetell.progress import ShowProgress, callback
from facetell.settings import check_counts

if TYPE_CHECKING:
    from facetell.adaptation.result import AdaptResult

__all__ = ["adapt"]


@alone("out")
def adapt(
    detector: DetectorLike,
    out: str | Path,
    *,
    fake: FaceSetLike | None = None,
    real: FaceSetLike | None = None,
    shots: int | None = None,
    strategy: str = "auto",
    backbone: str | None = None,
    pretrained: str | None = None,
    size: int | None = None,
    margin: float = AdaptOptions.margin,
    trust_labels: bool = False,
    seed: int = 0,
    device: str = "auto",
    progress: ShowProgress = None,
) -> AdaptResult:
    """Learn a new kind of fake and write the new detector to ``out``, if it passes the acceptance checks.

    Args:
        detector: the old detector, which is not changed.
        out: where the new one goes; nothing may be there.
        fake: a folder in which every picture, photo or video is fake, or a face set of which the fakes are taken (split
            *finetune*, else *train*). Without it fakes are blended from the reals (:func:`facetell.blend`).
        real: the same for reals, from where the fakes were found; at most 1,000 are used, or as many as there are fakes.
            Without it some of the replay buffer stand in.
        shots: at most that many of the fakes, drawn by ``seed``.
        strategy: a name of ``STRATEGIES``, or ``auto``: the best of all that fit, by cross-validation on the new faces.
        backbone: the second backbone of the strategy ``expert``; by default like the detector's own.
        pretrained: its weights: ``library``, a safetensors file or a detector; by default what the detector's own backbone
            was pretrained with.
        size: side in pixels of the crops that the second backbone reads, at least the detector's, which is the default.
        margin: how far the AUROC on old faces may fall. Only a detector with a replay buffer can tell
            (:func:`facetell.remember`).
        trust_labels: accept labels that the old detector ranks the wrong way round.
        seed: of shots, folds, order and augmentation; the same seed gives the same detector.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: True shows bars; a function is called as files are read and strategies are tried.

    Returns:
        What was tried, measured and chosen; :func:`facetell.history` tells it of the new detector too.

    Raises:
        AcceptanceError: a check is not passed and nothing is written; its ``record`` is what would have been returned, as
            a dict.
        UsageError: something is asked for that cannot be, ``out`` exists, or there are no reals at all.
        DataError: a place without faces, or too few faces or groups to hold some out.
        LeakError: a picture has both labels.
        BundleError: the detector or its replay buffer is damaged.
    """
    from facetell.adaptation.flow import adapt_detector
    from facetell.networks.seeding import seeded

    check_counts(shots=shots)
    asked = AdaptOptions(
        None if fake is None else source_path(fake),
        None if real is None else source_path(real),
        shots, strategy, backbone, pretrained, size, margin, trust_labels, seed, device, callback(progress),
    )  # fmt: skip
    with seeded(seed):
        return adapt_detector(bundle_path(detector), Path(out), asked)
