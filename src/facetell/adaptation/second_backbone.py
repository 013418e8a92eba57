"""A second backbone with general weights, which stays as it is, and what it sees in the pictures at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facetell.faceset.decoded import DecodedImages
from facetell.faceset.samples import Samples
from facetell.networks.depth import DepthStatistics
from facetell.progress import Progress, silent
from facetell.training.vectors import extract

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Second"]


class Second:
    """``statistics`` of a backbone called ``backbone`` with the weights ``weights`` says, for images of ``size``.

    ``views``: the same pictures at that size, by the file of those that the detector sees.
    """

    def __init__(
        self,
        backbone: str,
        weights: str,
        size: int,
        statistics: DepthStatistics,
        views: Mapping[Path, DecodedImages],
        fabric: Fabric,
    ) -> None:
        self.backbone, self.weights, self.size, self.statistics = backbone, weights, size, statistics
        self._views, self._fabric = views, fabric
        self._kept: dict[Path, NDArray[np.float32]] = {}

    def samples(self, samples: Samples) -> Samples:
        """The same faces at this size."""
        return Samples(self._views[samples.images.path], samples.rows, samples.labels, samples.groups)

    def vectors(self, samples: Samples) -> NDArray[np.float32]:
        """Their statistics (N, D); those of all pictures in the file are computed at the first time, and kept."""
        path = samples.images.path
        if path not in self._kept:
            self._look(path, silent)
        found: NDArray[np.float32] = self._kept[path][samples.rows]
        return found

    def look(self, progress: Progress) -> None:
        """Compute all statistics now."""
        for path in self._views:
            self._look(path, progress)

    def _look(self, path: Path, progress: Progress) -> None:
        images = self._views[path]
        every = np.arange(len(images))
        whole = Samples(images, every, np.zeros(len(every), np.int8), every)
        self._kept[path] = extract(self.statistics, whole, self._fabric, progress)
