"""``facetell compare``."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.command("compare")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the comparison goes.")
@click.option("--seed", default=0, show_default=True, help="Draws the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(reports: tuple[Path, ...], out: Path, seed: int, as_json: bool) -> None:
    """Say whether detectors rank the same faces differently, from their reports.

    The first report is the one the others are compared with. Each difference of AUROC has two paired tests over
    groups, DeLong and bootstrap, and a sentence that says what may be concluded.

    \b
    Example:
      facetell compare report-baseline report-detector -o comparison
    """
    from facetell.api import compare

    found = compare(reports, out, seed=seed)
    numbers = found.as_dict()
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
        return
    from facetell.cli.tables import print_comparison

    print_comparison(numbers, out)
