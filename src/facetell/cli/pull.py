"""``facetell pull``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.names import shown_name

__all__ = ["command"]


@click.command("pull")
@click.argument("repository", metavar="hf://OWNER/NAME[@REVISION]")
@options.out_option("Folder to write.")
@options.json_option
def command(repository: str, out: Path, as_json: bool) -> None:
    """Fetch a detector or a face set from the Hugging Face Hub, check it whole, and write it to a folder.

    Names and sizes are looked at before anything is fetched: what holds other files is refused. REVISION is a branch, a tag or
    a commit; the commit is said, and names the same bytes for ever.

    \b
    Example:
      facetell pull hf://me/swaps -o swaps
      facetell detect hf://me/swaps photo.jpg             without a folder of your own
    """
    from facetell.api import pull

    found = pull(repository, out)
    options.print_result(found.as_dict(), as_json, _print, out)


def _print(found: dict[str, Any], out: Path) -> None:
    size = f"{found['files']} files, {found['bytes'] / 1e6:.1f} MB"
    click.echo(f"{shown_name(str(out))}: {found['what']} {found['repository']}, whole; {size}")
