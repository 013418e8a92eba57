"""``facetell stress``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.cli.tables import print_stress
from facetell.progress import Bars

__all__ = ["command"]


@click.command("stress")
@options.detector_argument
@options.faceset_argument
@options.out_option("Where the report goes.")
@options.split_option("Split to measure on.")
@click.option("--only", metavar="NAME,...", help="These corruptions, such as jpeg,blur.  [default: all]")
@click.option("--at", metavar="NAME", help="Operating point that decides.  [default: the detector's own]")
@options.seed_option("noise, screenshot crops and intervals")
@options.workers_option("Threads that corrupt.")
@options.device_option
@options.runtime_option
@options.engine_option()
@options.json_option
def command(detector: Path, faceset: Path, out: Path, only: str | None, as_json: bool, **given: Any) -> None:
    """Measure a detector on compressed, resized, filmed and posted faces.

    Nine corruptions in five strengths each: jpeg, rejpeg, resize, blur, noise, gamma, h264, screenshot, social. The
    report has AUROC, and recall and FPR at the detector's threshold, for each of them, with curves and one number.

    \b
    Example:
      facetell stress detector faces -o stress
      facetell stress detector faces --only jpeg,social -o stress
    """
    from facetell.api import stress

    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    with Bars() as progress:
        found = stress(detector, faceset, out, only=names, **given, progress=progress)
    options.print_result(found.as_dict(), as_json, print_stress, out)
