"""``facetell report``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("report")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The file, such as report.html.")
@click.option("--title", default="facetell report", show_default=True, help="Its heading.")
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
