"""``facetell push``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("push")
@click.argument("item", type=options.PATH, metavar="DETECTOR|FACESET")
@click.argument("repository", metavar="OWNER/NAME")
@click.option(
    "--report", "reports", multiple=True, type=options.PATH, help="Results of evaluate for the card; again for more."
)
@click.option("--licence", metavar="NAME", help="Terms: a name of the hub's list (apache-2.0), or a text.")
@click.option("--public", is_flag=True, help="Anybody may read it.  [default: private]")
@click.option("--pictures", is_flag=True, help="Send pictures of faces: a face set, a replay buffer.")
@options.json_option
def command(item: Path, repository: str, as_json: bool, **given: Any) -> None:
    """Send a detector or a face set to a repository of the Hugging Face Hub, private unless told otherwise.

    It is checked whole first. The card gets metadata that the hub shows. Log in before: hf auth login, or HF_TOKEN.

    \b
    Example:
      facetell push detector me/swaps --report report
      facetell push faces me/faces --pictures
    """
    from facetell.api import push

    options.print_result(push(item, repository, **given).as_dict(), as_json, _print)


def _print(sent: dict[str, Any]) -> None:
    who = "private" if sent["private"] else "anybody may read it"
    click.echo(f"{sent['repository']}: {sent['what']}, {sent['files']} files, {sent['bytes'] / 1e6:.1f} MB; {who}")
