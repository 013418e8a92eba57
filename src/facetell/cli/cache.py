"""``facetell cache``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from facetell.cli import options

if TYPE_CHECKING:
    from facetell.results import CacheResult

__all__ = ["command"]

_GB = 1e9


@click.command("cache")
@click.option("--clear", is_flag=True, help="Remove all but face sets that are open in another process.")
@options.json_option
def command(clear: bool, as_json: bool) -> None:
    """List what is kept to be quick the next time: decoded pictures, features, face sets made of plain folders.

    It lies in FACETELL_CACHE, else in ~/.cache/facetell. What was used least recently goes when there is more than
    FACETELL_CACHE_GB (50). Clearing it loses nothing but time.

    \b
    Example:
      facetell cache
      facetell cache --clear
    """
    from facetell.api import cache

    found = cache(clear_all=clear)
    options.print_result({**found.as_dict(), "path": str(found.path)}, as_json, _print, found)


def _print(_values: object, found: CacheResult) -> None:
    for entry in found.entries:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["used"]))
        click.echo(f"{entry['bytes'] / _GB:>9.3f} GB  {day}  {entry['kind']:<16}  {entry['name']}")
    if found.removed:
        click.echo(f"{len(found.removed)} removed")
    click.echo(f"{found.bytes / _GB:>9.3f} GB of {found.limit / _GB:g} GB in {found.path}")
