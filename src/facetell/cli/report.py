"""``facetell report``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("report")
@click.argument("results", nargs=-1, required=True, type=options.PATH)
@options.out_option("The file, such as report.html.")
@options.value_option("--title", "facetell report", "Its heading.")
def command(results: tuple[Path, ...], out: Path, title: str) -> None:
    """Put results into one HTML page that opens from disk.

    RESULTS are folders that evaluate, stress, audit, explain, compare, watch or bench wrote, in the order of the page. It
    holds its pictures, loads nothing from anywhere and runs no script: it can be mailed.

    \b
    Example:
      facetell report report stress audit -o report.html --title "Detector of November"
    """
    from facetell.api import report

    click.echo(report(results, out, title=title))
