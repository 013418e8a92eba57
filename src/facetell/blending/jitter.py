"""What happens to one picture as a whole: where it is cut, its colours, how sharp it is.

Each picture is resampled once from the stored crop, whatever is done to it: a copy that was resampled more often would
be softer, and softness would be a label.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = [
    "Colour",
    "Pixels",
    "View",
    "bearable",
    "draw_colour",
    "draw_move",
    "draw_view",
    "frequency",
    "recoloured",
    "sampled",
]

Pixels = NDArray[np.uint8]

ZOOM = 1.1
"""Largest zoom of a view: a picture is never looked at beyond its edge."""
MOVE = (0.03, 0.015)
"""Largest shift of a source across and down, shares of the side (the paper's)."""
RESIZE = 1.05
"""Largest zoom of a source in or out (the paper's, 1 / 0.95)."""
SHRINK = (1.25, 3.0)
"""By how much a copy is shrunk and enlarged again."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of luma, ITU-R BT.601."""


@dataclass(frozen=True)
class View:
    """An affine map from a picture of ``size`` (width, height) to the stored crop, both in pixels.

    x' = ``x_scale`` · x + ``x_shift``, and y' likewise; ``x_scale`` is negative where the picture is mirrored.
    """

    size: tuple[int, int]
    x_scale: float
    x_shift: float
    y_scale: float
    y_shift: float

    def seen(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where ``points`` (N, 2) of the stored crop lie in the picture."""
        shift, scale = (self.x_shift, self.y_shift), (self.x_scale, self.y_scale)
        return (points - np.array(shift)) / np.array(scale)


@dataclass(frozen=True)
class Move:
    """A zoom about the middle and a shift (across, down), shares of the side, of what is seen in a picture."""

    zoom: float
    across: float
    down: float

    def applied(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Where ``points`` (N, 2) of a picture of ``size`` go."""
        side = np.array(size, np.float64)
        return (points - side / 2) * self.zoom + side / 2 + side * [self.across, self.down]


def draw_view(rng: np.random.Generator, size: tuple[int, int]) -> View:
    """A part of a crop of ``size`` (width, height), enlarged to that size, mirrored half of the time."""
    zoom, left, top = rng.uniform(1, ZOOM), *rng.random(2)
    width, height = size
    x_scale, x_shift = 1 / zoom, left * width * (1 - 1 / zoom)
    if rng.random() < 0.5:
        x_scale, x_shift = -x_scale, x_shift + width / zoom
    return View(size, x_scale, x_shift, 1 / zoom, top * height * (1 - 1 / zoom))


def draw_move(rng: np.random.Generator) -> Move:
    """How the source of a blend lies off the target."""
    across, down = (float(rng.uniform(-most, most)) for most in MOVE)
    return Move(float(RESIZE ** rng.uniform(-1, 1)), across, down)


def sampled(pixels: Pixels, view: View, move: Move | None = None) -> Pixels:
    """A view of a stored crop (H, W, 3), moved or not, bicubic; what lies beyond the crop is black."""
    width, height = view.size
    x_scale, x_shift, y_scale, y_shift = view.x_scale, view.x_shift, view.y_scale, view.y_shift
    if move is not None:
        # Back from the moved picture: x = (x' - w/2 - w·across) / zoom + w/2, and then on into the crop.
        x_shift += x_scale * width * (0.5 - (0.5 + move.across) / move.zoom)
        y_shift += y_scale * height * (0.5 - (0.5 + move.down) / move.zoom)
        x_scale, y_scale = x_scale / move.zoom, y_scale / move.zoom
    data = (x_scale, 0.0, x_shift, 0.0, y_scale, y_shift)
    image = Image.fromarray(pixels).transform(
        view.size, Image.Transform.AFFINE, data, resample=Image.Resampling.BICUBIC
    )
    return np.asarray(image)


@dataclass(frozen=True)
class Colour:
    """Colours as ``matrix`` (3, 3) · (r, g, b) + ``shift`` (3,), in grey levels of 255."""

    matrix: NDArray[np.float32]
    shift: NDArray[np.float32]


def draw_colour(rng: np.random.Generator, *, light: float, p: float) -> Colour:
    """RGB shift, hue, saturation and value, brightness and contrast: the three are done with probability 0.3, ``p``, ``p``.

    ``light`` is the largest relative change of contrast, and of brightness as a share of white. Hue turns colours about
    the grey axis by up to 8°; saturation changes by up to 20%, value by up to 10%.
    """
    dice, shifts, turns, lights = rng.random(3), rng.uniform(-20, 20, 3), rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 2)
    matrix, shift = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    if dice[0] < 0.3:
        shift = shifts.astype(np.float32)
    if dice[1] < p:
        saturation, value = 1 + 0.2 * turns[1], 1 + 0.1 * turns[2]
        grey = np.tile(GREY, (3, 1))
        chroma = _turn(math.radians(8) * turns[0]) @ (np.eye(3, dtype=np.float32) - grey)
        hsv = (value * (grey + saturation * chroma)).astype(np.float32)
        matrix, shift = hsv @ matrix, hsv @ shift
    if dice[2] < p:
        contrast = np.float32(1 + light * lights[0])
        matrix, shift = contrast * matrix, contrast * shift + np.float32(255 * light * lights[1])
    return Colour(matrix, shift)


def bearable(colour: Colour, pixels: Pixels) -> Colour:
    """``colour``, or none at all where it would clip most of what can be seen in ``pixels``: a dark face to black."""
    if recoloured(pixels, colour).std() >= 0.5 * pixels.std():
        return colour
    return Colour(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


def _turn(angle: float) -> NDArray[np.float32]:
    """The rotation about (1, 1, 1) by ``angle`` (Rodrigues)."""
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn: NDArray[np.float64] = np.eye(3) + math.sin(angle) * axis + (1 - math.cos(angle)) * (axis @ axis)
    return turn.astype(np.float32)


def recoloured(pixels: NDArray[np.float32] | Pixels, colour: Colour) -> Pixels:
    """(H, W, 3) in other colours, rounded and clipped to uint8."""
    flat = pixels.reshape(-1, 3).astype(np.float32, copy=False) @ colour.matrix.T
    flat += colour.shift
    return np.rint(flat, out=flat).clip(0, 255).astype(np.uint8).reshape(pixels.shape)


def frequency(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Softer (shrunk and enlarged again) or sharper, either half of the time."""
    softer, amount, radius, percent = rng.random() < 0.5, rng.random(), rng.uniform(0.6, 1.5), rng.uniform(40, 120)
    image = Image.fromarray(pixels)
    if not softer:
        return np.asarray(image.filter(ImageFilter.UnsharpMask(radius, round(percent), 0)))
    factor = SHRINK[0] * (SHRINK[1] / SHRINK[0]) ** amount
    small = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
    return np.asarray(image.resize(small, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC))
