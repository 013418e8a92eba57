"""Colours that a file names by numbers (ITU-T H.273, gamma and chromaticities of PNG) as the sRGB that a viewer shows.

Pixels become linear light, are turned from one set of primaries to the other, and are coded again. High dynamic range
(PQ, HLG) is light in cd/m²: BT.2100 says how much. White is the brightest pixel of a frame between the 100 cd/m² of SDR
(BT.1886) and the 203 of HDR (BT.2408), and what is brighter is rolled off as BT.2390 does it, section 5.4, as players do
that look at each frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BT709", "Coding", "adobe_rgb", "coding", "matrix_to_xyz", "to_srgb"]

Chromaticities = tuple[float, ...]
"""x, y of red, green, blue and white."""

_D65 = (0.3127, 0.3290)
BT709: Chromaticities = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
_ADOBE: Chromaticities = (0.640, 0.330, 0.210, 0.710, 0.150, 0.060, *_D65)
_PRIMARIES: dict[int, Chromaticities] = {  # H.273, table 2; those of SD video (4 to 7) are shown as BT.709 by players
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_SRGB, _PQ, _HLG, _VIDEO = 13, 16, 18, 1
_BT1886 = 2.4
_SDR, _WHITE, _PEAK = (
    100.0,
    203.0,
    1000.0,
)  # cd/m²: white of SDR and of HDR (BT.2408); the display that HLG is defined for
_STRIP = 2**20  # pixels at a time: floats take eight times the memory of the pixels


@dataclass(frozen=True)
class Coding:
    """Chromaticities, and how light is coded: a number of H.273's table 3, or a ``gamma`` where that is not 0."""

    primaries: Chromaticities
    transfer: int = _SRGB
    gamma: float = 0.0

    @property
    def hdr(self) -> bool:
        """Whether this is high dynamic range."""
        return self.transfer in (_PQ, _HLG) and not self.gamma


def adobe_rgb() -> Coding:
    """Adobe RGB (1998)."""
    return Coding(_ADOBE, gamma=563 / 256)


def coding(primaries: int, transfer: int, *, video: bool = False) -> Coding | None:
    """What two numbers of H.273 stand for; None where pixels are shown as they are.

    ``video``: light of SDR is coded for BT.1886, as video is; pictures take the same numbers for sRGB.
    """
    hdr = transfer in (_PQ, _HLG)
    chosen = _PRIMARIES.get(9 if hdr and primaries == 2 else primaries, BT709)  # 2: unspecified; HDR comes in BT.2020
    if hdr:
        return Coding(chosen, transfer)
    if transfer in _GAMMAS and not video:
        return Coding(chosen, gamma=_GAMMAS[transfer])
    if chosen == BT709:
        return None
    return Coding(chosen, _VIDEO if video else _SRGB)


def to_srgb(pixels: NDArray[Any], coding: Coding) -> NDArray[np.uint8]:
    """Pixels (H, W, 3), uint8 or uint16, in ``coding`` as uint8 (H, W, 3) sRGB."""
    light = _light_of(coding, pixels.dtype.itemsize)
    matrix = _to_bt709(coding.primaries).T.astype(np.float32)
    codes = _codes(coding.transfer if coding.transfer == _SRGB else _VIDEO)
    strips = np.array_split(pixels, max(1, pixels.shape[0] * pixels.shape[1] // _STRIP))
    peak = max(float(_shown(strip, light, coding).max(initial=0)) for strip in strips) if coding.hdr else 0.0
    out = np.empty(pixels.shape, dtype=np.uint8)
    at = 0
    for strip in strips:
        shown = _shown(strip, light, coding)
        if coding.hdr:
            white = min(max(peak, 1.0), _WHITE / _SDR)
            shown = _rolled_off(shown / np.float32(white), peak / white)
        shown = shown @ matrix
        out[at : at + len(strip)] = codes[np.rint(np.sqrt(shown.clip(0, 1)) * (len(codes) - 1)).astype(np.int32)]
        at += len(strip)
    return out


def _shown(pixels: NDArray[Any], light: NDArray[np.float32], coding: Coding) -> NDArray[np.float32]:
    """Linear light in the file's own primaries, 1 = SDR's white."""
    linear = light[pixels]
    if coding.transfer == _HLG:  # BT.2100: what a display makes of the scene's light, gamma 1.2
        luminance = linear @ np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
        linear *= (_PEAK / _SDR) * luminance[..., None] ** np.float32(0.2)
    return linear


@cache
def _light_of(coding: Coding, size: int) -> NDArray[np.float32]:
    """Linear light of each code of ``size`` bytes; SDR's white is 1, and in HLG the brightest light of the scene."""
    v = np.linspace(0, 1, 256**size)
    if coding.gamma:
        light = v**coding.gamma
    elif coding.transfer == _PQ:
        light = _pq_to_light(v) / _SDR
    elif coding.transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    elif coding.transfer == _VIDEO:
        light = v**_BT1886
    else:
        light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@cache
def _codes(transfer: int) -> NDArray[np.uint8]:
    """The 8-bit code of linear light (i / 65535)², i = 0 … 65535: steps are finest where codes are."""
    light = np.linspace(0, 1, 2**16) ** 2
    if transfer == _VIDEO:
        v = light ** (1 / _BT1886)
    else:
        v = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * v).astype(np.uint8)


def _pq_to_light(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m²; SMPTE ST 2084."""
    power = v ** (32 / 2523)
    return 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (8192 / 1305)


def _light_to_pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    power = (light / 10_000) ** (1305 / 8192)
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32)


def _rolled_off(light: NDArray[np.float32], peak: float) -> NDArray[np.float32]:
    """Light up to ``peak`` brought down to 1, with the hue kept; as it is where nothing is brighter than 1."""
    if peak <= 1:
        return light
    top_signal = float(_light_to_pq(np.array(peak * _SDR)))
    grid = np.linspace(0, 1, 2**14) ** 2 * peak
    e = _light_to_pq(grid * _SDR) / top_signal
    top = float(_light_to_pq(np.array(_SDR))) / top_signal
    knee = 1.5 * top - 0.5
    t = (e - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * top
    to = _pq_to_light(np.where(e < knee, e, spline) * top_signal) / _SDR
    factors = np.divide(to, grid, out=np.ones_like(grid), where=grid > 0).astype(np.float32)
    places = np.sqrt(light.max(axis=-1) / np.float32(peak)) * np.float32(len(grid) - 1)
    return light * factors[np.rint(places).astype(np.int32)][..., None]


def matrix_to_xyz(primaries: Chromaticities) -> NDArray[np.float64]:
    """Linear RGB to CIE XYZ (3, 3), its white having Y = 1. Raises ``numpy.linalg.LinAlgError`` if there is none."""
    x, y = np.array(primaries, dtype=np.float64).reshape(4, 2).T
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])


@cache
def _to_bt709(primaries: Chromaticities) -> NDArray[np.float64]:
    """Linear RGB to linear BT.709, white to white by Bradford's adaptation."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    source, target = matrix_to_xyz(primaries), matrix_to_xyz(BT709)
    cones = (bradford @ target.sum(axis=1)) / (bradford @ source.sum(axis=1))
    return np.linalg.inv(target) @ np.linalg.inv(bradford) @ np.diag(cones) @ bradford @ source
