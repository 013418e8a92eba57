"""A second backbone, pretrained on pictures of everything and frozen, and what it reads in each face."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from facetell.adaptation.model import Model
from facetell.detector.bundle import is_bundle, read_lineage
from facetell.detector.lineage import Lineage
from facetell.errors import FacetellError, UsageError
from facetell.faceset.decoded import DecodedImages, decoded
from facetell.faceset.samples import Samples
from facetell.faceset.table import FaceSet
from facetell.methods.pretrained import read_start, start_backbone
from facetell.networks.acceleration import fast_inference
from facetell.networks.depth import DepthStatistics
from facetell.networks.mixture import AtSize, MixtureOfExperts
from facetell.networks.perceptron import DepthClassifier
from facetell.progress import Progress, Step, silent
from facetell.training.loop import predict
from facetell.training.vectors import MIRRORED, extract, logits_from

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["SecondBackbone", "find_second_backbone"]


@dataclass
class SecondBackbone:
    """A backbone called ``name``, whose ``statistics`` experts read of crops of ``size`` pixels a side.

    ``pretrained`` says where its weights are from, ``lineage`` what those have learned from, where they are of a detector.
    It reads only faces that `show` has named.
    """

    name: str
    pretrained: str
    size: int
    statistics: DepthStatistics
    lineage: Lineage = field(default_factory=Lineage)
    _views: dict[Path, DecodedImages] = field(default_factory=dict)
    _read: dict[tuple[Path, int], NDArray[np.float32]] = field(default_factory=dict)
    _logits: dict[Path, NDArray[np.float32]] = field(default_factory=dict)
    _old: AtSize | None = None

    def old(self, model: Model) -> AtSize:
        """The frozen network that experts on this backbone correct: the mixture's own, or a copy of the model's, made once."""
        if self.owns(model):
            own: Any = model.network
            frozen: AtSize = own.old
            return frozen
        if self._old is None:
            network = model.network if self.shares(model) else model.copy(learns=False)
            self._old = AtSize(network, model.settings.size).eval()
        return self._old

    def owns(self, model: Model) -> bool:
        """Whether the model is a mixture whose experts read this very backbone."""
        return isinstance(model.network, MixtureOfExperts) and model.network.statistics is self.statistics

    def shares(self, model: Model) -> bool:
        """Whether the model is a head on this very backbone, or on what became of it by learning."""
        return isinstance(model.network, DepthClassifier) and model.network.for_experts is self.statistics

    def knows(self, model: Model) -> bool:
        """Whether the model's logits follow from these statistics and, of a mixture, its old network's."""
        return self.owns(model) or self.shares(model)

    def keep(self, images: DecodedImages, vectors: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        """Give what is known of faces without pictures: statistics (N, D), and logits (N,) of the old network."""
        self._read[images.path, 0], self._logits[images.path] = vectors, logits

    def old_logits(self, old: AtSize, samples: Samples, fabric: Fabric) -> NDArray[np.float32]:
        """Logits (N,) of the old network, computed once for all faces of a split. ``old`` is that of `old`."""
        path = samples.images.path
        if path not in self._logits:
            self._logits[path] = self._old_logits(old, path, fabric)
        return self._logits[path][samples.rows]

    def _old_logits(self, old: AtSize, path: Path, fabric: Fabric) -> NDArray[np.float32]:
        network = old.network
        if not isinstance(network, DepthClassifier) or old.size != self.size:
            return predict(old, self._whole(path), fabric)
        if network.untuned:
            return logits_from(network.head, extract(network.statistics, self._whole(path), fabric), fabric)
        # of a head on this backbone, one pass serves both
        return logits_from(network.head, self._vectors(path, 0, fabric, silent), fabric)

    @torch.no_grad()
    def judge(self, model: Model, samples: Samples, fabric: Fabric) -> NDArray[np.float32]:
        """Logits (N,) as a model that this backbone `knows` gives them, from what was read once."""
        old = self.old_logits(self.old(model), samples, fabric)
        if not isinstance(model.network, MixtureOfExperts):
            return old
        seen = (torch.from_numpy(each).to(fabric.device) for each in (old, self.vectors(samples, fabric)))
        logits: NDArray[np.float32] = model.network.mix(*seen).cpu().numpy()
        return logits

    @cached_property
    def reader(self) -> nn.Module:
        """The statistics as a quicker network that gives the same."""
        return fast_inference(self.statistics, self.size)

    def show(self, samples: Samples, faces: FaceSet, split: str) -> None:
        """Decode a split of ``faces`` at this size; ``samples`` are of it, at the detector's own size."""
        images = samples.images
        self._views[images.path] = images if images.size == self.size else decoded(faces, split, self.size)

    def samples(self, samples: Samples) -> Samples:
        """The same faces at this size."""
        return Samples(self._views[samples.images.path], samples.rows, samples.labels, samples.groups)

    def vectors(self, samples: Samples, fabric: Fabric, view: int = 0) -> NDArray[np.float32]:
        """Statistics (N, D) of faces, or of another `view` of them; those of all faces of the split are computed at once."""
        found: NDArray[np.float32] = self._vectors(samples.images.path, view, fabric, silent)[samples.rows]
        return found

    def read(self, learned: Samples, fabric: Fabric, progress: Progress) -> None:
        """Compute the statistics of all faces now, of those that are ``learned`` from also those of their mirror images;
        ``progress`` counts over all face sets together."""
        wanted = [*((path, 0) for path in self._views), (learned.images.path, MIRRORED)]
        total, before = sum(len(self._views[path]) for path, _ in wanted), 0
        for path, view in wanted:

            def told(step: Step, shift: int = before) -> None:
                progress(replace(step, done=shift + step.done, total=total))

            self._vectors(path, view, fabric, told)
            before += len(self._views[path])

    def _vectors(self, path: Path, view: int, fabric: Fabric, progress: Progress) -> NDArray[np.float32]:
        if (path, view) not in self._read:
            self._read[path, view] = extract(self.statistics, self._whole(path), fabric, progress, view)
        return self._read[path, view]

    def _whole(self, path: Path) -> Samples:
        images = self._views[path]
        every = np.arange(len(images))
        return Samples(images, every, np.zeros(len(every), np.int8), every)


