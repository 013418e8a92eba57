"""Draws one face: a head with hair, eyes, brows, nose and mouth, shaded by a light, before a background.

Everything is a function of the pixel's place on the head, so no picture is loaded and every edge is soft at any size.
Work is done in planes (3, S, S) of linear light; the result is what a display shows (the square root of it).
"""

from __future__ import annotations

import copy
import math

import numpy as np

from facetell.drawn.person import Person, Shot
from facetell.pixels.drawing_tools import Array, blur, bump, cover, lookup, resize

__all__ = ["draw_face"]

_SCLERA = np.array([0.5, 0.46, 0.44], dtype=np.float32)
_TEETH = np.array([0.6, 0.56, 0.5], dtype=np.float32)


def draw_face(
    rng: np.random.Generator, size: int = 96, *, person: Person | None = None, shot: Shot | None = None
) -> Array:
    """Draw a face.

    Args:
        rng: where the person and the shot come from when they are not given, and grain of hair and wall.
        size: height and width in pixels.
        person: who; default: somebody new.
        shot: pose, expression, light; default: a new one.

    Returns:
        (size, size, 3) float32, RGB as displayed, 0 to 1, without sensor noise.
    """
    person = Person.draw(rng) if person is None else person
    shot = Shot.draw(rng) if shot is None else shot
    painting = _Painting(rng, size, person, shot)
    planes = painting.paint()
    return np.ascontiguousarray(planes.transpose(1, 2, 0), dtype=np.float32)


