"""``facetell inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.command("inspect")
@click.argument("faceset", type=click.Path(path_type=Path))
@click.option("--sheet", type=click.Path(path_type=Path), help="Contact sheet to draw.  [default: FACESET-sheet.png]")
@click.option("--seed", default=0, show_default=True, help="Draws the faces of the contact sheet.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(faceset: Path, sheet: Path | None, seed: int, as_json: bool) -> None:
    """Count a face set by split, label, source, group and size, and draw a contact sheet.

    \b
    Example:
      facetell inspect faces
      facetell inspect photos --sheet sheet.png     a picture folder works too
    """
    from facetell.api import inspect

    sheet = sheet or Path(f"{faceset.resolve().name}-sheet.png")
    result = inspect(faceset, sheet=sheet, seed=seed)
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
        return
    from facetell.cli.tables import print_summary

    print_summary(result.as_dict())
