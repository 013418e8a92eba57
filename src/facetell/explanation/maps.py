"""What a map is, and all that is found out about some faces, whoever found it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["Explained", "Kind", "Maps", "enlarged"]

Maps = dict[str, npt.NDArray[np.float32]]
"""By kind: (N, h, w)."""


@dataclass(frozen=True)
class Kind:
    """One kind of map: its title, cells a side, whether it is signed (positive = fake), and how it was made."""

    title: str
    side: int
    signed: bool
    made: str


@dataclass(frozen=True)
class Explained:
    """The ``maps`` of some faces and their ``kinds``; ``sanity`` and ``attention`` as ``explain.json`` holds them; what a
    reader must know first (``warnings``), and versions of what else made them."""

    maps: Maps
    kinds: Mapping[str, Kind]
    warnings: Sequence[str] = ()
    sanity: Mapping[str, Any] | None = None
    attention: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def enlarged(maps: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Maps (N, h, w) at the face's size (N, size, size), no smaller than they are, bilinear."""
    if maps.shape[1:] == (size, size):
        return maps
    grown = [Image.fromarray(each).resize((size, size), Image.Resampling.BILINEAR) for each in maps]
    return np.stack([np.asarray(each) for each in grown]) if grown else np.zeros((0, size, size), np.float32)
