"""An explanation that asks the detector and never looks into it: of any runtime, without torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facetell.detector.detector import Detector
from facetell.detector.occlusion import occlusion, window_of
from facetell.explanation.maps import Explained, Kind
from facetell.progress import Progress, Step

__all__ = ["kind_of_occlusion", "occluded"]


def kind_of_occlusion(size: int) -> Kind:
    """The kind of map that occlusion gives for faces of ``size`` pixels."""
    side, stride = window_of(size)
    return Kind("occlusion", size, True, f"squares of {side}×{side} pixels, {stride} apart, in the face's mean colour")


def occluded(detector: Detector, crops: npt.NDArray[np.uint8], why: str, progress: Progress) -> Explained:
    """Explain crops (N, S, S, 3); ``why`` there is no more than this. ``progress`` is told of every face."""
    maps = []
    for number, crop in enumerate(crops, start=1):
        maps.append(occlusion(detector.logits, crop[None], *window_of(detector.size)))
        progress(Step("explaining", number, len(crops), "faces"))
    return Explained(
        {"occlusion": np.concatenate(maps)},
        {"occlusion": kind_of_occlusion(detector.size)},
        [f"occlusion alone, and no check of it with randomised weights: {why}"],
    )
