"""``compare``: which of several detectors ranks the same faces better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facetell.reporting.comparing import write_comparison

__all__ = ["compare"]


def compare(reports: Sequence[str | Path], out: str | Path, *, seed: int = 0) -> dict[str, Any]:
    """Compare the ``reports`` of ``evaluate`` on the same faces, the others with the first; write ``out``.

    Returns the numbers; see :func:`~facetell.reporting.comparing.write_comparison`. ``seed`` draws the bootstraps.
    """
    return write_comparison([Path(report) for report in reports], Path(out), seed=seed)
