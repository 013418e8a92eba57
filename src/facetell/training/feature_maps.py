"""Feature maps of a frozen backbone, computed once for each augmented view of an image.

Where only what stands behind a backbone learns, its forward pass is most of the cost of an epoch, and without
augmentation it would be the same in each. So each image gets a few augmented views, which the epochs take in turn; once
all have been seen, an epoch costs the learning part alone. Maps lie in half precision in files that are read in pieces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from facetell.faceset.decoded import DecodedImages
from facetell.faceset.samples import Samples
from facetell.networks.acceleration import fast_inference
from facetell.networks.backbones import Backbone
from facetell.progress import Progress, Step, silent
from facetell.training.augment import NO_AUGMENTATION, Augmentation, ViewParameters, apply, draw
from facetell.training.batches import epoch_order, iterate
from facetell.training.half_precision import HalfRows
from facetell.training.recipe import Recipe
from facetell.training.run import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["FeatureMaps", "MapsOfRun", "Views", "given"]

BLOCK = 64
"""Maps are filled by as many neighbours at a time. A row's last bits may depend on who is in the batch with it, and a
resumed run must find the same ones."""
HALF_MAX = 6e4
HINT = "free some space; with --set views=0 `fit` keeps nothing and computes the backbone in every epoch"


@dataclass(frozen=True)
class Views:
    """The augmented views of images: in how many ways each is seen in turn, and what decides which ways."""

    ranges: Augmentation = NO_AUGMENTATION
    seed: int = 0
    count: int = 1

    def parameters(self, view: int, images: int, size: int) -> ViewParameters:
        """How view number ``view`` changes each of ``images`` images of ``size`` × ``size`` pixels."""
        seed = int(np.random.SeedSequence([self.seed, view]).generate_state(1)[0])
        return draw(images, size, self.ranges, torch.Generator().manual_seed(seed))


class FeatureMaps:
    """Feature maps (C, h, w) of a frozen ``backbone`` for some rows of ``images``, made when they are first asked for.

    ``folder`` holds a file for each view, rows × C × h × w × 2 bytes, without a name: it is gone with the process.
    ``pixels``: whether whoever sees the maps sees the images as well.
    """

    def __init__(
        self,
        backbone: Backbone,
        images: DecodedImages,
        rows: NDArray[np.int64],
        views: Views,
        fabric: Fabric,
        folder: Path,
        *,
        pixels: bool = True,
        progress: Progress = silent,
    ) -> None:
        self.images = images
        self.views = Views() if views.ranges == NO_AUGMENTATION else views
        self._rows = np.unique(rows)
        self._fabric, self._pixels, self._progress = fabric, pixels, progress
        self._network = fast_inference(backbone.to(fabric.device), images.size)
        self._last: tuple[int, ViewParameters] | None = None
        self._files = HalfRows(folder, len(self._rows), backbone.map_shape(images.size), self.views.count, HINT)
        self._done = np.zeros((self.views.count, len(self._rows)), np.bool_)

    def pixels(self, rows: NDArray[np.int64], turn: ArrayLike) -> Tensor:
        """The images (B, 3, S, S) of ``rows`` in [0, 1] as they are seen in a turn, an epoch's number or a step's.

        ``turn`` may be one for each row.
        """
        pixels = torch.from_numpy(self.images.gather(rows)).permute(0, 3, 1, 2).to(self._fabric.device)
        return self._warped(pixels, rows, turn)

    def maps(self, rows: NDArray[np.int64], turn: ArrayLike) -> Tensor:
        """Their maps (B, C, h, w), channels-last, rounded to half precision at the first time as at every later one.

        Raises ``DataError`` when the disk is full.
        """
        numbers, places = self._numbers(rows, turn), np.searchsorted(self._rows, rows)
        found = np.empty((len(rows), *self._files.shape), np.float16)
        for number in np.unique(numbers):
            mine = numbers == number
            missing = np.unique(places[mine][~self._done[number][places[mine]]])
            if len(missing):
                self._make(int(number), missing)
            found[mine] = self._files.read(int(number), places[mine])
        there = torch.from_numpy(found).to(self._fabric.device).float()
        return there.contiguous(memory_format=torch.channels_last)

    def batches(self, rows: NDArray[np.int64], turn: ArrayLike, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images, maps) of ``rows`` in order, ``size`` at a time; those that are not there yet are made first.

        Where nobody looks at the pixels, they are not read, and the maps stand for the images.
        """
        numbers = self._numbers(rows, turn)
        self._fill(rows, numbers)
        parts = [slice(start, start + size) for start in range(0, len(rows), size)]
        if not self._pixels:
            for part in parts:
                maps = self.maps(rows[part], numbers[part])
                yield maps, maps
            return
        reading = iterate(self.images, rows, size, self._fabric.device)
        for part, (pixels, chosen) in zip(parts, reading, strict=True):
            yield self._warped(pixels, chosen, numbers[part]), self.maps(chosen, numbers[part])

    def _numbers(self, rows: NDArray[np.int64], turn: ArrayLike) -> NDArray[np.int64]:
        return np.broadcast_to(np.asarray(turn, np.int64) % self.views.count, len(rows))

    def _fill(self, rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        """Make the whole blocks that hold ``rows``."""
        for number in np.unique(numbers):
            places = np.searchsorted(self._rows, rows[numbers == number])
            blocks = np.unique(places[~self._done[number][places]] // BLOCK)
            rows_due = min(len(blocks) * BLOCK, len(self._rows))
            note = f"view {number + 1} of {self.views.count}"
            for done, block in enumerate(blocks):
                self._progress(Step("feature maps", done * BLOCK, rows_due, "faces", note))
                self._make(int(number), np.arange(block * BLOCK, min((block + 1) * BLOCK, len(self._rows))))

    @torch.no_grad()
    def _make(self, number: int, places: NDArray[np.int64]) -> None:
        with self._fabric.autocast():
            maps = self._network(self.pixels(self._rows[places], number)).clamp(-HALF_MAX, HALF_MAX).half()
        self._files.write(number, places, maps.contiguous().cpu().numpy())
        self._done[number][places] = True

    def _warped(self, pixels: Tensor, rows: NDArray[np.int64], turn: ArrayLike) -> Tensor:
        if self.views.ranges == NO_AUGMENTATION:
            return pixels.float().div_(255).contiguous(memory_format=torch.channels_last)
        numbers, places = self._numbers(rows, turn), torch.from_numpy(np.searchsorted(self._rows, rows))
        whole = [self._parameters(int(number)) for number in np.unique(numbers)]
        which = torch.from_numpy(np.unique(numbers, return_inverse=True)[1])
        parts = [(which == index, known) for index, known in enumerate(whole)]
        matrix = torch.empty(len(rows), *whole[0].matrix.shape[1:])
        holes = torch.empty(len(rows), *whole[0].holes.shape[1:], dtype=whole[0].holes.dtype)
        for mine, known in parts:
            matrix[mine], holes[mine] = known.matrix[places[mine]], known.holes[places[mine]]
        planes = pixels.contiguous().float().div_(255)  # resampling is quickest on whole planes
        return apply(planes, ViewParameters(matrix, holes))

    def _parameters(self, number: int) -> ViewParameters:
        """One view of all rows; only the last is kept, as that of half a million rows takes 60 MB."""
        if self._last is None or self._last[0] != number:
            self._last = number, self.views.parameters(number, len(self._rows), self.images.size)
        return self._last[1]


@dataclass(frozen=True)
class MapsOfRun:
    """The feature maps of a run whose backbone is frozen: of this process's training images, and of the validation ones."""

    training: FeatureMaps
    validation: FeatureMaps

    @classmethod
    def of(cls, network: nn.Module, run: Run, recipe: Recipe, turns: int, fabric: Fabric) -> MapsOfRun | None:
        """None where the backbone of ``network`` learns, or the recipe wants new views in each of ``turns``.

        A network whose attribute ``sees_only_maps`` is true does not look at the pixels beside its backbone.
        """
        backbone = getattr(network, "backbone", None)
        if not recipe.views or not isinstance(backbone, Backbone) or not backbone.frozen:
            return None
        mine = epoch_order(len(run.training), run.seed, 0, fabric.global_rank, fabric.world_size, apart=True)
        seed = int(np.random.SeedSequence([run.seed, fabric.global_rank]).generate_state(1)[0])
        pixels = not getattr(network, "sees_only_maps", False)

        def maps(samples: Samples, views: Views) -> FeatureMaps:
            return FeatureMaps(
                backbone, samples.images, samples.rows, views, fabric, run.folder, pixels=pixels, progress=run.progress
            )

        views = Views(recipe.augmentation, seed, min(recipe.views, turns))
        return cls(maps(run.training.subset(mine), views), maps(run.validation, Views()))


def given(network: nn.Module, maps: Tensor | None) -> contextlib.AbstractContextManager[None]:
    """Within this, ``network``'s backbone answers with ``maps``, if there are any."""
    if maps is None:
        return contextlib.nullcontext()
    backbone = network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    return backbone.given(maps)
