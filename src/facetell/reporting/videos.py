"""What a report says of whole videos, which are what a user judges, beside their single faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.evaluation.metrics import confusion
from facetell.reporting.measure import measure
from facetell.reporting.result_folder import counts_of

__all__ = ["JudgedVideos", "videos_section"]


@dataclass(frozen=True)
class JudgedVideos:
    """``columns``, (V,) each: path, label, group, logit, score, and the mean score of the video's faces; the ``threshold`` of a
    score, None for an uncalibrated detector, and whether it was ``chosen_on`` videos or faces."""

    columns: dict[str, NDArray[Any]]
    threshold: float | None
    chosen_on: str


def videos_section(videos: JudgedVideos, repetitions: int, seed: int) -> dict[str, Any]:
    """Counts, metrics, confusion and threshold of videos.

    ``mean_score_auroc`` ranks by the mean score of all faces of a video, as DeepfakeBench and most papers do.
    """
    table, threshold = videos.columns, videos.threshold
    rows = np.ones(table["label"].size, dtype=bool)
    metrics, _ = measure(table, rows, threshold, repetitions, seed)
    of_means, _ = measure({**table, "score": table["mean_score"]}, rows, None, repetitions, seed)
    matrix = None if threshold is None else confusion(table["label"], table["score"], threshold)
    return {
        "counts": counts_of(table["label"], table["group"]),
        "threshold": threshold,
        "chosen_on": videos.chosen_on,
        "metrics": metrics,
        "mean_score_auroc": of_means["auroc"],
        "confusion": matrix and {"tn": matrix.tn, "fp": matrix.fp, "fn": matrix.fn, "tp": matrix.tp},
    }
