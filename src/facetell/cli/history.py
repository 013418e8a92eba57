"""``facetell history``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.cli import options
from facetell.cli.tables import print_history

__all__ = ["command"]


@click.command("history")
@options.detector_argument
@options.json_option
def command(detector: Path, as_json: bool) -> None:
    """Say what a detector was fitted on, and for each kind of fake it learned since: what was tried, chosen, and why.

    \b
    Example:
      facetell history adapted
    """
    from facetell.api import history

    options.print_result(history(detector).as_dict(), as_json, print_history)
