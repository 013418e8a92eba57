"""``facetell detectors``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from facetell.cli import options
from facetell.names import shown_name

if TYPE_CHECKING:
    from facetell.results import DetectorsResult

__all__ = ["command"]

_MB = 1e6
_SHOWN = 5


@click.command("detectors")
@options.json_option
def command(as_json: bool) -> None:
    """List the detectors that can be named: the one in the box, and those in the folder of detectors.

    The folder is FACETELL_DETECTORS, else ~/.local/share/facetell/detectors. A detector is put there by copying its folder.
    What a detector says of itself is shown; facetell verify checks one whole.

    \b
    Example:
      facetell detectors
      facetell detect starter photo.jpg
    """
    from facetell.api import detectors

    found = detectors()
    options.print_result({**found.as_dict(), "path": str(found.path)}, as_json, _print, found)


def _print(_values: object, found: DetectorsResult) -> None:
    for one in found.detectors:
        where = " (in the box)" if one.in_box else ""
        where += f", hidden by the one in {found.path}" if one.shadowed else ""
        click.echo(f"{shown_name(one.name)}{where}: {one.bytes / _MB:.1f} MB")
        if one.error:
            click.echo(f"  broken: {shown_name(one.error)}")
            continue
        click.echo(f"  method:  {shown_name(one.method)}{'' if one.calibrated else ', uncalibrated'}")
        click.echo(f"  kinds:   {_few(one.kinds)}")
        click.echo(f"  licence: {shown_name(one.licence or 'not said')}")
        click.echo(f"  date:    {shown_name(one.date)}")
    others = sum(not one.in_box for one in found.detectors)
    click.echo(f"{others or 'no'} detector{'s' * (others != 1)} in the folder {shown_name(str(found.path))}")


def _few(kinds: Sequence[str]) -> str:
    shown = ", ".join(map(shown_name, kinds[:_SHOWN]))
    more = f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
    return f"{shown}{more}" or "not said"
