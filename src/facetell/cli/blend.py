"""``facetell blend``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("blend")
@options.faceset_argument
@options.out_option("Where the new face set goes.")
@options.value_option(
    "--kind",
    "self-blended",
    "self-blended: like face swaps; generated: like whole generated faces; both: half of each.",
    metavar="KIND",
)
@options.value_option("--draws", 2, "Pairs made of each real face.", type=click.IntRange(1))
@options.value_option("--seed", 0, "Of all dice.", type=click.IntRange(0))
@click.option("--size", type=click.IntRange(16), help="Shrink larger crops to this many pixels.  [default: never]")
@click.option("--overwrite", is_flag=True, help="Replace a face set that is there.")
def command(faceset: Path, out: Path, **given: Any) -> None:
    """Make fakes from the real faces of a face set alone, to fit a detector on.

    The result is a face set of real and made fake faces in pairs, for `fit` as any other. Fakes of FACESET are not
    looked at; its test split is left out.

    \b
    Example:
      facetell blend faces -o blended
      facetell fit finetune blended -o detector
      facetell evaluate detector faces --split test -o report
    """
    from facetell.api import blend

    with Bars() as progress:
        made = blend(faceset, out, **given, progress=progress)
    what = "made" if made.created else "there already"
    click.echo(f"{out}: {len(made):,} faces, half of them made fakes, splits {', '.join(made.splits)} ({what})")
    if "validation" not in made.splits:
        click.echo("note: no validation split, which `fit` needs: prepare the real faces with one", err=True)
