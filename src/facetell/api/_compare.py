"""``compare``: which of several detectors ranks the same faces better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facetell.api._result_path import result_path
from facetell.reporting.comparing import write_comparison
from facetell.results import CompareResult, EvaluateResult

__all__ = ["compare"]


def compare(
    reports: Sequence[EvaluateResult | str | Path], out: str | Path | None = None, *, seed: int = 0
) -> CompareResult:
    """Compare what ``evaluate`` wrote of several detectors on the same faces, the others with the first.

    ``reports``: the folders, or the results with such a folder. ``out``: a folder to write the comparison to. ``seed`` draws
    the bootstraps. Raises UsageError and DataError as :func:`~facetell.reporting.comparing.write_comparison` does.
    """
    folder = None if out is None else Path(out)
    return CompareResult(**write_comparison([result_path(each) for each in reports], folder, seed=seed), path=folder)
