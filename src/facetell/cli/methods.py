"""``facetell methods``."""

from __future__ import annotations

import json

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("methods")
@click.argument("name", required=False)
@options.json_option
def command(name: str | None, as_json: bool) -> None:
    """List detection methods with their settings, defaults and presets.

    \b
    Example:
      facetell methods
      facetell methods fdftnet
    """
    from facetell.api import list_methods
    from facetell.methods import get_method
    from facetell.settings import describe

    chosen = [get_method(name)] if name else list_methods()
    if as_json:
        click.echo(
            json.dumps(
                {
                    method.name: {
                        "summary": method.summary,
                        "settings": {
                            info.name: {"default": info.default, "accepts": info.accepts, "doc": info.doc}
                            for info in describe(method.settings)
                        },
                        "presets": {preset: dict(layer) for preset, layer in method.presets.items()},
                    }
                    for method in chosen
                },
                indent=2,
            )
        )
        return
    for method in chosen:
        click.echo(f"{method.name}: {method.summary}")
        for info in describe(method.settings):
            click.echo(f"  {info.name:<16} {info.default!s:<14} {info.doc} ({info.accepts})")
        for preset, layer in method.presets.items():
            click.echo(f"  preset {preset}: {', '.join(f'{key}={value}' for key, value in layer.items())}")
        click.echo("")
