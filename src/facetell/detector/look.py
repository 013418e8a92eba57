"""``watch --look``: opens judged files again and looks for faces that lie together, far from all known ones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.detector.detector import Detector
from facetell.detector.known_faces import Embedding, read_embedding
from facetell.detector.many import seen
from facetell.detector.runtimes import Embeds
from facetell.detector.traffic_sample import Judged, draw_judged
from facetell.errors import BundleError, DataError, UsageError
from facetell.evaluation.novelty import FAR, NEIGHBOURS, Novelty, novelty
from facetell.evaluation.rates import rate_interval
from facetell.faceset.table import FaceSet
from facetell.pixels.decode import decode_resized, resize
from facetell.progress import Progress, Step, silent

__all__ = ["look_at"]

LIMIT = 1000
"""Files opened at most: so many crops of `SIDE` pixels are 50 MB, and the distances between them 8."""
SIDE = 128
"""Pixels a side of a face that is shown."""
LEAST = 20
SHOWN = 24
CLUSTERS = 9
BATCH = 64

Crops = npt.NDArray[np.uint8]
Faces = list[tuple[Crops, float]]
"""Faces (`SIDE`, `SIDE`, 3) with the scores of their files."""
Seen = tuple[Judged, Crops | None, str]
"""A file, its crop (size, size, 3), or why there is none."""


def look_at(
    path: Path,
    description: dict[str, Any],
    tables: Sequence[Path],
    *,
    faceset: Path | None,
    seed: int,
    device: str = "auto",
    runtime: str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, Any], list[Faces]]:
    """Look at files of ``tables`` that the detector at ``path`` judged; ``faceset`` has the faces of predictions tables.

    Returns what ``watch.json`` holds as ``look``, and some faces of each of its ``clusters``.
    """
    known = read_embedding(path, description)
    drawn, counts = draw_judged(tables, description, LIMIT, seed)
    detector = Detector.load(path, device, runtime=runtime)
    engine = detector.runtime
    if not isinstance(engine, Embeds):
        raise UsageError(f"the runtime of {path} cannot look at faces", hint="watch it without looking at faces")
    files: list[Judged] = []
    points: list[npt.NDArray[np.float64]] = []
    thumbs: list[Crops] = []
    gone: Counter[str] = Counter()
    lost: list[str] = []
    waiting: list[Crops] = []
    for done, (judged, crop, reason) in enumerate(
        _crops(path, detector.size, drawn, faceset, workers, {"device": device, "runtime": runtime}), start=1
    ):
        if crop is None:
            gone[reason] += 1
            lost.append(judged.path)
        else:
            files.append(judged)
            thumbs.append(resize(crop, SIDE))
            waiting.append(crop)
        if len(waiting) == BATCH or (waiting and done == len(drawn)):
            points.append(_embed(path, engine, known, waiting))
            waiting.clear()
        progress(Step("looking", done, len(drawn), "files"))
    result: dict[str, Any] = {
        "files": sum(counts),
        "drawn": len(drawn),
        "opened": len(files),
        "gone": {"reasons": dict(gone.most_common()), "examples": lost[:5]},
        "reference": {"faces": len(known.points), "dimensions": known.points.shape[1], "neighbours": NEIGHBOURS},
        "far": None,
        "clusters": [],
    }
    if len(files) < LEAST:
        return result, []
    try:
        found = novelty(np.concatenate(points), known.points, known.groups, known.labels)
    except DataError as error:
        raise UsageError(f"{path}: {error.message}", hint="fit it on more validation groups") from error
    result["far"] = {**_share(int(found.far.sum()), len(files)), "expected": 1 - FAR}
    result["clusters"] = [
        _cluster(number, found, files, known, [str(table) for table in tables])
        for number in range(min(CLUSTERS, len(found.clusters)))
    ]
    shown = [[(thumbs[at], files[at].score) for at in members[:SHOWN]] for members in found.clusters[:CLUSTERS]]
    return result, shown


def _embed(path: Path, runtime: Embeds, known: Embedding, crops: list[Crops]) -> npt.NDArray[np.float64]:
    """Points (B, d) of B crops (size, size, 3)."""
    vectors = runtime.logits_and_vectors(np.stack(crops))[1]
    if vectors.shape[1] != len(known.mean):
        raise BundleError(f"{path}: the points of its known faces are of another backbone")
    return known.project(vectors)


def _crops(
    path: Path,
    size: int,
    drawn: Sequence[Judged],
    faceset: Path | None,
    workers: int | None,
    how_computed: dict[str, Any],
) -> Iterator[Seen]:
    """All of ``drawn``, in some order: the face that the verdict counts, cut as it was for the verdict."""
    rows = [judged for judged in drawn if judged.row is not None]
    if rows:
        yield from _of_faceset(rows, size, faceset)
    for whole in (True, False):
        files = [judged for judged in drawn if judged.row is None and judged.whole == whole]
        present = [judged for judged in files if os.path.isfile(judged.path)]  # noqa: PTH113  for names no file can have
        yield from ((judged, None, "missing") for judged in files if not os.path.isfile(judged.path))  # noqa: PTH113
        if present:
            how = "crops" if whole else "find"
            again = seen(path, [each.path for each in present], faces=how, workers=workers, **how_computed)
            for judged, (verdict, crops) in zip(present, again, strict=True):
                used = [number for number, face in enumerate(verdict.faces) if face.used]
                if crops is None or not used:
                    yield judged, None, verdict.status
                else:  # a photo's first face, a video's in the middle of its time
                    yield judged, crops[used[len(used) // 2 if verdict.kind == "video" else 0]], ""


def _of_faceset(rows: Sequence[Judged], size: int, faceset: Path | None) -> Iterator[Seen]:
    if faceset is None:
        raise UsageError(
            "predictions.parquet does not say where its faces are", hint="give the face set: --faceset FACESET"
        )
    faces = FaceSet.open(faceset)
    hashes = faces.columns(["sha256"])["sha256"].to_pylist()
    by_row: dict[int, list[Judged]] = {}
    for judged in rows:
        split = faces.rows(judged.split) if judged.split in faces.splits else range(0)
        inside = judged.row is not None and 0 <= judged.row < len(split)
        if judged.row is None or not inside or hashes[split[judged.row]] != judged.sha256:
            raise DataError(
                f"{faceset} is another face set than that of the predictions: it lacks {judged.path}",
                hint="give the one that was evaluated",
            )
        by_row.setdefault(split[judged.row], []).append(judged)
    for numbers, pictures in faces.pick(np.array(sorted(by_row)), BATCH):
        for number, data in zip(numbers.tolist(), pictures, strict=True):
            crop = decode_resized(data, size)
            yield from ((judged, crop, "") for judged in by_row[number])


def _cluster(
    number: int, found: Novelty, files: Sequence[Judged], known: Embedding, names: Sequence[str]
) -> dict[str, Any]:
    """One suspected cluster as plain values."""
    members = found.clusters[number].tolist()
    n, reference = len(members), len(known.points)
    share = _share(n, len(files))
    of_known = _share(found.known[number], reference)
    called = Counter(files[at].decision for at in members)
    looked = Counter(file.batch for file in files)
    inside = Counter(files[at].batch for at in members)
    return {
        "number": number + 1,
        "share": share,
        "known": of_known,
        "times": share["low"] / of_known["high"],
        "p": float(found.p[members].min()),
        "score": float(np.mean([files[at].score for at in members])),
        "fake": _share(called["fake"], n),
        "unsure": _share(called["unsure"], n),
        "near_fakes": float(known.labels[found.nearest[members]].mean()),
        "batches": [{"name": names[at], **_share(inside[at], looked[at])} for at in sorted(looked)],
        "examples": [files[at].path for at in members[:SHOWN]],
        "picture": f"cluster-{number + 1}.png",
    }


def _share(hits: int, n: int) -> dict[str, Any]:
    low, high = rate_interval(hits, n)
    return {"value": hits / n, "low": low, "high": high, "hits": hits, "n": n}
