"""DeepfakeBench: frames of many data sets, listed with label and split in ``dataset_json/*.json``.

The lists hold the paths of the machine that wrote them, with its separators and its prefix. A frame is looked for
below the root (or ``datasets/rgb/``, ``datasets/``, ``rgb/`` there) by ever shorter ends of its path.

One video may be in several lists, and DeepfakeBench puts the same videos in several splits: Celeb-DF's test videos in
all three, DFDC's training videos in validation too. A video has one split here: test if any list says so, else train,
else validation; a note counts them. **Groups** are those of the data set itself where names tell: pairs of
FaceForensics++, tied actors of DeepFakeDetection, tied people of Celeb-DF and DFDCP (within a split, as their official
test videos share people with the rest); a video of any other data set is its own group. The source is the list's own
label (``FF-DF``, ``CelebDFv2_real`` ...).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facetell.errors import DataError
from facetell.faceset.rows import RowBuilder
from facetell.ingest.layouts.layout import Chosen, Layout, names_only, printable, read_json, skip_missing, skip_unknown
from facetell.ingest.layouts.people import (
    Circles,
    celebdf_people,
    dfd_actors,
    dfdc_preview_people,
    faceforensics_sequences,
)
from facetell.ingest.sources import names_in
from facetell.ingest.spellings import split_of

__all__ = ["LAYOUT"]

LIST_FOLDERS = ("dataset_json", "preprocessing/dataset_json")
_BASES = ("", "datasets/rgb/", "datasets/", "rgb/")
_PREFERRED = ("test", "train", "validation", "")

TREE = """
{dataset_json,preprocessing/dataset_json}/
  *.json                                    {"FF-DF": {"FF-real": {"train": {"c23": {"000": {"frames": [...]}}}}}}
{FaceForensics++,Celeb-DF-v2,datasets,rgb}  optional: the frames where the lists say, also below datasets/rgb/
"""


@dataclass(frozen=True)
class _Family:
    """Whose names tell the people, and whether groups may only be made within a split."""

    name: str
    people: Callable[[str], tuple[str, ...]]
    within_split: bool


_FAMILIES = {
    "FF-": _Family("FF", faceforensics_sequences, False),
    "DFD_": _Family("DFD", dfd_actors, False),
    "CelebDF": _Family("CelebDF", celebdf_people, True),
    "DFDCP": _Family("DFDCP", dfdc_preview_people, True),
}


@dataclass
class _Video:
    """One folder of frames, as all lists together describe it."""

    label: int
    source: str
    splits: set[str] = field(default_factory=set)
    frames: dict[str, None] = field(default_factory=dict)

    @property
    def split(self) -> str:
        return next(split for split in _PREFERRED if split in self.splits)

    @property
    def family(self) -> _Family | None:
        return next((family for start, family in _FAMILIES.items() if self.source.startswith(start)), None)


def _recognises(root: Path) -> bool:
    return any(name.endswith(".json") for name in names_only(root / _list_folder(root)))


def _list_folder(root: Path) -> str:
    return next((folder for folder in LIST_FOLDERS if (root / folder).is_dir()), LIST_FOLDERS[0])


def _read(builder: RowBuilder, chosen: Chosen) -> None:
    folder = _list_folder(builder.root)
    listed: dict[tuple[str, ...], _Video] = {}
    for name in names_in(builder.root / folder, folder, builder):
        if name.endswith(".json"):
            _read_list(builder.root / folder / name, listed)
        else:
            skip_unknown(builder, f"{folder}/{name}")
    videos: dict[str, _Video] = {}
    for parts, video in listed.items():
        place = _locate(builder.root, parts)
        if place is None:
            skip_missing(builder, f"{'/'.join(parts)}/", f"{folder} with {len(video.frames)} frames")
        elif place in videos:  # lists that two machines wrote may name one folder by two paths
            videos[place].splits |= video.splits
            videos[place].frames |= video.frames
        else:
            videos[place] = video
    tied = _tie(videos)
    for place, video in videos.items():
        _add_frames(builder, place, video, _group(place, video, tied), folder)
    used = {folder.split("/")[0]} | {place.split("/")[0] for place in videos}
    for name in names_in(builder.root, "", builder):
        if name not in used:
            skip_unknown(builder, name, "no list names a frame in it")
    _note(builder, videos, tied)


def _add_frames(builder: RowBuilder, place: str, video: _Video, group: str, listed_in: str) -> None:
    there = dict.fromkeys(names_in(builder.root / place, place, builder))
    for name in there:
        if name in video.frames:
            builder.add(f"{place}/{name}", video.label, group, video.source, video.split)
        else:
            skip_unknown(builder, f"{place}/{name}", f"no frame that {listed_in} lists")
    for name in video.frames:
        if name not in there:
            skip_missing(builder, f"{place}/{name}", listed_in)


def _read_list(file: Path, videos: dict[tuple[str, ...], _Video]) -> None:
    content = read_json(file)
    try:
        found = [
            (split_word, entry)
            for labels in content.values()
            for splits in labels.values()
            for split_word, inside in splits.items()
            for entry in _entries(inside)
        ]
    except AttributeError:
        raise DataError(
            f"{file} is no list of DeepfakeBench", hint='it must look like {"FF-DF": {"FF-real": {"train": {...}}}}'
        ) from None
    for split_word, entry in found:
        split = split_of(split_word)
        if split is None:
            raise DataError(f"{file}: unknown split '{split_word}'")
        label = _label(str(entry.get("label")), file)
        for path in entry["frames"]:
            parts = tuple(part for part in re.split(r"[\\/]+", str(path)) if part not in ("", "."))
            video = videos.setdefault(parts[:-1], _Video(label, printable(str(entry["label"]))))
            if video.label != label:
                raise DataError(f"{file}: {'/'.join(parts[:-1])} is {video.source} in one place, {entry['label']} here")
            video.splits.add(split)
            video.frames[sys.intern(parts[-1])] = None


def _entries(inside: Any) -> Iterator[dict[str, Any]]:
    """The videos below a split: straight there, below a compression, or both mixed up."""
    if isinstance(inside.get("frames"), list):
        yield inside
    for value in inside.values():
        if isinstance(value, dict):
            yield from _entries(value)


def _label(word: str, file: Path) -> int:
    words = re.split(r"[-_]", word.lower())
    if "real" in words:
        return 0
    if words[-1].startswith("fake") or word.startswith("FF-"):
        return 1
    raise DataError(
        f"{file}: cannot tell real from fake by the label '{word}'",
        hint="labels end in real or fake, or begin with FF-",
    )


def _locate(root: Path, parts: tuple[str, ...]) -> str | None:
    """Where a listed folder lies below the root. A path that climbs up is not followed."""
    if ".." in parts:
        return None
    for start in range(len(parts)):
        for base in _BASES:
            place = base + "/".join(parts[start:])
            if (root / place).is_dir():
                return place
    return None


def _side(video: _Video, family: _Family) -> str:
    return f"{family.name}/{video.split}" if family.within_split else family.name


def _stem(place: str) -> str:
    return place.rsplit("/", 1)[-1]


def _tie(videos: dict[str, _Video]) -> dict[str, Circles]:
    tied: dict[str, Circles] = {}
    for place, video in videos.items():
        if video.family:
            tied.setdefault(_side(video, video.family), Circles()).tie(video.family.people(_stem(place)))
    return tied


def _group(place: str, video: _Video, tied: dict[str, Circles]) -> str:
    family = video.family
    people = family.people(_stem(place)) if family else ()
    return f"{_side(video, family)}/{tied[_side(video, family)].name(people[0])}" if family and people else place


def _note(builder: RowBuilder, videos: dict[str, _Video], tied: dict[str, Circles]) -> None:
    several = sum(len(video.splits) > 1 for video in videos.values())
    if several:
        builder.notes.append(
            f"{several} of {len(videos)} videos are listed in several splits: they count as test if listed there, "
            "else as train"
        )
    for family in _FAMILIES.values():
        train, test = (tied.get(f"{family.name}/{split}", Circles()) for split in ("train", "test"))
        if both := test.shared_with(train):
            builder.notes.append(f"{family.name}: {both} of the {len(test)} people in test are in train too")


LAYOUT = Layout(
    name="deepfakebench",
    title="DeepfakeBench",
    homepage="https://github.com/SCLBD/DeepfakeBench",
    licence="that of each data set in it",
    groups="those of the data set by its names: pairs, tied actors, tied people; else each video its own",
    tree=TREE,
    recognises=_recognises,
    read=_read,
)
