"""Files that a detector has judged, without labels: what ``detect`` wrote, read back as logits and counts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.detector.calibration import DEFAULT, calibration_of, deciders_of, uncalibrated
from facetell.detector.decider import SATURATED, Decider
from facetell.detector.verdict import STATUSES
from facetell.detector.verdict_file import latest_lines
from facetell.errors import DataError
from facetell.evaluation.drift import Sketch
from facetell.evaluation.predictions import read_predictions
from facetell.evaluation.score_curves import calibrated

__all__ = ["KINDS", "Batch", "read_batch", "references", "sketches_of", "table_rows", "watched"]

KINDS = ("face", "video")
"""What a logit is of: one face of a photo, or a whole video. Errors of frames even out, so the two differ."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """The files of one table."""

    name: str
    statuses: Counter[str]
    """All files by status."""
    decisions: Counter[str]
    """Judged files by decision."""
    banded: bool
    """Whether the detector could say unsure."""
    logits: dict[str, Floats]
    """(N,) of the judged files by kind, see `KINDS`."""
    paths: dict[str, list[str]]
    """Of the same files."""
    labels: npt.NDArray[np.int8] | None = None
    """(N,) of the faces, where the table has labels."""


def read_batch(path: Path, description: dict[str, Any], identity: str, seed: int = 0) -> Batch:
    """Read JSON Lines of ``detect``, or a ``.parquet`` of ``evaluate``, of the detector of this ``description``.

    ``identity`` is what ``detect`` writes of the detector. Of a photo with several faces the first counts: the most fake
    of several is more fake than one, and how many people are in a photo would look like a drift. Of a predictions table,
    one face of each group counts, drawn by ``seed``: the others depend on it.

    Raises DataError for a file that holds no verdict, a line that is none (with its number) or is of another detector.
    """
    if path.suffix == ".parquet":
        return _of_table(path, watched(description)[0], seed)
    return _of_lines(path, description, identity)


def sketches_of(batch: Batch) -> dict[str, list[Sketch]]:
    """The batch as a reference, by kind: (real, fake) where it has both labels, else one sketch."""
    z = batch.logits["face"]
    if batch.labels is not None and 0 < batch.labels.sum() < len(z):
        return {"face": [Sketch.of(z[batch.labels == label]) for label in (0, 1)]}
    return {kind: [Sketch.of(logits)] for kind, logits in batch.logits.items() if logits.size}


def watched(description: dict[str, Any], at: str = DEFAULT, prevalence: float | None = None) -> tuple[Decider, Decider]:
    """What decided on the traffic, for one face and for a video. Raises ``UsageError`` for an uncalibrated detector."""
    found = deciders_of(description, at, prevalence)
    if found is None:
        raise uncalibrated("verdicts to watch")
    return found


def references(description: dict[str, Any]) -> dict[str, list[Sketch]]:
    """The sketches (real, fake) of validation in a detector's calibration, by kind, within what scores can show.

    Raises ``UsageError`` for an uncalibrated detector.
    """
    calibration = calibration_of(description)
    found = {}
    for kind, decider in zip(KINDS, watched(description), strict=True):
        scale = getattr(calibration, kind)
        if scale is not None:
            low, high = _range(decider)
            found[kind] = [sketch.clipped(low, high) for sketch in (scale.reference.real, scale.reference.fake)]
    return found


def _range(decider: Decider) -> tuple[float, float]:
    """The logits whose scores can be told from 0 and 1."""
    low, high = decider.curve.logits(calibrated([-SATURATED, SATURATED], 1.0)).tolist()
    return low, high


def _of_table(path: Path, decider: Decider, seed: int) -> Batch:
    table = read_predictions(path)
    if not table["row"].size:
        raise DataError(f"{path} holds no prediction")
    rows = table_rows(table, seed)
    logits = np.clip(table["logit"][rows].astype(np.float64), *_range(decider))
    called = decider.decisions(logits)
    paths = {"face": [str(name) for name in table["path"][rows]], "video": []}
    kinds = {"face": logits, "video": np.zeros(0)}
    return Batch(
        str(path), Counter(called), Counter(called), decider.band is not None, kinds, paths, table["label"][rows]
    )


def table_rows(table: dict[str, npt.NDArray[Any]], seed: int) -> npt.NDArray[np.int64]:
    """The places (ascending) in a predictions table of one face of each group, drawn by ``seed``."""
    order = np.random.default_rng(seed).permutation(table["row"].size)
    return np.sort(order[np.unique(table["group"][order].astype(str), return_index=True)[1]])


def _of_lines(path: Path, description: dict[str, Any], identity: str) -> Batch:
    statuses: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    banded = False
    shown: dict[tuple[str, str, float | None], list[float]] = {}
    paths: dict[tuple[str, str, float | None], list[str]] = {}
    number = 0
    try:
        for number, line in latest_lines(path):
            verdict = _verdict(line, f"{path}, line {number}")
            if verdict["detector"] != identity:
                raise DataError(
                    f"{path}, line {number} is a verdict of another detector, or of this one before it was changed",
                    hint="judge the files again: facetell detect DETECTOR FILES -o verdicts.jsonl",
                )
            statuses[verdict["status"]] += 1
            if verdict["decision"] is None:
                continue
            decisions[verdict["decision"]] += 1
            banded |= verdict["unsure"] is not None or verdict["decision"] == "unsure"
            kind, score = "video", verdict["score"]
            if verdict["kind"] == "picture":
                kind, score = "face", verdict["tracks"][0]["score"]
            key = (kind, verdict["operating_point"], verdict["prevalence"])
            shown.setdefault(key, []).append(float(score))
            paths.setdefault(key, []).append(verdict["path"])
    except FileNotFoundError:
        raise DataError(f"there is no {path}", hint="`facetell detect … -o verdicts.jsonl` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as JSON Lines: {error}",
            hint="give what `detect -o` wrote; a store goes with --store",
        ) from None
    if not number:
        raise DataError(f"{path} holds no verdict", hint="`facetell detect … -o verdicts.jsonl` writes them")
    logits: dict[str, list[Floats]] = {kind: [] for kind in KINDS}
    files: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for (kind, at, prevalence), scores in shown.items():
        logits[kind].append(watched(description, at, prevalence)[KINDS.index(kind)].logits(scores))
        files[kind] += paths[kind, at, prevalence]
    columns = {kind: np.concatenate([np.zeros(0), *parts]) for kind, parts in logits.items()}
    return Batch(str(path), statuses, decisions, banded, columns, files)


def _verdict(line: str, where: str) -> dict[str, Any]:
    """What is needed of a line, checked."""
    try:
        verdict = json.loads(line)
        names = ("path", "status", "decision", "score", "operating_point", "prevalence", "unsure", "kind", "tracks",
                 "detector")  # fmt: skip
        found = {name: verdict[name] for name in names}
        if found["status"] not in STATUSES or found["decision"] not in ("fake", "real", "unsure", None):
            raise ValueError
        if found["decision"] is not None:
            scores = [found["score"], *(track["score"] for track in found["tracks"])]
            if len(scores) < 2 or not all(0 <= float(score) <= 1 for score in scores):
                raise ValueError
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{where} is no verdict of `facetell detect`",
            hint="a line that was torn is written anew by the same `facetell detect … -o FILE` again",
        ) from None
    return found
