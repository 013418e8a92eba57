"""FaceForensics++ with DeepFakeDetection: videos, or folders of frames, at up to three compressions.

Fake ``071_054`` is sequence 071 with the face or the expression of 054; the official split lists give such pairs. The
two originals, their fakes by every method and all of them at every compression are one **group**. DeepFakeDetection
mixes 28 actors: every video of actors who are tied by fakes is one group. In the whole set that leaves very few groups,
if not one; use it to train or to test, not for both.

The source is the method, or youtube and actors for the originals. Splits are the official ones if the lists are
there (in the root, ``splits/`` or ``dataset/splits/``). DeepFakeDetection has none; beside official lists it goes to
train, as the held-out splits are complete as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facetell.errors import DataError
from facetell.faceset.rows import RowBuilder
from facetell.ingest.layouts.layout import (
    PICTURES,
    VIDEOS,
    Chosen,
    Layout,
    Option,
    known_in,
    media_in,
    names_only,
    read_json,
    skip_missing,
    skip_unknown,
)
from facetell.ingest.layouts.people import Circles, dfd_actors, faceforensics_sequences

__all__ = ["LAYOUT"]

COMPRESSIONS = ("raw", "c23", "c40")
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "FaceShifter", "NeuralTextures", "DeepFakeDetection")
_ACTORS = ("actors", "DeepFakeDetection")
_FRAMES = ("images", "frames")
_LISTS = {"train": "train.json", "validation": "val.json", "test": "test.json"}
_LIST_FOLDERS = ("", "splits/", "dataset/splits/")

TREE = """
original_sequences/
  {youtube,actors}/            actors belong to DeepFakeDetection
    {raw,c23,c40}/
      {videos,images,frames}/  071.mp4; or 071/ with the frames of each video
        *
manipulated_sequences/
  {Deepfakes,Face2Face,FaceSwap,FaceShifter,NeuralTextures,DeepFakeDetection}/
    {raw,c23,c40}/
      {videos,images,frames}/  071_054.mp4; or 071_054/ with the frames of each video
        *
{train,val,test}.json          optional: the official split lists; or in splits/ or dataset/splits/
"""


@dataclass(frozen=True)
class _Part:
    """One folder of videos: where, what of, and its names as entries of the split lists."""

    folder: str
    source: str
    label: int

    def people(self, stem: str) -> tuple[str, ...]:
        return dfd_actors(stem) if self.source in _ACTORS else faceforensics_sequences(stem)


def _recognises(root: Path) -> bool:
    return any((root / "manipulated_sequences" / name).is_dir() for name in METHODS) or any(
        (root / "original_sequences" / name).is_dir() for name in ("youtube", "actors")
    )


def _read(builder: RowBuilder, chosen: Chosen) -> None:
    pairs = _official_pairs(builder)
    parts = list(_parts(builder, chosen))
    circles, splits = Circles(), {}
    for split, of_split in pairs.items():
        for pair in of_split:
            circles.tie(pair)
            splits.update(dict.fromkeys(pair, split))
    for part in parts:
        for name in names_only(builder.root / part.folder):
            circles.tie(part.people(name.split(".")[0]))
    for part in parts:
        _skip_absent(builder, part, pairs)
        for path in media_in(builder, part.folder, VIDEOS if part.folder.endswith("/videos") else PICTURES):
            people = part.people(path.split("/")[0].split(".")[0])
            full = f"{part.folder}/{path}"
            unlisted = "train" if pairs and part.source in _ACTORS else ""
            if people:
                split = splits.get(people[0], unlisted)
                builder.add(full, part.label, circles.name(people[0]), part.source, split)
            else:
                skip_unknown(builder, full, "its name does not say whose face it is, so it has no group")


def _parts(builder: RowBuilder, chosen: Chosen) -> Iterator[_Part]:
    """The folders of videos or frames that were chosen; whatever else is there is listed as skipped."""
    known = {"original_sequences", "manipulated_sequences", "splits", "dataset", *_LISTS.values()}
    tops = known_in(builder, "", known)
    methods = chosen["methods"]
    originals = [
        name for name, fakes in (("youtube", METHODS[:-1]), ("actors", METHODS[-1:])) if set(fakes) & set(methods)
    ]
    for top, label, wanted, all_known in (
        ("original_sequences", 0, originals, ("youtube", "actors")),
        ("manipulated_sequences", 1, methods, METHODS),
    ):
        for source in known_in(builder, top, all_known) if top in tops else ():
            if source not in wanted:
                continue
            for compression in known_in(builder, f"{top}/{source}", COMPRESSIONS):
                if compression in chosen["compression"]:
                    yield from _media_folder(builder, f"{top}/{source}/{compression}", source, label)


def _media_folder(builder: RowBuilder, folder: str, source: str, label: int) -> Iterator[_Part]:
    """Videos if there are any, else frames: both are the same pictures."""
    kinds = known_in(builder, folder, ("videos", *_FRAMES))
    kinds.sort(key=("videos", *_FRAMES).index)
    for other in kinds[1:]:
        skip_unknown(builder, f"{folder}/{other}", f"the same videos are taken from {kinds[0]}/")
    if kinds:
        yield _Part(f"{folder}/{kinds[0]}", source, label)


def _official_pairs(builder: RowBuilder) -> dict[str, list[tuple[str, str]]]:
    """The pairs of each official split; empty if the lists are not there."""
    for folder in _LIST_FOLDERS:
        files = {split: builder.root / f"{folder}{name}" for split, name in _LISTS.items()}
        there = [file.name for file in files.values() if file.is_file()]
        lacking = [file.name for file in files.values() if not file.is_file()]
        if there and lacking:
            raise DataError(
                f"{builder.root / folder} holds {' and '.join(there)} but not {' and '.join(lacking)}",
                hint="add the missing lists, or take all of them away to have splits made",
            )
        if there:
            return {split: _pairs(file) for split, file in files.items()}
    return {}


def _pairs(file: Path) -> list[tuple[str, str]]:
    content = read_json(file)
    if not isinstance(content, list):
        raise DataError(f"{file} is not a list of pairs", hint='it must look like [["071", "054"], ...]')
    pairs = []
    for number, pair in enumerate(content, start=1):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)):
            raise DataError(f"{file}: entry {number} is not a pair", hint='it must look like ["071", "054"]')
        pairs.append((pair[0], pair[1]))
    return pairs


def _skip_absent(builder: RowBuilder, part: _Part, pairs: dict[str, list[tuple[str, str]]]) -> None:
    """List the videos that the official lists name and this folder does not hold."""
    if part.source in _ACTORS:
        return
    there = {name.split(".")[0] for name in names_only(builder.root / part.folder)}
    suffix = ".mp4" if part.folder.endswith("/videos") else ""
    for split, of_split in pairs.items():
        for one, other in of_split:
            for stem in (one, other) if part.label == 0 else (f"{one}_{other}", f"{other}_{one}"):
                if stem not in there:
                    skip_missing(builder, f"{part.folder}/{stem}{suffix}", _LISTS[split])


LAYOUT = Layout(
    name="faceforensics",
    title="FaceForensics++",
    homepage="https://github.com/ondyari/FaceForensics",
    licence="on request, under the FaceForensics terms of use",
    groups="the two sequences of a pair with all their fakes, at every compression; DeepFakeDetection: all actors whom "
    "fakes tie to each other",
    tree=TREE,
    recognises=_recognises,
    read=_read,
    options=(
        Option("compression", COMPRESSIONS, "which compressions to take"),
        Option("methods", METHODS, "which methods to take, with the originals that belong to them"),
    ),
)
