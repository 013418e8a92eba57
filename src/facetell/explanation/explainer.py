"""All maps that a network has, for a batch of faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facetell.detector.occlusion import occlusion, window_of
from facetell.explanation.attention_maps import attended
from facetell.explanation.by_occlusion import kind_of_occlusion
from facetell.explanation.gradcam import explains_by_gradient, grad_cam
from facetell.explanation.gradcam_places import Place, places_of
from facetell.explanation.maps import Kind, Maps
from facetell.networks.attention import SelfAttention
from facetell.progress import Progress, Step, silent

__all__ = ["Explainer"]

BATCH = 16
IDLE = 0.01
"""What an attention adds, relative to its input, below which it is said to do nothing."""


class Explainer:
    """Grad-CAM, occlusion and attention of one network.

    ``forward``: another way to the same logits, quicker, for occlusion. ``kinds`` are the maps there are, by key:
    ``grad_cam`` and ``grad_cam_ftt`` (not where the logit has no gradient, see ``without``), ``occlusion``,
    ``attention_1`` and so on. ``gamma`` has the γ of each attention.
    """

    def __init__(self, network: nn.Module, size: int, forward: Callable[[Tensor], Tensor] | None = None) -> None:
        self.network = network.eval()
        self.size = size
        self.forward = forward or network
        self.without: str | None = None
        self.places: dict[str, Place] = {}
        if explains_by_gradient(network, size):
            found = places_of(network, size)
            self.places = {"grad_cam" if part == "backbone" else f"grad_cam_{part}": found[part] for part in found}
            if not found:
                self.without = (
                    "no Grad-CAM: the detector reads maps at every depth of its backbone; occlusion needs none"
                )
        else:
            self.without = "no Grad-CAM: the logit of decision trees has no gradient; occlusion needs none"
        self.gamma = {
            f"attention_{stage}": module.gamma.item()
            for stage, module in enumerate((m for m in network.modules() if isinstance(m, SelfAttention)), start=1)
        }
        self.kinds = self._kinds()

    def _kinds(self) -> dict[str, Kind]:
        kinds = {}
        for key, place in self.places.items():
            part = "Grad-CAM" if key == "grad_cam" else "Grad-CAM, Transformer"
            kinds[key] = Kind(
                part, place.side, True, f"at {' + '.join(place.modules)}, {place.side}×{place.side} cells"
            )
        kinds["occlusion"] = kind_of_occlusion(self.size)
        if self.gamma:
            probe = torch.zeros(1, 3, self.size, self.size, device=next(self.network.parameters()).device)
            for (key, gamma), seen in zip(self.gamma.items(), attended(self.network, probe), strict=True):
                cells = seen.received.shape[-1]
                stage = key.removeprefix("attention_")
                kinds[key] = Kind(f"attention {stage}", cells, False, f"γ = {gamma:+.3g}, {cells}×{cells} cells")
        return kinds

    def maps(self, images: Tensor, progress: Progress = silent) -> Maps:
        """All maps of faces (N, 3, S, S) in [0, 1]; ``progress`` is told of every batch."""
        parts: dict[str, list[npt.NDArray[np.float32]]] = {key: [] for key in self.kinds}
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            found = {key: grad_cam(self.network, place, batch) for key, place in self.places.items()}
            stages = attended(self.network, batch)
            found |= {key: seen.received for key, seen in zip(self.gamma, stages, strict=True)}
            for key, values in found.items():
                parts[key].append(values.float().cpu().numpy())
            crops = batch.permute(0, 2, 3, 1).cpu().numpy()
            parts["occlusion"].append(occlusion(self._logits, crops, *window_of(self.size)))
            progress(Step("explaining", min(start + BATCH, len(images)), len(images), "faces"))
        return {key: np.concatenate(values) for key, values in parts.items() if values}

    @torch.no_grad()
    def _logits(self, crops: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits (N,) of crops (N, S, S, 3) in [0, 1]."""
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).to(next(self.network.parameters()).device)
        return self.forward(images).float().cpu().numpy()

    def warnings(self, sanity: Mapping[str, Any] | None, attention: Mapping[str, Any]) -> list[str]:
        """What a reader must know of these maps: which there are not, do not pass the sanity check, or do not matter."""
        warnings = [self.without] if self.without else []
        if sanity:
            warnings += [
                sentence
                for sentence, levels in zip(sanity["sentences"], sanity["kinds"].values(), strict=True)
                if levels["all"]["strength"] is None or levels["all"]["strength"] > sanity["limit"]
            ]
        for key, found in attention.items():
            if found["effect"] < IDLE:
                warnings.append(
                    f"{self.kinds[key].title} does next to nothing: γ = {found['gamma']:+.2g}, it adds "
                    f"{found['effect']:.2%} to its input; where it looks does not matter to the verdict"
                )
        return warnings

    def effects(self, images: Tensor) -> dict[str, float]:
        """Length of what each attention adds, relative to its input; mean over faces."""
        parts: list[list[Tensor]] = [
            [seen.effect for seen in attended(self.network, images[start : start + BATCH])]
            for start in range(0, len(images), BATCH)
        ]
        means = [float(torch.cat(effects).mean()) for effects in zip(*parts, strict=True)]
        return dict(zip(self.gamma, means, strict=True))
