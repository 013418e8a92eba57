"""``report``: results of several verbs as one HTML page; and the pictures that a report shows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from facetell.api._result_path import result_path
from facetell.detector.detector import Detector
from facetell.detector.occlusion import occlusion
from facetell.errors import DataError, UsageError
from facetell.faceset.table import FaceSet
from facetell.files import write_text
from facetell.pixels.decode import decode, resize
from facetell.reporting.html import Section, evaluation_cards, html_page
from facetell.reporting.pictures import face_with_map
from facetell.results import Result

__all__ = ["pictures_of", "report"]

PAGES = (
    ("report.json", "report.md"),
    ("compare.json", "compare.md"),
    ("stress.json", "stress.md"),
    ("audit.json", "audit.md"),
    ("watch.json", "watch.md"),
    ("explain.json", "report.md"),
    ("bench.json", "bench.md"),
)
"""What each verb leaves in its folder: numbers, and the page for people."""


def report(results: Iterable[Result | str | Path], out: str | Path, *, title: str = "facetell report") -> Path:
    """Put the pages of result folders, in the order given, into one HTML file that opens from disk, and return it.

    ``results``: what ``evaluate``, ``stress``, ``audit``, ``explain``, ``compare``, ``watch`` or ``bench`` wrote: the folders, or
    the results with such a folder. The file holds its pictures, loads nothing and runs nothing.

    Raises ``UsageError`` without a result or for another kind of file at ``out``, ``DataError`` for a folder that holds no
    result.
    """
    out = Path(out)
    sections = [_section(result_path(each)) for each in results]
    if not sections:
        raise UsageError(
            "there is no result to report on", hint="give the folders that `facetell evaluate` and others wrote"
        )
    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{out} must be a file that ends with .html", hint="such as -o report.html")
    page = html_page(sections, title)
    write_text(out, page)
    return out


def _section(folder: Path) -> Section:
    for numbers, page in PAGES:
        if (folder / numbers).is_file() and (folder / page).is_file():
            try:
                content = json.loads((folder / numbers).read_text("utf-8"))
                cards = evaluation_cards(content) if numbers == "report.json" else []
                return Section((folder / page).read_text("utf-8"), folder, cards)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(f"{folder / numbers} cannot be read: {error}", hint="make it again") from error
    kinds = ", ".join(numbers for numbers, _ in PAGES)
    raise DataError(f"{folder} holds no result of facetell", hint=f"a folder with one of {kinds}")


def pictures_of(detector: Detector, faces: FaceSet, split: str, rows: Iterable[int]) -> list[Image.Image]:
    """Pictures of rows of a split, each beside a coarse map of what spoke for fake in it (49 places of a face)."""
    numbers = faces.rows(split)
    decoded = [decode(faces.image(numbers[row])) for row in rows]
    size = detector.size
    crops = (
        np.stack([resize(pixels, size) for pixels in decoded]) if decoded else np.zeros((0, size, size, 3), np.uint8)
    )
    maps = occlusion(detector.logits, crops, size // 4, max(1, size // 8))
    return [face_with_map(face, found) for face, found in zip(decoded, maps, strict=True)]
