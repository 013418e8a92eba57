"""``facetell keys``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facetell.cli import options

if TYPE_CHECKING:
    from facetell.results import KeysResult

__all__ = ["command"]


@click.command("keys")
@click.argument("path", type=options.PATH, metavar="FILE")
@click.option("--add", metavar="NAME", help="Make a key for NAME; it is printed once and kept nowhere.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(["judge", "review", "admin"]), default=["judge"],
    help="What the new key may do; may be given several times.  [default: judge]",
)  # fmt: skip
@click.option("--remove", metavar="NAME", help="Take NAME's key away; a running server refuses it at once.")
@options.json_option
def command(path: Path, add: str | None, scopes: tuple[str, ...], remove: str | None, as_json: bool) -> None:
    """List, add and remove the keys that facetell serve --keys FILE asks for. FILE holds hashes, no keys.

    \b
    Example:
      facetell keys keys.json --add newsroom
      facetell keys keys.json --add operator --scope judge --scope admin
      facetell keys keys.json --remove newsroom
    """
    from facetell.api import keys

    found = keys(path, add=add, scopes=scopes, remove=remove)
    options.print_result({**found.as_dict(), "path": str(found.path)}, as_json, _print, found)


def _print(_values: object, found: KeysResult) -> None:
    if found.key is not None:
        click.echo(found.key)
        click.echo("this is the key: it is not shown again", err=True)
        return
    if not found.keys:
        click.echo(f"there is no key in {found.path}", err=True)
    for key in found.keys:
        click.echo(f"{key['name']:<24}  {','.join(key['scopes']):<18}  {key['created']}")
