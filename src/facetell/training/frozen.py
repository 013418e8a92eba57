"""Maps of a backbone that stays still, computed once for each image and draw of the augmentation.

Where only what stands behind a backbone learns, its forward pass is most of an epoch and gives the same every time, but
for the augmentation. So each image gets a few draws of that, which the epochs take in turn; from the second round on an
epoch costs the learning part alone. Maps lie in half precision in files that are read in pieces.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facetell.data.augment import Augmentation, Draws, apply, draw
from facetell.data.cache import DecodedImages
from facetell.networks.backbones import Backbone
from facetell.training.runtime import fast_inference

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["DRAWS", "STILL", "FrozenMaps"]

DRAWS = 8
"""Draws of the augmentation for each image: with 16 and more nothing was gained in validation AUROC."""
STILL = Augmentation(flip=False, translate=0.0, zoom=0.0, rotate=0.0, cutout_holes=0)
"""No augmentation."""


class FrozenMaps:
    """Maps (C, h, w) of ``backbone`` for some rows of ``images``, made when they are first asked for.

    ``folder`` holds a file for each draw, rows × C × h × w × 2 bytes. The backbone must not change.
    """

    def __init__(
        self,
        backbone: Backbone,
        images: DecodedImages,
        rows: NDArray[np.int64],
        ranges: Augmentation,
        seed: int,
        fabric: Fabric,
        folder: Path,
        draws: int = DRAWS,
    ) -> None:
        self.images = images
        self.draws = draws
        self._rows = np.unique(rows)
        self._ranges, self._seed, self._fabric, self._folder = ranges, seed, fabric, folder
        self._shape = backbone.map_shape(images.size)
        self._network = fast_inference(backbone.to(fabric.device), images.size)
        self._parameters: dict[int, Draws] = {}
        self._files: dict[int, NDArray[np.float16]] = {}
        self._done: dict[int, NDArray[np.bool_]] = {}

    def pixels(self, rows: NDArray[np.int64], turn: int) -> Tensor:
        """The images (B, 3, S, S) of ``rows`` in [0, 1] as they are seen in a turn, an epoch's number or a step's."""
        number = turn % self.draws
        if number not in self._parameters:
            generator = torch.Generator().manual_seed(
                int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
            )
            self._parameters[number] = draw(len(self._rows), self.images.size, self._ranges, generator)
        chosen = torch.from_numpy(np.searchsorted(self._rows, rows))
        known = self._parameters[number]
        planes = torch.from_numpy(self.images.gather(rows)).permute(0, 3, 1, 2).contiguous().float().div_(255)
        return apply(planes.to(self._fabric.device), Draws(known.matrix[chosen], known.holes[chosen]))

    def maps(self, rows: NDArray[np.int64], turn: int) -> Tensor:
        """Their maps (B, C, h, w), channels-last."""
        number = turn % self.draws
        if number not in self._files:
            shape = (len(self._rows), *self._shape)
            path = self._folder / f"maps-{len(self._files)}-{id(self)}.f16"
            self._files[number] = np.memmap(path, np.float16, "w+", shape=shape)
            self._done[number] = np.zeros(len(self._rows), np.bool_)
            path.unlink()  # the mapping keeps it; a killed process leaves nothing
        places = np.searchsorted(self._rows, rows)
        missing = np.unique(places[~self._done[number][places]])
        if len(missing):
            self._files[number][missing] = self._computed(self._rows[missing], turn)
            self._done[number][missing] = True
        found = torch.from_numpy(self._files[number][places]).float().to(self._fabric.device)
        return found.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _computed(self, rows: NDArray[np.int64], turn: int) -> NDArray[np.float16]:
        with self._fabric.autocast():
            maps: NDArray[np.float16] = self._network(self.pixels(rows, turn)).clamp(-6e4, 6e4).half().cpu().numpy()
        return maps
