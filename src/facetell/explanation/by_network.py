"""An explanation that looks into the network: Grad-CAM, occlusion, attention, and the check with randomised weights."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import numpy.typing as npt
import torch

from facetell.detector.detector import Detector
from facetell.detector.runtimes.torch import torch_runtime
from facetell.explanation.explainer import Explainer
from facetell.explanation.maps import Explained
from facetell.explanation.sanity import sanity_check
from facetell.progress import Progress

__all__ = ["looked_into"]


def looked_into(
    detector: Detector, crops: npt.NDArray[np.uint8], device: str, sanity: int, seed: int, progress: Progress
) -> Explained:
    """Explain crops (N, S, S, 3), and check the maps of ``sanity`` faces with weights drawn by ``seed``."""
    runtime = torch_runtime(detector, device)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).to(runtime.device).float().div_(255)
    explainer = Explainer(runtime.network, detector.size, runtime.forward)
    maps = explainer.maps(images, progress)
    checked = sanity_check(explainer, images, maps, sanity, seed)
    attention = {
        key: {"gamma": explainer.gamma[key], "effect": effect} for key, effect in explainer.effects(images).items()
    }
    warnings = explainer.warnings(checked, attention)
    return Explained(maps, explainer.kinds, warnings, checked, attention, {"captum": metadata.version("captum")})
