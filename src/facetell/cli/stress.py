"""``facetell stress``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("stress")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("faceset", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the report goes.")
@click.option("--split", default="test", show_default=True, help="Split to measure on.")
@click.option("--only", metavar="NAME,...", help="These corruptions, such as jpeg,blur.  [default: all]")
@click.option("--at", metavar="NAME", help="Operating point that decides.  [default: the detector's own]")
@click.option("--seed", default=0, show_default=True, help="Draws noise, screenshot crops and intervals.")
@click.option("--workers", type=click.IntRange(1), help="Threads that corrupt.  [default: one per core]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    detector: Path,
    faceset: Path,
    out: Path,
    split: str,
    only: str | None,
    at: str | None,
    seed: int,
    workers: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure a detector on compressed, resized, filmed and posted faces.

    Nine corruptions in five strengths each: jpeg, rejpeg, resize, blur, noise, gamma, h264, screenshot, social. The
    report has AUROC, and recall and FPR at the detector's threshold, for each of them, with curves and one number.

    \b
    Example:
      facetell stress detector faces -o stress
      facetell stress detector faces --only jpeg,social -o stress
    """
    from facetell.api import stress

    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    with Bars() as progress:
        found = stress(
            detector, faceset, out, split=split, only=names, at=at, seed=seed, workers=workers, device=device,
            progress=progress,
        )  # fmt: skip
    numbers = found.as_dict()
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
        return
    from facetell.cli.tables import print_stress

    print_stress(numbers, out)
