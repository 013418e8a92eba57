"""``facetell inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.cli import options
from facetell.cli.tables import print_summary

__all__ = ["command"]


@click.command("inspect")
@options.faceset_argument
@options.path_option("--sheet", "Contact sheet to draw.  [default: FACESET-sheet.png]")
@options.seed_option("the faces of the contact sheet")
@options.json_option
def command(faceset: Path, sheet: Path | None, seed: int, as_json: bool) -> None:
    """Count a face set by split, label, source, group and size, and draw a contact sheet.

    \b
    Example:
      facetell inspect faces
      facetell inspect photos --sheet sheet.png     a picture folder works too
    """
    from facetell.api import inspect

    sheet = sheet or Path(f"{faceset.resolve().name}-sheet.png")
    options.print_result(inspect(faceset, sheet=sheet, seed=seed).as_dict(), as_json, print_summary)
