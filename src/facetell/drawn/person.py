"""Who is drawn (``Person``: what stays the same from photo to photo) and how (``Shot``: what differs).

Lengths are in the crop's half width: x and y run from -1 to 1. Colours are linear light, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facetell.pixels.drawing_tools import Array, octaves, spread

__all__ = ["Person", "Shot"]

# sRGB tones from very light to very dark skin; a person's tone lies between two neighbours.
_SKIN = np.array(
    [(244, 212, 192), (234, 190, 160), (217, 166, 128), (190, 135, 98), (152, 102, 72), (112, 74, 53), (84, 56, 43)]
)
_HAIR = np.array(
    [(26, 22, 21), (44, 32, 26), (74, 50, 36), (116, 78, 48), (176, 136, 88), (132, 62, 36), (168, 164, 160)]
)
_IRIS = np.array([(64, 42, 28), (88, 60, 36), (112, 92, 52), (84, 104, 76), (86, 116, 144), (110, 122, 130)])
_TEXTURE = 256


def _linear(colour: Array | np.ndarray) -> Array:
    """Return sRGB 0 to 255 as linear light, with the square as the tone curve (undone by the camera's root)."""
    return np.asarray((np.asarray(colour) / 255.0) ** 2, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One identity: shape, colours and skin."""

    head: tuple[float, ...]  # half width, half height, exponent of the outline, narrowing of the jaw
    eyes: tuple[float, ...]  # distance from the middle, height, half width, slant
    brows: tuple[float, ...]  # height above the eyes, thickness, arch, slant
    nose: tuple[float, ...]  # width, y of the tip, how far it stands out
    mouth: tuple[float, ...]  # y, half width, upper and lower lip
    hair: tuple[float, float, float, float]  # y of the hairline, volume, length (y of the ends), parting
    beard: float
    glasses: float  # opacity of the rims; 0: none
    folds: float  # depth of the lines from nose to mouth
    blush: float
    skin: Array
    hair_colour: Array
    iris: Array
    clothes: Array
    texture: Array  # (256, 256) skin, unit variance
    strands: Array  # (256, 256) hair, unit variance

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Person:
        """Draw a person."""
        tone = spread(rng, 0, len(_SKIN) - 1.001)
        skin = _linear(_SKIN[int(tone)] * (1 - tone % 1) + _SKIN[int(tone) + 1] * (tone % 1) + rng.normal(0, 2.5, 3))
        dark = tone > 3.5
        hair = _linear(np.clip(_HAIR[rng.integers(0, 2 if dark else len(_HAIR))] * spread(rng, 0.8, 1.2), 0, 255))
        iris = _linear(_IRIS[rng.integers(0, 2 if dark else len(_IRIS))] * spread(rng, 0.8, 1.2))
        bald, long = rng.random() < 0.07, rng.random() < 0.45
        bearded = not long and rng.random() < 0.45
        return cls(
            head=_each(rng, (0.54, 0.64), (0.75, 0.86), (2.0, 2.5), (0.05, 0.24)),
            eyes=_each(rng, (0.235, 0.29), (-0.14, -0.05), (0.1, 0.135), (-0.16, 0.06)),
            brows=_each(rng, (0.13, 0.19), (0.018, 0.042), (0.0, 0.06), (-0.03, 0.03)),
            nose=_each(rng, (0.09, 0.15), (0.17, 0.26), (0.6, 1.3)),
            mouth=_each(rng, (0.42, 0.5), (0.17, 0.25), (0.02, 0.055), (0.035, 0.075)),
            hair=(
                -2.0 if bald else spread(rng, -0.62, -0.36),
                spread(rng, 0.04, 0.2),
                spread(rng, 0.5, 1.6) if long else spread(rng, -0.2, 0.0),
                spread(rng, -0.35, 0.35),
            ),
            beard=spread(rng, 0.15, 0.85) if bearded else 0.0,
            glasses=spread(rng, 0.5, 0.95) if rng.random() < 0.15 else 0.0,
            folds=spread(rng, 0.0, 0.3),
            blush=spread(rng, 0.0, 0.25),
            skin=skin,
            hair_colour=hair,
            iris=iris,
            clothes=_linear(rng.uniform(20, 220, 3)),
            texture=_unit(octaves(rng, _TEXTURE, (5, 14, 40, 96), 0.8)),
            strands=_unit(octaves(rng, _TEXTURE, (12, 40, 128), 0.85)),
        )

    def dressed_as(self, other: Person) -> Person:
        """Return this person with the skin tone, hair, beard and glasses of ``other``."""
        taken = ("hair", "hair_colour", "beard", "glasses", "skin")
        return replace(self, **{name: getattr(other, name) for name in taken})


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One photo: pose, expression, light, focus and what stands behind."""

    roll: float  # radians
    yaw: float  # how far the middle of the face moves aside
    pitch: float
    zoom: float
    shift: tuple[float, float]
    smile: float
    lips_apart: float
    lids: float  # how far the eyes are open
    gaze: tuple[float, float]
    light: tuple[float, float, float]  # unit vector towards the light: right, down, to the viewer
    light_colour: Array
    ambient: float
    exposure: float
    gloss: float
    focus: float  # blur in thousandths of the picture's width
    background: Array  # (3, 7, 7) linear light

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Shot:
        """Draw the circumstances of one photo."""
        azimuth, height = spread(rng, -1.2, 1.2), spread(rng, -0.2, 1.0)
        warm = spread(rng, -0.08, 0.1)
        backdrop = spread(rng, 0.02, 0.7) * np.exp(
            rng.normal(0, 0.16, (3, 1, 1)) + rng.normal(0, spread(rng, 0.1, 0.6), (1, 7, 7))
        )
        return cls(
            roll=float(rng.normal(0, 0.06)),
            yaw=float(rng.normal(0, 0.07)),
            pitch=float(rng.normal(0, 0.04)),
            zoom=spread(rng, 1.0, 1.22),
            shift=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
            smile=spread(rng, -0.02, 0.09),
            lips_apart=spread(rng, 0.02, 0.08) if rng.random() < 0.35 else 0.0,
            lids=spread(rng, 0.65, 1.1),
            gaze=(float(rng.normal(0, 0.018)), float(rng.normal(0, 0.008))),
            light=(
                float(np.sin(azimuth) * np.cos(height)),
                float(-np.sin(height)),
                float(np.cos(azimuth) * np.cos(height)),
            ),
            light_colour=np.array([1 + warm, 1, 1 - warm], dtype=np.float32),
            ambient=spread(rng, 0.25, 0.6),
            exposure=float(np.exp(rng.normal(0, 0.2))),
            gloss=spread(rng, 0.0, 0.25),
            focus=spread(rng, 3.0, 7.0),
            background=np.clip(backdrop * np.exp(rng.normal(0, 0.08, (3, 7, 7))), 0.004, 1).astype(np.float32),
        )

    def expression_in(self, other: Shot) -> Shot:
        """Return ``other`` with the expression of this shot."""
        return replace(other, smile=self.smile, lips_apart=self.lips_apart, lids=self.lids, gaze=self.gaze)


def _each(rng: np.random.Generator, *ranges: tuple[float, float]) -> tuple[float, ...]:
    """One number drawn evenly from each range."""
    return tuple(spread(rng, low, high) for low, high in ranges)


def _unit(field: Array) -> Array:
    """Return ``field`` shifted and scaled to mean 0 and variance 1."""
    return (field - field.mean()) / field.std()
