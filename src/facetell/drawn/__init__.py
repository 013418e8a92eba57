"""Drawn faces: procedural stand-ins for photos, and two kinds of forgery made from them. They show nobody."""

from __future__ import annotations

from facetell.drawn.camera import camera
from facetell.drawn.face import draw_face
from facetell.drawn.folder import KINDS, PHOTOS_PER_PERSON, SPLIT_SHARES, write_drawn_faces
from facetell.drawn.forgery import blended, upsampled
from facetell.drawn.person import Person, Shot

__all__ = [
    "KINDS",
    "PHOTOS_PER_PERSON",
    "SPLIT_SHARES",
    "Person",
    "Shot",
    "blended",
    "camera",
    "draw_face",
    "upsampled",
    "write_drawn_faces",
]
