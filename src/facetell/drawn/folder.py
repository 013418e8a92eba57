"""Writes a folder of drawn photos and forgeries with its index: the stand-in for real data that needs no download."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from facetell.drawn.camera import camera
from facetell.drawn.face import draw_face
from facetell.drawn.forgery import blended, upsampled
from facetell.drawn.person import Person, Shot
from facetell.errors import DataError, SettingsError, near_miss
from facetell.files import whole_folder
from facetell.pixels.drawing_tools import Array
from facetell.progress import Progress, Step, silent

__all__ = ["KINDS", "PHOTOS_PER_PERSON", "SPLIT_SHARES", "write_drawn_faces"]

KINDS = ("upsampled", "blended")
"""The kinds of forgery; also the ``source`` of the forged rows. Real photos have the source ``drawn``."""

PHOTOS_PER_PERSON = 2
"""Real photos of each person, and forgeries of each kind."""

SPLIT_SHARES = (("train", 0.60), ("validation", 0.12), ("finetune", 0.16), ("test", 0.12))
"""Share of the people in each split, the same for every kind."""

_LEAST_PEOPLE = 14  # so that every split has two people: a blended face needs somebody else of its own split
_NEIGHBOURS = 8


def write_drawn_faces(
    out: Path,
    *,
    people: int,
    seed: int,
    size: int = 96,
    kinds: Sequence[str] = KINDS,
    masks: bool = False,
    progress: Progress = silent,
) -> Path:
    """Draw people, take photos of them, forge some, and write everything as JPEG files with an index.

    Each person has two real photos and two forgeries of each kind, every one of them made from a photo of its own.
    Pictures lie in ``real/`` and ``fake/``; ``index.csv`` has the columns ``path`` (relative to ``out``), ``label``,
    ``group`` (the person), ``source`` (``drawn`` or the kind) and ``split``. A forgery belongs to the group of the
    person it was made from; a blended-in face comes from another person of the same split.

    Args:
        out: a folder that does not exist yet or is empty.
        people: how many people, at least 14.
        seed: the same seed gives the same bytes; a picture depends on neither ``people`` nor ``kinds``, apart from
            the split it falls into and whose face is blended in.
        size: height and width in pixels, divisible by 4, at least 32.
        kinds: kinds of forgery to make, of ``KINDS``.
        masks: write ``masks/`` too: for each blended picture a grey PNG of the same path, white where the donor is.
        progress: told of every picture written.

    Returns:
        ``out``.

    Raises:
        SettingsError: a number out of range or an unknown kind.
        DataError: ``out`` is a file or a folder with something in it.
    """
    _check(people, seed, size, kinds)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} already exists and is not an empty folder", hint="name a new folder")
    with whole_folder(out) as building:
        (building / "real").mkdir()
        (building / "fake").mkdir()
        _write(building, people, seed, size, tuple(kinds), masks, progress)
    return out


def _check(people: int, seed: int, size: int, kinds: Sequence[str]) -> None:
    """Raise ``SettingsError`` where an argument of ``write_drawn_faces`` is out of range."""
    if people < _LEAST_PEOPLE:
        raise SettingsError(f"people is {people}", hint=f"at least {_LEAST_PEOPLE}: every split needs two")
    if seed < 0:
        raise SettingsError(f"seed is {seed}", hint="0 or more")
    if size < 32 or size % 4:
        raise SettingsError(f"size is {size}", hint="at least 32, and divisible by 4")
    if len(set(kinds)) < len(kinds):
        raise SettingsError("a kind of forgery is named twice", hint="name each once")
    for kind in kinds:
        if kind not in KINDS:
            raise SettingsError(
                f"unknown kind of forgery {kind!r}{near_miss(kind, KINDS)}", hint=f"known: {', '.join(KINDS)}"
            )


def _splits(people: int) -> list[tuple[str, range]]:
    """Return each split's name and people: consecutive numbers, at least two each."""
    ends = np.floor(np.cumsum([0.0] + [share for _, share in SPLIT_SHARES]) * people + 0.5).astype(int)
    return [(name, range(ends[i], ends[i + 1])) for i, (name, _) in enumerate(SPLIT_SHARES)]


def _write(
    folder: Path, people: int, seed: int, size: int, kinds: tuple[str, ...], masks: bool, progress: Progress
) -> None:
    """Fill ``folder``."""

    @lru_cache(maxsize=4 * _NEIGHBOURS)
    def person(number: int) -> Person:
        return Person.draw(np.random.default_rng((seed, number)))

    total, done = people * PHOTOS_PER_PERSON * (1 + len(kinds)), 0
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as stream:
        index = csv.writer(stream, lineterminator="\n")
        index.writerow(("path", "label", "group", "source", "split"))
        for split, numbers in _splits(people):
            for number in numbers:
                near = range(max(numbers.start, number - _NEIGHBOURS), min(numbers.stop, number + _NEIGHBOURS + 1))
                others = [other for other in near if other != number]
                for source in ("drawn", *kinds):
                    for photo in range(PHOTOS_PER_PERSON):
                        rng = np.random.default_rng((seed, number, 1 + ("drawn", *KINDS).index(source), photo))
                        donor = person(others[int(rng.random() * len(others))])
                        face, mask = _photo(person(number), donor, source, size, rng)
                        place = f"{'real' if source == 'drawn' else 'fake'}/{number:05d}-{source}-{photo}.jpg"
                        (folder / place).write_bytes(camera(face, rng))
                        if masks and mask is not None:
                            _save_mask(mask, (folder / "masks" / place).with_suffix(".png"))
                        index.writerow(
                            (place, "real" if source == "drawn" else "fake", f"person-{number:05d}", source, split)
                        )
                        done += 1
                        progress(Step("drawing", done, total, "pictures"))


def _photo(
    person: Person, donor: Person, source: str, size: int, rng: np.random.Generator
) -> tuple[Array, Array | None]:
    """A new photo of ``person``, forged if ``source`` says so, before the camera; and where, if only a part is."""
    shot = Shot.draw(rng)
    face = draw_face(rng, size, person=person, shot=shot)
    if source == "upsampled":
        return upsampled(face, rng), None
    if source == "blended":
        # A swap aligns and relights the face and leaves hair, beard and glasses alone; drawing the donor that way keeps
        # the forgery from being seen at a glance.
        donor_shot = Shot.draw(rng).expression_in(shot)
        return blended(face, draw_face(rng, size, person=donor.dressed_as(person), shot=donor_shot), rng)
    return face, None


def _save_mask(mask: Array, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(mask * 255).astype(np.uint8)).save(path)
