"""The torch runtime: the only place where judging meets torch. It is imported when a detector needs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facetell.detector.detector import Detector
from facetell.detector.runtimes import RUNTIMES
from facetell.detector.weights import read_weights
from facetell.errors import BundleError, FacetellError, UsageError
from facetell.faceset.decoded import DecodedImages
from facetell.faceset.samples import Samples
from facetell.methods import get_method
from facetell.methods.building import network_of
from facetell.methods.method import Method
from facetell.networks.acceleration import fast_inference
from facetell.networks.backbones import Backbone
from facetell.networks.depth import DepthStatistics, DepthVectors
from facetell.networks.mixture import MixtureOfExperts
from facetell.networks.perceptron import DepthClassifier
from facetell.progress import Progress, Step
from facetell.training.batches import iterate
from facetell.training.fabric import device_of, make_fabric
from facetell.training.vectors import statistics_reader

__all__ = ["TorchRuntime", "load", "torch_runtime"]

BATCH = 256

Logits = npt.NDArray[np.float32]


class TorchRuntime:
    """Implements `Runtime`, `Embeds`, `ReadsForExperts` and `ReadsCache`.

    ``network`` is moved to ``device``, stays as it is otherwise, and is in evaluation mode from now on; logits come from a
    quicker copy of it. ``method``: the one it is of, which may know a shorter way to many logits.
    """

    def __init__(
        self, network: nn.Module, size: int, device: str | torch.device = "cpu", method: Method | None = None
    ) -> None:
        self.size = size
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self._method = method
        self._readers: dict[nn.Module, Callable[[Tensor], npt.NDArray[np.float32]]] = {}

    @cached_property
    def _scorer(self) -> nn.Module:
        with torch.inference_mode(False):
            return fast_inference(self.network, self.size)

    @cached_property
    def _embedder(self) -> nn.Module:
        if not isinstance(getattr(self.network, "backbone", None), Backbone):
            raise UsageError("the detector's network has no backbone of its own to look into")
        with torch.inference_mode(False):
            return fast_inference(DepthVectors(self.network, self.size), self.size)

    def logits(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits (N,) of crops (N, size, size, 3)."""
        return self._logits(torch.from_numpy(crops).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def _logits(self, pixels: Tensor) -> npt.NDArray[np.float32]:
        return self.forward(pixels.to(self.device).float().div_(255)).cpu().numpy()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N,) of float images (N, 3, size, size) in [0, 1] on the runtime's device, the quickest exact way."""
        logit: Tensor = self._scorer(images)
        return logit.float()

    @torch.inference_mode()
    def logits_and_vectors(
        self, crops: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Logits (N,) and vectors (N, D) of crops (N, size, size, 3), see `DepthVectors`."""
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).to(self.device).float().div_(255)
        found: npt.NDArray[np.float32] = self._embedder(images).cpu().numpy()
        return found[:, 0], found[:, 1:].astype(np.float64)

    @torch.inference_mode()
    def read_for_experts(self, crops: npt.NDArray[np.uint8]) -> tuple[Logits, Logits]:
        """See `ReadsForExperts`. Raises ``UsageError`` for a network without experts."""
        network: Any = self.network
        if not isinstance(network, MixtureOfExperts | DepthClassifier):
            raise UsageError(
                "the detector has no experts, which alone can learn from vectors of old faces",
                hint="keep pictures, without --vectors; facetell adapt makes a detector with experts of it",
            )
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).to(self.device).float().div_(255)
        if isinstance(network, MixtureOfExperts):
            vectors = self._read(network.statistics, images)
            old = network.old_logits(images, torch.from_numpy(vectors).to(self.device))
        else:
            vectors = self._read(network.for_experts, images)
            own = self._read(network.statistics, images) if network.untuned else vectors
            old = network.head(torch.from_numpy(own).to(self.device))
        return old.float().cpu().numpy(), vectors

    def _read(self, statistics: DepthStatistics, images: Tensor) -> npt.NDArray[np.float32]:
        if statistics not in self._readers:
            with torch.inference_mode(False):
                fabric = make_fabric("32-true", self.device.type)
                self._readers[statistics] = statistics_reader(statistics, self.size, fabric)[0]
        return self._readers[statistics](images)

    def logits_of(
        self, images: DecodedImages, rows: npt.NDArray[np.int64], progress: Progress
    ) -> npt.NDArray[np.float32]:
        """Logits (N,) of ``rows`` of ``images``: by the method's own shorter way if it has one, else by the network."""
        if self._method and self._method.predict:
            nothing = np.zeros(len(rows), np.int8)
            samples = Samples(images, rows, nothing, nothing.astype(np.int64))
            fabric = make_fabric("32-true", self.device.type)
            return self._method.predict(self.network, samples, fabric, progress)
        logits = np.empty(len(rows), np.float32)
        done = 0
        for pixels, _ in iterate(images, rows, BATCH, self.device):
            logits[done : done + len(pixels)] = self._logits(pixels)
            done += len(pixels)
            progress(Step("scoring", done, len(rows), "faces"))
        return logits


def load(path: Path, description: dict[str, Any], device: str, threads: int | None) -> TorchRuntime:
    """See `facetell.detector.runtimes.load_runtime`."""
    if threads is not None:
        torch.set_num_threads(threads)
    weights = read_weights(path, description)
    try:
        network = network_of(description, weights)
    except FacetellError as error:
        hint = "was it written by another version of facetell?"
        raise BundleError(f"{path}: {error.message}", hint=hint) from error
    method = get_method(description["method"])
    return TorchRuntime(network, description["input"]["size"], device_of(device), method)


def torch_runtime(detector: Detector, device: str = "auto") -> TorchRuntime:
    """The network of a detector for those who learn from it or look into it, read anew if another runtime judges.

    ``device`` is for one that is read. Raises ``UsageError`` for another kind of detector.
    """
    runtime = detector.runtime
    if isinstance(runtime, TorchRuntime):
        return runtime
    if detector.path is None or detector.description["runtime"] not in RUNTIMES:
        raise UsageError(
            "the detector does not run on torch, so nothing can be learned from its network",
            hint="give the detector that `facetell fit` wrote",
        )
    return load(detector.path, detector.description, device, None)
