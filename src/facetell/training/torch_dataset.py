"""A split of a face set as a torch data set, for training loops of one's own."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from facetell.faceset.decoded import DecodedImages, decoded
from facetell.faceset.samples import group_codes
from facetell.faceset.table import FaceSet

__all__ = ["FaceDataset"]


class FaceDataset(Dataset[tuple[torch.Tensor, int]]):
    """Row i of a split: (uint8 (3, size, size) RGB, label 0 real or 1 fake), from the cache of decoded pictures.

    ``labels`` (N,) and ``groups`` (N,) are those of all rows. Can be sent to the workers of a ``DataLoader``.
    """

    def __init__(self, faces: FaceSet, split: str, size: int) -> None:
        self._path = decoded(faces, split, size).path
        self._images: DecodedImages | None = None  # opened by each process for itself
        self.labels = faces.labels(split)
        self.groups = group_codes(faces, split)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        if self._images is None:
            self._images = DecodedImages(self._path)
        pixels = self._images.gather([row])[0]
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), int(self.labels[row])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_images": None}
