"""``facetell compare``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.cli import options
from facetell.cli.tables import print_comparison

__all__ = ["command"]


@click.command("compare")
@click.argument("reports", nargs=-1, required=True, type=options.PATH)
@options.out_option("Where the comparison goes.")
@options.seed_option("the bootstrap")
@options.json_option
def command(reports: tuple[Path, ...], out: Path, seed: int, as_json: bool) -> None:
    """Say whether detectors rank the same faces differently, from their reports.

    The first report is the one the others are compared with. Each difference of AUROC has two paired tests over
    groups, DeLong and bootstrap, and a sentence that says what may be concluded.

    \b
    Example:
      facetell compare report-baseline report-detector -o comparison
    """
    from facetell.api import compare

    options.print_result(compare(reports, out, seed=seed).as_dict(), as_json, print_comparison, out)
