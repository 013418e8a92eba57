"""A detector in memory: logits, calibrated scores and decisions for faces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facetell.data.images import decode_resized
from facetell.detector.bundle import read_bundle
from facetell.errors import BundleError, FacetellError, ImageError, SettingsError
from facetell.evaluation.calibration import calibrated
from facetell.methods import get_method
from facetell.networks.tensors import misfit
from facetell.settings import resolve
from facetell.training.runtime import fast_inference

__all__ = ["Decision", "Detector"]

SELFTEST_TOLERANCE = 2e-2
"""Largest difference of a replayed self-test logit, in units of 1 + |logit|: other processors round otherwise."""


@dataclass(frozen=True)
class Decision:
    """What is said of one picture.

    ``decision``: ``fake``, ``real``, or why nothing is said (``unreadable``, ``unsupported``, ``empty``, ``missing``).
    ``score``: calibrated probability of fake, 0 to 1. ``threshold``: scores from here on are called fake.
    ``reason``: for a picture that was not judged, what was wrong with it.
    """

    path: str
    decision: str
    score: float | None = None
    threshold: float | None = None
    reason: str | None = None

    @property
    def judged(self) -> bool:
        """Whether the picture got a verdict."""
        return self.score is not None

    def as_dict(self) -> dict[str, object]:
        """The decision as plain values, as in ``detect --json``."""
        return asdict(self)


class Detector:
    """A fitted network with its temperature and thresholds. Make one with ``Detector.load``."""

    def __init__(self, network: nn.Module, description: dict[str, Any], device: str | torch.device = "cpu") -> None:
        self.description = description
        self.size: int = description["input"]["size"]
        self.temperature: float = description["temperature"]
        self.threshold: float = description["thresholds"]["default"]["value"]
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self._scorer = fast_inference(self.network, self.size)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Detector:
        """Read a bundle. Raises ``BundleError`` with the reason for anything that is not exactly as it was written."""
        return cls._open(Path(path), device)[0]

    @classmethod
    def _open(cls, path: Path, device: str) -> tuple[Detector, dict[str, Tensor]]:
        description, weights, selftest = read_bundle(path)
        network = _network(path, description, weights)
        try:
            return cls(network, description, _device(device)), selftest
        except (KeyError, TypeError) as error:
            raise BundleError(f"{path}: detector.json is damaged: {error!r}") from error

    @classmethod
    def verify(cls, path: str | Path) -> dict[str, object]:
        """Check a bundle whole: files, tensors, and that the self-test gives its logits again."""
        path = Path(path)
        detector, selftest = cls._open(path, "cpu")
        description = detector.description
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
            "selftest_difference": difference,
        }

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits (N,) of crops (N, size, size, 3), uint8 RGB; higher = more fake."""
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
        """Calibrated probabilities of fake for logits: ``sigmoid(logit / temperature)``."""
        return calibrated(logits, self.temperature)

    def detect(self, paths: Iterable[str | Path], batch_size: int = 64) -> Iterator[Decision]:
        """Judge picture files of face crops, in order. A file that cannot be judged costs one ``Decision``, no error."""
        waiting: list[tuple[str, npt.NDArray[np.uint8] | Decision]] = []
        for path in paths:
            waiting.append((str(path), self._read(Path(path))))
            if len(waiting) == batch_size:
                yield from self._judge(waiting)
                waiting = []
        yield from self._judge(waiting)

    def _read(self, path: Path) -> npt.NDArray[np.uint8] | Decision:
        try:
            return decode_resized(path.read_bytes(), self.size)
        except ImageError as error:
            return Decision(str(path), error.reason, reason=error.message)
        except FileNotFoundError:
            return Decision(str(path), "missing", reason="no such file")
        except OSError as error:
            return Decision(str(path), "unreadable", reason=error.strerror or str(error))

    def _judge(self, waiting: list[tuple[str, npt.NDArray[np.uint8] | Decision]]) -> Iterator[Decision]:
        pictures = [picture for _, picture in waiting if not isinstance(picture, Decision)]
        scores = iter(self.scores(self.logits(np.stack(pictures))).tolist() if pictures else [])
        for path, picture in waiting:
            if isinstance(picture, Decision):
                yield picture
            else:
                score = next(scores)
                yield Decision(path, "fake" if score >= self.threshold else "real", score, self.threshold)


def _network(path: Path, description: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """Build the network that the description names and give it the weights, exactly."""
    try:
        method = get_method(description["method"])
        network = method.build(resolve(method.settings, description["settings"]))
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
