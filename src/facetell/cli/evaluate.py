"""``facetell evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.cli.tables import print_report
from facetell.progress import Bars

__all__ = ["command"]


@click.command("evaluate")
@options.detector_argument
@options.faceset_argument
@options.out_option("Where the report goes.")
@options.split_option("Split to measure on.")
@click.option("--at", metavar="NAME", help="Operating point that decides.  [default: the detector's own]")
@click.option("--prevalence", type=float, help="Also say what a verdict is worth where this share is fake.")
@options.seed_option("the bootstrap intervals")
@options.device_option
@options.runtime_option
@options.engine_option()
@options.json_option
def command(detector: Path, faceset: Path, out: Path, as_json: bool, **given: Any) -> None:
    """Measure a detector on a split of a labelled face set and write a report.

    The report holds numbers with 95% intervals over groups, a row per source, plots, and predictions.parquet. The
    threshold is the detector's, chosen on its own validation data.

    \b
    Example:
      facetell evaluate detector faces --split test -o report
      facetell evaluate detector faces --at fpr=0.01 --prevalence 0.01 -o report
    """
    from facetell.api import evaluate

    with Bars() as progress:
        report = evaluate(detector, faceset, out, **given, progress=progress)
    options.print_result(report.as_dict(), as_json, print_report, out)