def find_second_backbone(
    model: Model, name: str | None, pretrained: str | None, size: int | None
) -> SecondBackbone | None:
    """The second backbone that was asked for; where nothing was asked, the model's own kind, or None where that fails.

    The model's own kind is the second backbone that a mixture of experts has, the only one of a detector of the method depth, or
    one like the model's backbone with the
    weights that one was pretrained with. A mixture's own backbone is found again whenever it is the one asked for.

    Raises what reading ``pretrained`` raises, and UsageError for a size below the model's or random weights.
    """
    if size is not None and size < model.settings.size:
        raise UsageError(
            f"the detector takes crops of {model.settings.size} pixels a side, its second backbone cannot take {size}",
            hint=f"give at least {model.settings.size}",
        )
    if pretrained == "none":
        raise UsageError(
            "a second backbone with random weights knows nothing", hint="--pretrained library or FILE.safetensors"
        )
    try:
        return _like_its_own(model, name, size) if pretrained is None else _asked(model, name, pretrained, size)
    except FacetellError:
        if name or pretrained or size:
            raise
        return None


def _like_its_own(model: Model, name: str | None, size: int | None) -> SecondBackbone | None:
    own = model.settings
    if isinstance(model.network, MixtureOfExperts) and name in (None, own.backbone):
        statistics = model.network.statistics
        if size not in (None, own.size):
            statistics = DepthStatistics(copy.deepcopy(statistics.backbone), size)
        return SecondBackbone(own.backbone, own.pretrained, size or own.size, statistics)
    if isinstance(model.network, DepthClassifier) and name in (None, own.backbone) and size in (None, own.size):
        return SecondBackbone(own.backbone, own.pretrained, own.size, model.network.for_experts)
    pretrained = "library" if name else str(getattr(own, "pretrained", "none"))
    if pretrained == "none" or pretrained.startswith("detector "):  # whose backbone has forgotten what others need
        if size:
            raise UsageError(
                "the detector's backbone was not pretrained on other pictures than faces",
                hint="--pretrained library or FILE.safetensors",
            )
        return None
    if pretrained != "library":
        raise UsageError(
            f"a detector keeps no path to the weights it began with, {pretrained}", hint="give them with --pretrained"
        )
    return _asked(model, name, pretrained, size)


def _asked(model: Model, name: str | None, pretrained: str, size: int | None) -> SecondBackbone:
    start, said, inherited = read_start(pretrained)
    chosen, side = name or str(inherited.get("backbone", model.settings.backbone)), size or model.settings.size
    statistics = DepthStatistics(start_backbone(chosen, side, pretrained, start), side)
    if isinstance(model.network, MixtureOfExperts) and side == model.settings.size:
        mine, theirs = model.network.statistics.state_dict(), statistics.state_dict()
        if mine.keys() == theirs.keys() and all(torch.equal(mine[key].cpu(), theirs[key]) for key in mine):
            statistics = model.network.statistics
    place = Path(pretrained)
    lineage = read_lineage(place) if is_bundle(place) else Lineage()
    return SecondBackbone(chosen, said, side, statistics, lineage)
