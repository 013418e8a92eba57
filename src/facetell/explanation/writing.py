"""An explanation as a folder: ``explain.json``, ``report.md``, ``maps.npz``, and pictures of faces or of whole sources."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.explanation.heatmaps import Row, draw_maps
from facetell.explanation.maps import Kind, Maps, enlarged
from facetell.explanation.pointing import pointing_sentence
from facetell.files import whole_folder
from facetell.reporting.pages import markdown_page
from facetell.reporting.result_folder import check_folder, plain, save_json

__all__ = ["CENTRE_AREA", "EXPLANATION_FORMAT", "Faces", "centre_share", "check_explanation", "write_explanation"]

EXPLANATION_FORMAT = "facetell-explanation"
EXPLANATION_VERSION = 1
EXTREMES = 3
"""Faces shown of each end of a source."""

_MAIN = "explain.json"
_AXES = (0.3, 0.4)
CENTRE_AREA = float(np.pi * _AXES[0] * _AXES[1])
"""Share of the picture within the ellipse of `centre_share`: what an even map has there."""


@dataclass(frozen=True)
class Faces:
    """Faces that were explained, N of them: crops uint8 (N, S, S, 3), their maps, and an entry of plain values each.

    Entries have ``path``, ``logit``, ``score`` and ``decision``; faces of a face set ``label`` and ``source`` too.
    """

    crops: npt.NDArray[np.uint8]
    maps: Maps
    entries: Sequence[dict[str, Any]]


def centre_share(values: npt.NDArray[np.float32], size: int) -> float | None:
    """Share of a map's total (of absolute values) in the ellipse round the middle; None for a map of zeros."""
    line = (np.arange(size) + 0.5) / size - 0.5
    inside = (line[None] / _AXES[0]) ** 2 + (line[:, None] / _AXES[1]) ** 2 <= 1
    weight = np.abs(enlarged(values[None], size)[0])
    total = float(weight.sum())
    return float(weight[inside].sum()) / total if total else None


def check_explanation(out: Path | None) -> None:
    """Raise :class:`~facetell.errors.UsageError` unless an explanation may be written to ``out``, if it is given."""
    if out is None:
        return
    try:
        files = json.loads((out / _MAIN).read_text("utf-8"))["written"]
    except (OSError, ValueError, KeyError, TypeError):
        files = []
    check_folder(out, "explanation", _MAIN, EXPLANATION_FORMAT, files)


def write_explanation(
    out: Path | None, faces: Faces, kinds: Mapping[str, Kind], content: Mapping[str, Any], *, by_source: bool
) -> dict[str, Any]:
    """Return what ``explain.json`` holds: ``content`` and all that follows; write ``out``, whole or not at all, if given.

    ``by_source``: average maps and extremes for each source and label, else a picture for each face.
    """
    size = faces.crops.shape[1]
    entries = [
        {**entry, "centre": {key: centre_share(faces.maps[key][index], size) for key in kinds}}
        for index, entry in enumerate(faces.entries)
    ]
    sources = _sources(faces, entries, kinds) if by_source else []
    explanation: dict[str, Any] = {
        "format": EXPLANATION_FORMAT,
        "version": EXPLANATION_VERSION,
        **content,
        "kinds": {key: {**vars(kind)} for key, kind in kinds.items()},
        "centre_area": CENTRE_AREA,
        "sources": sources,
        "faces": entries,
        "written": [],
    }
    if out is not None:
        with whole_folder(out) as fresh:
            arrays = dict(faces.maps)
            if by_source:
                averages = _draw_sources(fresh, faces, sources, entries, kinds)
                arrays |= {f"mean_{key}": values for key, values in averages.items()}
            else:
                _draw_faces(fresh, faces, entries, kinds)
            np.savez_compressed(fresh / "maps.npz", **arrays, allow_pickle=False)
            (fresh / "report.md").write_text(_page(plain(explanation)), "utf-8")
            names = {entry.relative_to(fresh).as_posix() for entry in fresh.rglob("*")}
            explanation["written"] = sorted({*names, _MAIN})
            save_json(fresh / _MAIN, plain(explanation))
    found: dict[str, Any] = plain(explanation)
    return found


