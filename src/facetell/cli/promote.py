"""``facetell promote``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("promote")
@click.argument("detector", type=options.PATH, required=False)
@click.option("--store", metavar="PATH", required=True, help="Store of the servers (facetell serve --store).")
@click.option("--now", is_flag=True, help="Put the detector in shadow into use.")
@click.option(
    "--back", is_flag=True, help="Undo the last step: end the shadow, else go back to what was in use before."
)
@options.json_option
def command(detector: Path | None, store: str, now: bool, back: bool, as_json: bool) -> None:
    """Have the servers on a store judge by DETECTOR: in shadow first, then in place of the old one.

    In shadow it judges what comes beside the one in use, and is not heard; where they differ is said here, at /v1/promotion
    and on /review of the server. Servers follow within seconds and lose no request. Without DETECTOR: how it stands.

    \b
    Example:
      facetell promote adapted --store verdicts.db
      facetell promote --store verdicts.db
      facetell promote --store verdicts.db --now
      facetell promote --store verdicts.db --back
    """
    from facetell.api import promote

    found = promote(detector, store=store, now=now, back=back)
    options.print_result(found.as_dict(), as_json, _print)


def _print(found: dict[str, Any]) -> None:
    current, shadow, differences = found["current"], found["shadow"], found["differences"]
    click.echo(f"in use     {_name(current) if current else 'what each server was started with'}")
    click.echo(f"in shadow  {_name(shadow) if shadow else 'none'}")
    if differences:
        changes = ", ".join(f"{change}: {count:,}" for change, count in differences["changes"].items())
        click.echo(
            f"{differences['files']:,} files judged by both, {differences['different']:,} decided otherwise"
            + (f" ({changes})" if changes else "")
        )
        if differences["labelled"]:
            click.echo(
                f"of {differences['labelled']:,} labelled photos the old one is right on {differences['old_right']:,}, "
                f"the new one on {differences['new_right']:,}"
            )


def _name(use: dict[str, Any]) -> str:
    refused = f"; a server refused it: {use['refused']}" if use["refused"] else ""
    return f"{use['name']} ({use['identity']}), by {use['who']}{refused}"
