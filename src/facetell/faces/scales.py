"""Looking at a picture at several scales, because a network finds faces well only within a range of sizes.

Measured for CenterFace by scaling the same 90 portraits: boxes are right within about 5% while the face is 35 to 250
pixels of network input; from 300 on, faces are missed (23% of close-ups at 640 pixels) or cut into halves. Of 168 other
faces on plain ground it finds 99% at 32 pixels, 94% at 24, 73% at 20 and 18% at 16. So a picture is seen

- **fine**: long side at most 640, or so large that the least face wanted is half as large as the network needs, in tiles;
- **coarse**: at a quarter of that, again and again down to a long side of 160 (small pictures are scaled up to it), for
  faces that are too large in the view before;
- **close**: twice as large as in the fine view, around each spot where a face too small for that view gives itself away. At
  half the size that the network needs, 97% of those faces leave a trace of 0.02 or more in CenterFace's map. That costs
  about a quarter of looking at the whole picture so closely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.faces.candidates import Found, joined, overlapping_once
from facetell.faces.face import Face
from facetell.pixels.decode import resize

__all__ = ["COARSE", "FINE", "LARGEST", "PATCH", "SETTINGS", "TRACED", "Sight", "find"]

FINE = 640
"""Least long side of the fine view in pixels, where the picture has as many."""

COARSE = 160
"""Long side of the coarsest view in pixels."""

LARGEST = 256
"""Largest face (longer side of its box, in pixels of a view) for which a view is believed if there is a coarser one."""

TRACED = 64
"""Largest face, in pixels of the fine view, that is looked at closely: twice what is seen surely, for hard faces (masked to their
edges, in profile) of 40 to 50 pixels are missed too, but leave a trace."""

PATCH = 160
"""Side of a close look, in pixels of network input."""

SETTINGS = {"fine": FINE, "coarse": COARSE, "largest": LARGEST, "traced": TRACED, "patch": PATCH}
"""All that changes what is found, for a face detector's fingerprint."""

_MERGED = 40  # a trace this near to the middle of a close look needs none of its own, in pixels of network input


@dataclass(frozen=True)
class Sight:
    """A network, and what it sees.

    Attributes:
        look: gives the candidates of one view, uint8 (H, W, 3) RGB, overlapping ones and mere traces too.
        threshold: smallest score of a face, 0..1.
        surely: smallest face that it finds surely, in pixels of the view.
        trace: smallest score that a face of half that size leaves; None if none can be relied on.
        tile: largest side of a view in pixels.
    """

    look: Callable[[NDArray[np.uint8]], Found]
    threshold: float
    surely: float
    trace: float | None
    tile: int