def _page(explanation: Mapping[str, Any]) -> str:
    games = (explanation["pointing"] or {"kinds": {}})["kinds"]
    sentences = [pointing_sentence(explanation["kinds"][key]["title"], game) for key, game in games.items()]
    shown = _below_one_folder([each["path"] for each in (*explanation["faces"], *explanation["left_out"])])
    return markdown_page("explain", {**explanation, "pointing_sentences": sentences, "shown": shown})


def _below_one_folder(paths: Sequence[str]) -> dict[str, str]:
    """Each path without the folders that are above all of them, which say whose machine it was and nothing of the file."""
    parts = {path: Path(path).parts for path in paths}
    levels = zip(*(each[:-1] for each in parts.values()), strict=False)
    above = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
    return {path: "/".join(each[above:]) for path, each in parts.items()}


def _draw_faces(folder: Path, faces: Faces, entries: list[dict[str, Any]], kinds: Mapping[str, Kind]) -> None:
    (folder / "faces").mkdir()
    for index, entry in enumerate(entries):
        name = f"faces/{index:04d}-{_safe(Path(entry['path']).stem)}.png"
        when = "" if entry.get("time") is None else f", {entry['time']:.2f} s"
        title = f"{Path(entry['path']).name}{when}: {entry['decision']}, score {entry['score']:.2f}"
        draw_maps([_row(faces, index, "")], kinds, title, folder / name)
        entry["picture"] = name


def _members(entries: Sequence[Mapping[str, Any]], source: Mapping[str, Any]) -> list[int]:
    return [
        i for i, each in enumerate(entries) if (each["source"], each["label"]) == (source["source"], source["label"])
    ]


def _sources(faces: Faces, entries: list[dict[str, Any]], kinds: Mapping[str, Kind]) -> list[dict[str, Any]]:
    """An entry for every source and label, with the names of its pictures."""
    found = []
    for number, (source, label) in enumerate(sorted({(str(each["source"]), str(each["label"])) for each in entries})):
        members = _members(entries, {"source": source, "label": label})
        stem = f"sources/{number:02d}-{label}-{_safe(source)}"
        found.append(
            {
                "source": source,
                "label": label,
                "n": len(members),
                "score": float(np.mean([entries[i]["score"] for i in members])),
                "called_fake": float(np.mean([entries[i]["decision"] == "fake" for i in members])),
                "centre": {key: _mean([entries[i]["centre"][key] for i in members]) for key in kinds},
                "picture": f"{stem}.png",
                "ends": f"{stem}-ends.png",
            }
        )
    return found


def _draw_sources(
    folder: Path,
    faces: Faces,
    sources: Sequence[Mapping[str, Any]],
    entries: list[dict[str, Any]],
    kinds: Mapping[str, Kind],
) -> Maps:
    """Draw of every source and label the mean face with its mean maps, which are returned, and the faces of both ends of
    the scores."""
    (folder / "sources").mkdir()
    averages: dict[str, list[npt.NDArray[np.float32]]] = {key: [] for key in kinds}
    for source in sources:
        members = _members(entries, source)
        means = {key: faces.maps[key][members].mean(axis=0) for key in kinds}
        for key, values in means.items():
            averages[key].append(values)
        face = np.round(faces.crops[members].mean(axis=0)).astype(np.uint8)
        about = f"{source['source']}, {source['label']}"
        mean = [Row(face, f"mean score {source['score']:.2f}", means)]
        draw_maps(mean, kinds, f"{about}: mean of {len(members):,} faces", folder / source["picture"])
        order = sorted(members, key=lambda i: -entries[i]["score"])
        ends = order if len(order) <= 2 * EXTREMES else [*order[:EXTREMES], *order[-EXTREMES:]]
        rows = [_row(faces, i, f"{_short(entries[i]['path'])}\nscore {entries[i]['score']:.2f}") for i in ends]
        draw_maps(rows, kinds, f"{about}: highest and lowest scores", folder / source["ends"])
    return {key: np.stack(values) for key, values in averages.items()}


def _row(faces: Faces, index: int, caption: str) -> Row:
    return Row(faces.crops[index], caption, {key: values[index] for key, values in faces.maps.items()})


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _safe(name: str) -> str:
    """A name that any disk can hold and a link can carry, and that two sources do not share."""
    plain_name = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-")
    if plain_name == name:
        return name
    return f"{plain_name}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def _short(path: str) -> str:
    name = Path(path).name
    return name if len(name) <= 24 else f"{name[:23]}…"