class _Painting:
    """One face being drawn, layer over layer."""

    def __init__(self, rng: np.random.Generator, size: int, person: Person, shot: Shot) -> None:
        self.rng, self.size, self.person, self.shot = rng, size, person, shot
        self.pixel = 2.0 / size / shot.zoom
        line = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1) / np.float32(shot.zoom)
        x, y = line[None, :] - shot.shift[0], line[:, None] - shot.shift[1]
        cosine, sine = np.float32(np.cos(shot.roll)), np.float32(np.sin(shot.roll))
        self.u, self.v = x * cosine + y * sine, y * cosine - x * sine
        half_width, half_height, power, jaw = person.head
        narrow = half_width * (1 - jaw * np.clip(self.v / half_height, 0, 1) ** 2)
        radius = (np.abs(self.u) / narrow) ** power + np.abs(self.v / half_height) ** power
        self.radius = radius ** np.float32(1 / power)
        # The features lie on a dome: a turn of the head moves its middle most and its outline not at all.
        self.dome = np.sqrt(np.clip(1 - np.float32(0.93) * self.radius**2, 0.05, 1))
        self.fu, self.fv = self.u - shot.yaw * self.dome, self.v - shot.pitch * self.dome
        self.side = np.abs(self.fu)
        self.canvas = resize(shot.background, size)

    def band(self, top: float, bottom: float) -> _Painting:
        """Return the rows that ``top`` to ``bottom`` of the level face can reach, as a view: painting it is faster."""
        reach = abs(self.shot.pitch) + abs(self.shot.roll)
        inside = np.flatnonzero(
            (self.v[:, self.size // 2] > top - reach) & (self.v[:, self.size // 2] < bottom + reach)
        )
        rows = slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 1)
        view = copy.copy(self)
        for name in ("u", "v", "radius", "dome", "fu", "fv", "side"):
            setattr(view, name, getattr(self, name)[rows])
        view.canvas = self.canvas[:, rows]
        return view

    def lay(self, mask: Array, colour: Array) -> None:
        """Put ``colour`` (3,) or (3, S, S) over the canvas where ``mask`` (S, S) covers it."""
        paint = colour[:, None, None] if colour.ndim == 1 else colour
        self.canvas += mask * (paint - self.canvas)

    def tint(self, mask: Array, factor: tuple[float, float, float]) -> None:
        """Multiply the canvas by ``factor`` where ``mask`` is 1."""
        for plane, gain in zip(self.canvas, factor, strict=True):
            plane *= 1 + mask * np.float32(gain - 1)

    def paint(self) -> Array:
        """Paint all layers from back to front and return (3, S, S) as displayed."""
        person, shot = self.person, self.shot
        self.canvas *= 1 + 0.04 * self.rng.standard_normal((self.size, self.size), dtype=np.float32)
        self.body()
        head = cover((1 - self.radius) * person.head[0], self.pixel * 1.3)
        hair = self.hair_behind()
        skin = head * np.maximum(cover(self.fv - self.hairline(), 0.07), 1 - hair)
        self.lay(skin, person.skin)
        self.skin_detail(skin)
        self.band(-0.45, 0.2).eyes_and_brows()
        self.band(0.1, 0.72).nose_and_mouth()
        shade, gloss = self.light(np.maximum(head, hair))
        self.canvas *= shade * np.float32(shot.exposure)
        self.canvas += gloss * skin
        self.canvas *= shot.light_colour[:, None, None]
        self.band(-0.4, 0.2).glasses()
        sharp = blur(np.clip(self.canvas, 0, 1), shot.focus / 1000 * self.size)
        return np.sqrt(np.clip(sharp, 0, 1))

    def body(self) -> None:
        """Paint shoulders and neck, with the shadow of the chin."""
        person = self.person
        half_width, half_height = person.head[:2]
        shoulders = cover(self.v - half_height - 0.12 - 0.25 * self.u**2, self.pixel * 2)
        folds = 1 + 0.12 * lookup(person.strands, self.v * 6 + 9, self.u * 14 + 40)
        self.lay(shoulders, person.clothes[:, None, None] * folds)
        neck = cover(half_width * 0.62 - np.abs(self.u), self.pixel * 2) * cover(self.v - 0.3, 0.1)
        neck *= 1 - cover(self.v - half_height - 0.14 + 0.5 * self.u**2, self.pixel * 2)
        self.lay(neck, person.skin * np.float32(0.55))

    def hairline(self) -> Array:
        """Return the y of the hairline over each column: high at the parting, down at the temples."""
        top, _, _, parting = self.person.hair
        across = self.u / self.person.head[0]
        wave = 0.04 * lookup(self.person.strands, np.full_like(self.u, 3.0), across * 28 + 30)
        return top + 0.1 * np.abs(across - parting) + 0.5 * np.abs(across) ** 5 + wave

    def hair_behind(self) -> Array:
        """Paint hair, and ears where it is short; return where the hair is, 0 to 1."""
        person = self.person
        half_width, half_height = person.head[:2]
        top, volume, ends, parting = person.hair
        ear = (np.abs(self.u) - half_width * 1.0) / 0.075, (self.v - 0.02) / 0.16
        self.lay(
            cover(1 - np.hypot(*ear), 0.25) * float(ends < 0.3), person.skin * np.array([0.8, 0.7, 0.68], np.float32)
        )
        if top < -1:
            return np.zeros_like(self.radius)
        wide, high = half_width + volume * 0.7, half_height + volume * 0.6
        below = np.where(self.v > -0.1, np.float32(0.0), (self.v + 0.1) / (high - 0.1))
        outer = np.sqrt((self.u / wide) ** 2 + below**2)
        ragged = 0.022 * lookup(person.strands, self.u * 28 + 20, self.v * 28 + 50)
        mask = cover((1 - outer) * wide + ragged * 0.6, self.pixel * 2.5) * cover(ends - self.v + ragged * 3, 0.16)
        along = np.hypot(self.u - parting * 0.5, self.v + 0.75)
        around = np.arctan2(self.u - parting * 0.5, self.v + 1.05)
        strand = lookup(person.strands, along * 6 + 7, around * 34 + 64)
        shine = 0.5 * bump(self.v + 0.45 + 0.3 * self.u**2, self.u - 0.5 * self.shot.light[0], 0.16, 0.5)
        self.lay(mask, person.hair_colour[:, None, None] * np.clip(0.95 + 0.42 * strand + shine, 0.25, 2.5))
        return mask

    def skin_detail(self, skin: Array) -> None:
        """Colour the skin: mottling, pores, blush, beard, lines, the shadow under the hair."""
        person = self.person
        mottle = lookup(person.texture, (self.fv + 1.5) * 42, (self.fu + 1.5) * 42)
        self.canvas *= 1 + skin * (0.055 * mottle)
        cheeks = bump(self.side - 0.3, self.fv - 0.2, 0.17, 0.14) + 0.7 * bump(self.fu, self.fv - 0.2, 0.1, 0.1)
        self.tint(cheeks * skin * person.blush, (1.0, 0.55, 0.55))
        if person.beard > 0:
            lower = cover(self.fv - 0.3 + 0.35 * np.exp(-((self.side - 0.58) ** 2) / 0.02), 0.16)
            lip = 1 - 0.9 * bump(self.fu, self.fv - person.mouth[0], 0.2, 0.07)
            grain = np.clip(0.75 + 0.3 * lookup(person.strands, self.fv * 40 + 60, self.fu * 50 + 60), 0, 1)
            self.lay(lower * lip * skin * grain * person.beard, person.hair_colour)
        fold = self.side - (person.nose[0] + 0.04 + 0.35 * np.clip(self.fv - person.nose[1] + 0.02, 0, 1))
        depth = person.folds + 0.8 * max(self.shot.smile, 0)
        line = np.exp(-((fold / 0.022) ** 2)) * cover(self.fv - person.nose[1], 0.08) * cover(0.48 - self.fv, 0.1)
        self.tint(line * skin * depth, (0.55, 0.5, 0.5))
        self.tint(
            skin * np.exp(-(((self.fv - self.hairline()) / 0.09) ** 2)) * float(person.hair[0] > -1), (0.6, 0.55, 0.55)
        )

    def eyes_and_brows(self) -> None:
        """Paint both eyes and brows at once: the face is mirrored, the gaze is not."""
        person, shot = self.person, self.shot
        apart, height, half, slant = person.eyes
        sign = np.sign(self.fu)
        across, down = self.side - apart, self.fv - height
        socket = bump(across, down + 0.03, half * 1.5, 0.1)
        self.tint(socket, (0.8, 0.72, 0.7))
        down = down - slant * across
        bow = np.clip(1 - (across / half) ** 2, 0, 1)
        upper, lower = 0.055 * shot.lids * bow, 0.035 * bow
        opening = cover(np.minimum(down + upper, lower - down), self.pixel) * (bow > 0)
        self.lay(opening, _SCLERA)
        centre = np.hypot(across - shot.gaze[0] * sign, down + 0.006 - shot.gaze[1])
        self.lay(opening * cover(0.055 - centre, self.pixel), person.iris)
        self.lay(opening * cover(0.024 - centre, self.pixel), np.full(3, 0.008, dtype=np.float32))
        glint = bump(across * sign - math.copysign(0.02, shot.light[0]), down + 0.025, 0.014, 0.014)
        self.lay(opening * glint, np.full(3, 0.95, dtype=np.float32))
        inside = (np.abs(across) < half * 1.08).astype(np.float32)
        lash = np.exp(-(((down + upper) / 0.017) ** 2)) * inside
        self.lay(lash * 0.85, np.full(3, 0.02, dtype=np.float32))
        self.tint(np.exp(-(((down + upper + 0.035) / 0.016) ** 2)) * inside * 0.5, (0.6, 0.5, 0.5))
        self.tint(np.exp(-(((down - lower - 0.02) / 0.025) ** 2)) * inside * 0.35, (0.7, 0.6, 0.62))
        rise, thick, arch, tilt = person.brows
        along = (self.side - apart - 0.01) / (half * 1.45)
        line = self.fv - height + rise + 0.02 * (shot.lids - 0.9) - tilt * along + arch * (1 - along**2)
        taper = np.clip(1.1 - 0.35 * along, 0.5, 1.6) * thick
        hairs = np.clip(0.85 + 0.3 * lookup(person.strands, along * 12 + 50, self.fv * 30 + 50 - along * 9), 0, 1)
        self.lay(np.exp(-((line / taper) ** 2) - along**6) * hairs * 0.9, person.hair_colour * np.float32(0.7))

    def nose_and_mouth(self) -> None:
        """Paint nostrils, the shadow of the nose, lips and, in an open mouth, teeth."""
        person, shot = self.person, self.shot
        width, tip, _ = person.nose
        self.tint(bump(self.side - width * 0.62, self.fv - tip - 0.055, width * 0.32, 0.022), (0.22, 0.16, 0.16))
        self.tint(bump(self.fu, self.fv - tip - 0.085, width * 1.1, 0.03) * 0.5, (0.55, 0.48, 0.48))
        height, half, top, bottom = person.mouth
        across = self.fu / (half * (1 + 1.2 * shot.smile))
        bow = np.clip(1 - across**2, 0, 1)
        down = self.fv - height + shot.smile * across**2 * 0.8
        gap = shot.lips_apart * bow
        lips = cover(
            np.minimum(
                down + top * bow * (1 - 0.25 * bump(across, across, 0.2, 0.2)) + gap / 2,
                (bottom * bow + gap / 2) - down,
            ),
            self.pixel * 2,
        )
        red = person.skin * np.array([0.78, 0.42, 0.45], dtype=np.float32)
        crease = 1 + 0.1 * lookup(person.strands, self.fu * 60 + 60, self.fv * 5 + 9)
        lips = lips * (bow > 0)
        self.lay(lips * 0.85, red[:, None, None] * (crease * (0.85 + 0.3 * (down > 0))))
        if shot.lips_apart > 0:
            opening = cover(gap / 2 - np.abs(down), self.pixel) * (bow > 0)
            self.lay(opening, np.full(3, 0.02, dtype=np.float32))
            teeth = (
                cover(gap / 2 - np.abs(down) - 0.004, self.pixel)
                * cover(0.012 - down, 0.02)
                * cover(0.7 - np.abs(across), 0.2)
            )
            self.lay(teeth, _TEETH)
        seam = np.exp(-((down / 0.012) ** 2)) * (np.abs(across) < 1.06)
        self.tint(seam * float(shot.lips_apart == 0), (0.28, 0.2, 0.2))
        self.tint(bump(self.fu, self.fv - height - bottom - 0.045, half * 0.6, 0.03) * 0.45, (0.65, 0.58, 0.58))

    def light(self, solid: Array) -> tuple[Array, Array]:
        """Return shading (a factor) and gloss (added) of a relief of the head under the shot's light.

        The background is not part of the relief; ``solid`` says where head and hair are.
        """
        person, shot = self.person, self.shot
        width, tip, stand = person.nose
        apart, eye = person.eyes[:2]
        ridge = (
            np.exp(-((self.fu / (width * 0.55)) ** 2))
            * cover(self.fv - eye + 0.02, 0.25)
            * cover(tip + 0.03 - self.fv, 0.09)
        )
        relief = (
            0.62 * self.dome + 0.05 * stand * ridge + 0.05 * stand * bump(self.fu, self.fv - tip, width * 0.6, 0.07)
        )
        relief += 0.03 * stand * bump(self.side - width * 0.75, self.fv - tip - 0.01, width * 0.38, 0.055)
        relief -= 0.05 * bump(self.side - apart + 0.02, self.fv - eye, 0.15, 0.085)
        relief += 0.035 * bump(self.side - 0.3, self.fv - 0.16, 0.16, 0.14)
        relief += 0.04 * bump(self.fu, self.fv - 0.68, 0.14, 0.1)
        relief += 0.022 * bump(self.fu, self.fv - person.mouth[0], person.mouth[1], 0.06)
        relief += 0.0016 * lookup(person.texture, (self.fv + 1.5) * 70, (self.fu + 1.5) * 70)
        down, right = np.gradient(relief, np.float32(self.pixel))
        right, down = np.clip(right, -2, 2), np.clip(down, -2, 2)
        length = np.sqrt(1 + right**2 + down**2)
        facing = np.clip((shot.light[2] - right * shot.light[0] - down * shot.light[1]) / length, 0, None)
        # Metered on the middle of the face: whatever the side the light comes from, the photo is not dark.
        lit = shot.ambient + (1 - shot.ambient) * facing / max(shot.light[2], 0.35)
        edge = 1 - 0.3 * np.clip(self.radius - 0.75, 0, 0.25) * 4 * solid
        half = np.array([shot.light[0], shot.light[1], shot.light[2] + 1.0], dtype=np.float32)
        half /= np.linalg.norm(half)
        mirror = np.clip((half[2] - right * half[0] - down * half[1]) / length, 0, None)
        gloss = np.float32(shot.gloss * 0.6) * np.exp(-18 * (1 - mirror))
        return 1 + solid * (np.clip(lit, 0, 1.9) * edge - 1), gloss.astype(np.float32)

    def glasses(self) -> None:
        """Paint the rims of glasses."""
        person = self.person
        if person.glasses == 0:
            return
        apart, height = person.eyes[:2]
        ring = (np.abs((self.side - apart) / 0.19) ** 3 + np.abs((self.fv - height - 0.02) / 0.15) ** 3) ** (1 / 3)
        rim = np.exp(-(((ring - 1) / 0.09) ** 2))
        bridge = bump(self.fu, self.fv - height + 0.02, 0.07, 0.015)
        temple = (
            cover(self.side - apart - 0.19, 0.02)
            * np.exp(-(((self.fv - height + 0.03) / 0.016) ** 2))
            * cover(self.person.head[0] - self.side, 0.02)
        )
        self.lay(np.clip(rim + bridge + temple, 0, 1) * person.glasses, person.hair_colour * np.float32(0.4))
