"""The single files of a table that ``detect`` or ``evaluate`` wrote: a bounded draw of them, to be opened again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facetell.detector.traffic import table_rows, watched
from facetell.detector.verdict_file import latest_lines
from facetell.errors import DataError
from facetell.evaluation.predictions import read_predictions

__all__ = ["Judged", "draw_judged"]


@dataclass(frozen=True)
class Judged:
    """One judged file, or one face of a face set.

    ``batch`` counts from 0. ``score`` and ``decision`` are those of a video, or of the first face of a photo. ``whole``:
    the picture was taken as a crop. ``split``, ``row`` in it and ``sha256`` are those of a face set, else None.
    """

    batch: int
    path: str
    score: float
    decision: str
    whole: bool = False
    split: str | None = None
    row: int | None = None
    sha256: str | None = None


def draw_judged(
    tables: Sequence[Path], description: dict[str, Any], limit: int, seed: int
) -> tuple[list[Judged], list[int]]:
    """Draw at most ``limit`` judged files of all tables by ``seed``, in their order; and how many each table has.

    Every file is as likely as any other, and no more than ``limit`` are held (Vitter's algorithm R). The tables are those
    that ``read_batch`` has checked. Raises DataError for one that was changed meanwhile.
    """
    rng = np.random.default_rng([seed, len(tables)])
    kept: list[tuple[int, Judged]] = []
    counts = [0] * len(tables)
    for number, path in enumerate(tables):
        of_table = path.suffix == ".parquet"
        for judged in _of_table(path, number, description, seed) if of_table else _of_lines(path, number):
            place = sum(counts)
            counts[number] += 1
            if len(kept) < limit:
                kept.append((place, judged))
            elif (at := int(rng.integers(place + 1))) < limit:
                kept[at] = place, judged
    return [judged for _, judged in sorted(kept, key=lambda pair: pair[0])], counts


def _of_lines(path: Path, batch: int) -> Iterator[Judged]:
    try:
        for _, line in latest_lines(path):
            verdict = json.loads(line)
            if verdict["decision"] is None:
                continue
            used = next((face for face in verdict["faces"] if face["used"]), None)
            photo = verdict["kind"] == "picture"
            said = verdict["tracks"][0] if photo else verdict
            whole = photo and used is not None and used["box"] is None
            yield Judged(batch, verdict["path"], float(said["score"]), said["decision"], whole)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} was changed, or is no output of `facetell detect`: {error!r}") from error


def _of_table(path: Path, batch: int, description: dict[str, Any], seed: int) -> Iterator[Judged]:
    table = read_predictions(path)
    decider = watched(description)[0]
    rows = table_rows(table, seed)
    logits = table["logit"][rows]
    told = zip(rows.tolist(), decider.scores(logits).tolist(), decider.decisions(logits), strict=True)
    for at, score, decision in told:
        named, split, sha256 = (str(table[name][at]) for name in ("path", "split", "sha256"))
        yield Judged(batch, named, score, decision, False, split, int(table["row"][at]), sha256)
