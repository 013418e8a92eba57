"""``facetell evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("evaluate")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("faceset", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the report goes.")
@click.option("--split", default="test", show_default=True, help="Split to measure on.")
@click.option("--at", metavar="NAME", help="Operating point that decides.  [default: the detector's own]")
@click.option("--prevalence", type=float, help="Also say what a verdict is worth where this share is fake.")
@click.option("--seed", default=0, show_default=True, help="Draws the bootstrap intervals.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    detector: Path,
    faceset: Path,
    out: Path,
    split: str,
    at: str | None,
    prevalence: float | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
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
        report = evaluate(
            detector, faceset, out, split=split, at=at, prevalence=prevalence, seed=seed, device=device,
            progress=progress,
        )  # fmt: skip
    numbers = report.as_dict()
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
        return
    from facetell.cli.tables import print_report

    print_report(numbers, out)
