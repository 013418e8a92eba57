"""Linking the faces of a video's sampled frames to tracks: one number per person in view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.faces.face import Face

__all__ = ["link", "link_rows"]

_MISSED = 1  # sampled frames a face may be missing, e.g. turned away or covered, and still be the same track
_TOO_FAR = 1.0  # s between frames
_LEAST = 3  # frames of a scene with tracks of its own
_REACH = 1.0  # largest step from one sampled frame to the next, see `_step`


@dataclass
class _Track:
    number: int
    face: Face
    frame: int


def link(frames: Iterable[Sequence[Face]]) -> Iterator[list[int]]:
    """Give each face of each frame the number of its track: 0, 1, 2, ... in order of first appearance.

    A face continues the track whose last face is nearest. The step between two faces is the distance of their
    centres over their mean side, plus the change of size as |log2 of the ratio|; a step of more than 1 (2 across a
    missed frame) begins a new track. Nearest pairs are joined first. Faces that appear in the same frame are
    numbered from left to right, so the order within a frame does not matter.

    Made for frames sampled up to about half a second apart, where a head moves less than its own size. It looks at
    places alone: who leaves for two sampled frames comes back as a new track; cuts between scenes are `link_rows`' care.

    Streaming: one frame is taken for each that is given, and only the faces of the last frames are kept.
    """
    tracks: list[_Track] = []
    count = 0
    for frame, faces in enumerate(frames):
        tracks = [track for track in tracks if frame - track.frame <= 1 + _MISSED]
        steps = sorted(
            (step, faces[index].box, index, track.number)
            for track in tracks
            for index in range(len(faces))
            if (step := _step(track.face, faces[index]) / (frame - track.frame)) <= _REACH
        )
        found: dict[int, int] = {}
        for _, _, index, number in steps:
            if index not in found and number not in found.values():
                found[index] = number
        for index in sorted(set(range(len(faces))) - set(found), key=lambda index: faces[index].box):
            found[index] = count
            count += 1
        seen = [_Track(number, faces[index], frame) for index, number in found.items()]
        tracks = [track for track in tracks if track.number not in found.values()] + seen
        yield [found[index] for index in range(len(faces))]


def link_rows(
    frames: Sequence[int], times: Sequence[float], faces: Sequence[Face], scenes: Sequence[int]
) -> NDArray[np.int64]:
    """The tracks (N,) of the faces of one video, given in the order of their frames.

    A track ends with its scene; a scene of fewer than three frames goes with the one before, for so few faces say little
    by themselves. Frames without a face are not known here, so a face may have been away for longer than `link` says.
    Frames more than a second apart (a long film, few frames) cannot be linked by place: then the largest face of each
    frame of a scene makes its first track, the second largest its second, and so on. Where time steps back,
    another video stream of the file begins, and with it other tracks.
    """
    if not len(frames):
        return np.zeros(0, dtype=np.int64)
    stop = next((index for index in range(1, len(times)) if times[index] < times[index - 1]), None)
    if stop is not None:
        parts = slice(stop), slice(stop, None)
        shown, others = (link_rows(frames[part], times[part], faces[part], scenes[part]) for part in parts)
        return np.concatenate([shown, shown.max() + 1 + others])
    bounds = [index for index in range(len(frames)) if index == 0 or frames[index] != frames[index - 1]]
    shots = [list(faces[a:b]) for a, b in zip(bounds, [*bounds[1:], len(frames)], strict=True)]
    gaps = np.diff([times[index] for index in bounds])
    apart = len(gaps) > 0 and np.median(gaps) > _TOO_FAR
    numbers: list[int] = []
    for scene in _long_enough([scenes[index] for index in bounds]):
        mine = shots[scene]
        first = max(numbers, default=-1) + 1
        linked = [_by_size(shot) for shot in mine] if apart else link(mine)
        numbers += [first + number for shot in linked for number in shot]
    return np.array(numbers, dtype=np.int64)


def _long_enough(scenes: Sequence[int]) -> list[slice]:
    """The frames of each scene, in order, given the scene (F,) of each; short ones joined to the one before."""
    starts = [index for index in range(len(scenes)) if index == 0 or scenes[index] != scenes[index - 1]]
    ends = [*starts[1:], len(scenes)]
    kept = [start for start, end in zip(starts, ends, strict=True) if end - start >= _LEAST]
    bounds = [0, *kept[1:]] if kept else [0]
    return [slice(start, end) for start, end in zip(bounds, [*bounds[1:], len(scenes)], strict=True)]


def _by_size(faces: Sequence[Face]) -> list[int]:
    """0 for the largest face, 1 for the next, and so on."""
    order = sorted(range(len(faces)), key=lambda index: (-max(faces[index].box[2:]), faces[index].box))
    return [order.index(index) for index in range(len(faces))]


def _step(old: Face, new: Face) -> float:
    old_x, old_y, old_side = _place(old)
    new_x, new_y, new_side = _place(new)
    moved = math.hypot(new_x - old_x, new_y - old_y) / ((old_side + new_side) / 2)
    return moved + abs(math.log2(new_side / old_side))


def _place(face: Face) -> tuple[float, float, float]:
    """Centre and longer side, the latter at least a pixel."""
    left, top, width, height = face.box
    return left + width / 2, top + height / 2, max(width, height, 1.0)
