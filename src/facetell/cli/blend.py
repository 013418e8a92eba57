"""``facetell blend``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("blend")
@click.argument("faceset", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the new face set goes.")
@click.option(
    "--kind",
    default="self-blended",
    show_default=True,
    metavar="KIND",
    help="self-blended: like face swaps; generated: like whole generated faces; both: half of each.",
)
@click.option("--draws", type=click.IntRange(1), default=2, show_default=True, help="Pairs made of each real face.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all dice.")
@click.option("--size", type=click.IntRange(16), help="Shrink larger crops to this many pixels.  [default: never]")
@click.option("--overwrite", is_flag=True, help="Replace a face set that is there.")
def command(faceset: Path, out: Path, kind: str, draws: int, seed: int, size: int | None, overwrite: bool) -> None:
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
        made = blend(
            faceset, out, kind=kind, draws=draws, seed=seed, size=size, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
    what = "made" if made.created else "there already"
    click.echo(f"{out}: {len(made):,} faces, half of them made fakes, splits {', '.join(made.splits)} ({what})")
    if "validation" not in made.splits:
        click.echo("note: no validation split, which `fit` needs: prepare the real faces with one", err=True)