def find(sight: Sight, pixels: NDArray[np.uint8], least: float) -> list[Face]:
    """Find all faces of at least ``least`` pixels in uint8 (H, W, 3) RGB, and some of the smaller ones."""
    side = max(pixels.shape[:2])
    close = min(1.0, sight.surely / max(least, 1.0))  # the scale at which the least face is seen surely
    needed = close if sight.trace is None else close / 2
    length = COARSE if side <= COARSE else max(min(FINE, side), round(needed * side))
    view = _view(pixels, length)
    seen = _seen(sight, view, pixels)
    fine = seen.sure(sight.threshold)
    if length < close * side:
        large = TRACED * side / length  # in pixels of the picture
        traces = _outside(seen.at(seen.sides < large), fine.at(fine.sides >= large))
        fine = joined([fine, _closely(sight, pixels, close, traces)])
    believed = [fine]
    while length > COARSE:
        coarser = max(COARSE, length // 4)
        # From the view before, which takes a third of the time of a resize of the picture and finds the same faces.
        view = _view(view, coarser)
        coarse = _seen(sight, view, pixels).sure(sight.threshold)
        believed.insert(0, coarse.at(coarse.sides >= LARGEST * side / length))
        length = coarser
    together = joined(believed)
    # Where two views see a face, the coarser one is right although its score may be lower: it goes first.
    rank = np.repeat(np.arange(len(believed), 0, -1), [len(found.scores) for found in believed])
    return together.at(overlapping_once(together.boxes, together.scores + rank)).faces()


def _view(pixels: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """The picture (H, W, 3) with its longer side scaled to ``long_side``."""
    scale = long_side / max(pixels.shape[:2])
    return resize(pixels, *(max(1, round(side * scale)) for side in pixels.shape[:2]))


def _seen(sight: Sight, view: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> Found:
    """Candidates of one view, looked at in tiles, in pixels of the picture."""
    height, width = view.shape[:2]
    parts = [
        _whole(sight.look(view[top:bottom, left:right]).placed((1, 1), (left, top)), (left, top, right, bottom), view)
        for top, bottom in _cuts(height, sight.tile)
        for left, right in _cuts(width, sight.tile)
    ]
    # Sizes were rounded, so the two directions differ by a trifle.
    return joined(parts).placed((pixels.shape[1] / width, pixels.shape[0] / height), (0, 0))


def _cuts(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """A side in even cuts of at most ``tile``, which overlap by more than the largest face that counts there."""
    overlap = min(LARGEST + LARGEST // 8, tile // 2)
    count = max(1, math.ceil((length - overlap) / (tile - overlap)))
    side = math.ceil((length + (count - 1) * overlap) / count)
    for number in range(count):
        start = min(number * (side - overlap), length - side)
        yield start, start + side


def _whole(found: Found, cut: tuple[int, int, int, int], of: NDArray[np.uint8]) -> Found:
    """Without the candidates that reach an edge of a cut where the picture goes on."""
    low = [start if start > 0 else -np.inf for start in cut[:2]]
    high = [end if end < side else np.inf for end, side in zip(cut[2:], of.shape[1::-1], strict=True)]
    bounds = np.array([low, high])
    whole = (found.boxes[:, :2] > bounds[0]) & (found.boxes[:, 2:] < bounds[1])
    return found.at(np.flatnonzero(whole.all(axis=1)))


def _outside(traces: Found, faces: Found) -> Found:
    """The traces whose middle lies in none of the faces: a face has spots that look like small ones."""
    middle = traces.centres[:, None]
    within = np.all((middle > faces.boxes[None, :, :2]) & (middle < faces.boxes[None, :, 2:]), axis=2)
    return traces.at(np.flatnonzero(~within.any(axis=1)))


def _closely(sight: Sight, pixels: NDArray[np.uint8], scale: float, traces: Found) -> Found:
    """The small faces seen at ``scale`` around the traces, or in all of the picture where that costs less."""
    height, width = pixels.shape[:2]
    reach = math.ceil(PATCH / scale)
    patches = _patches(traces, (width, height), reach, _MERGED / scale)
    if len(patches) * PATCH**2 > height * width * scale**2:
        patches = [(0, 0, width, height)]
    parts = [traces.at(np.zeros(0, np.int64))]
    for left, top, right, bottom in patches:
        part = pixels[top:bottom, left:right]
        seen = _seen(sight, _view(part, round(scale * max(part.shape[:2]))), part)
        parts.append(_whole(seen.placed((1, 1), (left, top)), (left, top, right, bottom), pixels).sure(sight.threshold))
    found = joined(parts)
    return found.at(found.sides < 2 * TRACED / scale)


def _patches(traces: Found, size: tuple[int, int], reach: int, near: float) -> list[tuple[int, int, int, int]]:
    """Squares (left, top, right, bottom) within a picture of ``size`` (width, height), around the strongest traces first."""
    patches = []
    waiting = traces.centres[np.argsort(-traces.scores, kind="stable")]
    while len(waiting):
        left, top = (
            int(min(max(at - reach / 2, 0), max(0, side - reach))) for at, side in zip(waiting[0], size, strict=True)
        )
        patches.append((left, top, min(left + reach, size[0]), min(top + reach, size[1])))
        waiting = waiting[np.abs(waiting - waiting[0]).max(axis=1) > near]
    return patches
