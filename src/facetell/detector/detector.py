"""A detector in memory: logits, calibrated scores and decisions for faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facetell.detector.bundle import read_bundle
from facetell.detector.calibration import DEFAULT, calibrations
from facetell.detector.judge import Judge
from facetell.detector.replay_buffer import memory_of
from facetell.detector.verdict import Verdict
from facetell.errors import BundleError, DataError, FacetellError, SettingsError, UsageError
from facetell.methods import get_method
from facetell.networks.acceleration import fast_inference
from facetell.networks.tensors import misfit, take_sizes
from facetell.pixels.decode import as_pixels
from facetell.settings import resolve

if TYPE_CHECKING:
    from PIL import Image

    from facetell.media.frame_choice import Choice

__all__ = ["Detector"]

SELFTEST_TOLERANCE = 2e-2
"""Largest difference of a replayed self-test logit, in units of 1 + |logit|: other processors round otherwise."""


class Detector:
    """A fitted network with its temperature and thresholds. Make one with ``Detector.load``."""

    def __init__(
        self,
        network: nn.Module,
        description: dict[str, Any],
        device: str | torch.device = "cpu",
        *,
        at: str = DEFAULT,
        prevalence: float | None = None,
    ) -> None:
        self.description = description
        self.size: int = description["input"]["size"]
        self.operating_point = at
        self.prevalence = prevalence
        self.calibration, self.file_calibration = calibrations(description, at, prevalence)
        """For one face, and for a video: chosen on validation videos, or that of one face where they were too few."""
        self.temperature: float = description["temperature"]
        self.threshold: float = self.calibration.shown_threshold
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self._scorer = fast_inference(self.network, self.size)
        self._judge: tuple[tuple[Any, ...], Judge] | None = None

    @classmethod
    def load(
        cls, path: str | Path, device: str = "auto", *, at: str = DEFAULT, prevalence: float | None = None
    ) -> Detector:
        """Read a bundle.

        ``at``: which of its operating points decides (``facetell threshold`` makes them); ``prevalence``: share of
        fakes, in (0, 1), that scores and threshold are moved to; the decisions stay.

        Raises:
            BundleError: with the reason for anything that is not exactly as it was written.
            UsageError: it has no such operating point, or does not know the share of fakes it was calibrated on.
        """
        return cls._open(Path(path), device, at, prevalence)[0]

    @classmethod
    def _open(
        cls, path: Path, device: str, at: str = DEFAULT, prevalence: float | None = None
    ) -> tuple[Detector, dict[str, Tensor]]:
        description, weights, selftest = read_bundle(path)
        network = _network(path, description, weights)
        try:
            return cls(network, description, _device(device), at=at, prevalence=prevalence), selftest
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path}: detector.json is damaged: {error!r}") from error

    @classmethod
    def verify(cls, path: str | Path) -> dict[str, Any]:
        """Check a bundle whole: files, tensors, its memory, and that the self-test gives its logits again."""
        path = Path(path)
        detector, selftest = cls._open(path, "cpu")
        description = detector.description
        memory = memory_of(path, description)
        if memory is not None:
            try:
                memory.verify()
            except DataError as error:
                raise BundleError(f"{path}: its memory is damaged: {error.message}", hint=error.hint) from error
        if set(selftest) != {"images", "logits"}:
            raise BundleError(f"{path}: the self-test is damaged")
        found = detector.logits(selftest["images"].numpy())
        expected = selftest["logits"].numpy()
        difference = float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))
        if not difference <= SELFTEST_TOLERANCE:
            raise BundleError(
                f"{path}: the self-test gives logits {found.tolist()}, {expected.tolist()} were stored",
                hint="the weights do not belong to this description, or the libraries differ too much",
            )
        return {
            "detector": str(path),
            "method": description["method"],
            "size": detector.size,
            "parameters": sum(p.numel() for p in detector.network.parameters()),
            "files": len(description["files"]),
            "memory": len(memory) if memory is not None else 0,
            "operating_points": {name: point["value"] for name, point in description["thresholds"].items()},
            "selftest_difference": difference,
        }

    def selftest(self) -> dict[str, Tensor]:
        """Two inputs and their logits, which `verify` replays."""
        images = np.random.default_rng(0).integers(0, 256, (2, self.size, self.size, 3), dtype=np.uint8)
        return {"images": torch.from_numpy(images), "logits": torch.from_numpy(self.logits(images))}

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits (N,) of crops (N, size, size, 3), uint8 RGB; higher = more fake. Raises ``UsageError`` for others."""
        if images.shape[1:] != (self.size, self.size, 3) or images.dtype != np.uint8:
            raise UsageError(
                f"this detector takes crops (N, {self.size}, {self.size}, 3) in uint8, not {images.shape} in {images.dtype}",
                hint="Detector.detect takes pictures of any size",
            )
        return self.logits_of(torch.from_numpy(images).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def logits_of(self, batch: Tensor) -> npt.NDArray[np.float32]:
        """The same for a uint8 tensor (N, 3, size, size) in channels-last memory, as ``iterate`` yields."""
        return self.forward(batch.to(self.device).float().div_(255)).cpu().numpy()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N,) of float images (N, 3, size, size) in [0, 1] on the detector's device, the quickest exact way."""
        logit: Tensor = self._scorer(images)
        return logit.float()

    def scores(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities of fake for the logits of faces, at the detector's prevalence."""
        return self.calibration.scores(logits)

    def detect(
        self,
        item: str | Path | Image.Image | npt.NDArray[np.uint8],
        *,
        faces: str = "auto",
        frames: Choice | None = None,
        face_model: str | None = None,
    ) -> Verdict:
        """Judge a photo, a video or a face crop: a path, a PIL image or an array uint8 (H, W, 3) RGB.

        ``faces``: ``find``, ``crops`` or ``auto``, see `Judge`; ``frames``: which of a video, default 32 spread over
        time. Whatever is wrong with a file is in the verdict. A file is read in this process: for files of strangers
        use `facetell.detect`, which survives those that crash a decoder.

        Raises:
            UsageError: an array that is no picture.
            MissingExtraError: faces must be found and the extra ``media`` is not installed.
        """
        options = (faces, frames, face_model)
        if self._judge is None or self._judge[0] != options:
            self._judge = options, Judge(self, faces=faces, frames=frames, model=face_model)
        judge = self._judge[1]
        if isinstance(item, str | Path):
            return judge.file(Path(item))
        return judge.picture(as_pixels(item))


def _network(path: Path, description: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """Build the network that the description names and give it the weights, exactly."""
    try:
        method = get_method(description["method"])
        network = method.build(resolve(method.settings, description["settings"]))
        take_sizes(network, weights)
    except FacetellError as error:
        raise BundleError(f"{path}: {error.message}", hint="was it written by another version of facetell?") from error
    wrong = misfit(network, weights)
    if wrong:
        raise BundleError(f"{path}: the weights do not fit {description['method']}: {wrong}")
    network.load_state_dict(weights)
    return network


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"unknown device '{name}'", hint="auto, cpu or cuda") from error
