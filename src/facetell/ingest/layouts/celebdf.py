"""Celeb-DF, version 1 and 2, with the official list of test videos.

The **groups** are circles of people: ``id0_id1_0000.mp4`` shows id0 with the face of id1, so both and everyone tied to
them by further fakes are one group. Version 2 has few such circles (about four), and a person each in YouTube-real.

The official test list takes videos, not people, so the same people are in the test videos and in the others. The
official split is kept, since published results rest on it; therefore circles are made of the test videos (``test/...``)
and of the others separately, and a note says how many people are on both sides. Among the others train and
validation are made by circles and share nobody.
"""

from __future__ import annotations

import re
from pathlib import Path

from facetell.errors import DataError
from facetell.faceset.rows import RowBuilder
from facetell.ingest.layouts.layout import (
    VIDEOS,
    Chosen,
    Layout,
    known_in,
    media_in,
    names_only,
    skip_missing,
    skip_unknown,
)
from facetell.ingest.layouts.people import Circles, celebdf_people

__all__ = ["LAYOUT"]

FOLDERS = {"Celeb-real": 0, "Celeb-synthesis": 1, "YouTube-real": 0}
LIST = "List_of_testing_videos.txt"

TREE = """
Celeb-real/                 id0_0000.mp4
  *
Celeb-synthesis/            id0_id1_0000.mp4
  *
YouTube-real/               00000.mp4
  *
List_of_testing_videos.txt  "1 YouTube-real/00170.mp4": 1 is real here, 0 is fake
"""


def _recognises(root: Path) -> bool:
    return (root / "Celeb-synthesis").is_dir() and any(
        (root / name).exists() for name in ("Celeb-real", "YouTube-real", LIST)
    )


def _read(builder: RowBuilder, chosen: Chosen) -> None:
    test = _test_videos(builder.root / LIST)
    circles = {True: Circles(), False: Circles()}
    folders = [name for name in known_in(builder, "", (*FOLDERS, LIST)) if name in FOLDERS]
    for folder in folders:
        for name in names_only(builder.root / folder):
            circles[f"{folder}/{name}" in test].tie(celebdf_people(name.split(".")[0]))
    there = set()
    for folder in folders:
        for name in media_in(builder, folder, VIDEOS):
            path = f"{folder}/{name}"
            people = celebdf_people(name.split(".")[0])
            there.add(path)
            if not people or "/" in name:
                skip_unknown(builder, path, "its name does not say whose face it is, so it has no group")
                continue
            in_test = path in test
            group = f"{'test/' if in_test else ''}{circles[in_test].name(people[0])}"
            builder.add(path, FOLDERS[folder], group, folder, "test" if in_test else "")
    for path in test:
        if path not in there:
            skip_missing(builder, path, LIST)
    both = circles[True].shared_with(circles[False])
    if both:
        builder.notes.append(
            f"{both} of the {len(circles[True])} people in the official test videos are in the other videos too: "
            "the test measures new videos, not new people"
        )


def _test_videos(file: Path) -> dict[str, None]:
    """The paths in the official list, in its order; its labels must be those of the folders."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8 text", hint="download it again") from None
    found: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([01])\s+(([^/\\]+)[/\\](.+))", line.strip())
        folder = match[3] if match else ""
        if match is None or folder not in FOLDERS:
            raise DataError(
                f"{file}, line {number}: cannot read '{line.strip()[:80]}'",
                hint=f"it must look like '1 YouTube-real/00170.mp4', with one of {', '.join(FOLDERS)}",
            )
        if int(match[1]) == FOLDERS[folder]:
            raise DataError(
                f"{file}, line {number}: '{line.strip()[:80]}' contradicts its folder",
                hint="in this list 1 is real and 0 is fake",
            )
        found[f"{folder}/{match[4]}"] = None
    return found


LAYOUT = Layout(
    name="celebdf",
    title="Celeb-DF (version 1 or 2)",
    homepage="https://github.com/yuezunli/celeb-deepfakeforensics",
    licence="on request, for research",
    groups="people whom fakes tie to each other; the official test videos for themselves, as they share people with "
    "the rest",
    tree=TREE,
    recognises=_recognises,
    read=_read,
)
