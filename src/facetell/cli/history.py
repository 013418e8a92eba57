"""``facetell history``."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.command("history")
@click.argument("detector", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(detector: Path, as_json: bool) -> None:
    """Say what a detector was fitted on, and for each kind of fake it learned since: what was tried, chosen, and why.

    \b
    Example:
      facetell history adapted
    """
    from facetell.api import history
    from facetell.cli.tables import print_history

    found = history(detector)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    print_history(found.fitted, found.adapted)
