"""``facetell sources``."""

from __future__ import annotations

import json
import textwrap

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("sources")
@click.argument("name", required=False)
@options.json_option
def command(name: str | None, as_json: bool) -> None:
    """List the data sets that are understood as downloaded, with the folders each must have.

    \b
    Example:
      facetell sources
      facetell sources faceforensics
    """
    from facetell.api import sources

    chosen = sources(name)
    if as_json:
        click.echo(
            json.dumps(
                {
                    layout.name: {
                        "title": layout.title,
                        "homepage": layout.homepage,
                        "licence": layout.licence,
                        "groups": layout.groups,
                        "tree": layout.tree.strip("\n"),
                        "options": {
                            option.name: {"choices": option.choices, "doc": option.doc} for option in layout.options
                        },
                    }
                    for layout in chosen
                },
                indent=2,
            )
        )
        return
    for layout in chosen:
        click.echo(f"{layout.name}: {layout.title}")
        click.echo(textwrap.indent(layout.tree.strip("\n"), "  "))
        if name:
            click.echo(f"\ngroups: {layout.groups}\nto be had: {layout.licence}, {layout.homepage}")
            for option in layout.options:
                click.echo(f"{option.name}: {option.doc}; all (default), or some of {','.join(option.choices)}")
        click.echo("")
