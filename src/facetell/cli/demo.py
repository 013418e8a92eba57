"""``facetell demo``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("demo")
@click.option("-o", "--out", default="demo", show_default=True, type=options.PATH, help="Where it goes.")
@options.value_option("--shots", 100, "Images per class to learn from.", type=click.IntRange(min=4))
@options.seed_option("the people and everything else")
def command(out: Path, shots: int, seed: int) -> None:
    """See the whole way on drawn faces: no download, no data of your own, a few minutes on two cores.

    A baseline learns one kind of forgery, meets another, and FDFtNet learns that from a few pictures.

    \b
    Example:
      facetell demo
      facetell demo -o /tmp/demo --shots 50
    """
    from facetell.api import demo

    began = time.monotonic()
    with Bars() as progress:
        result = demo(out, shots=shots, seed=seed, progress=progress)
    low, high = result.interval["before"]
    low_after, high_after = result.interval["after"]
    click.echo(
        f"""
AUROC on people never seen in training (0.5 is chance; 95% intervals over people):
  the kind the baseline was trained on            {result.known:.3f}
  the new kind, before                            {result.before:.3f}  ({low:.3f} to {high:.3f})
  the new kind, FDFtNet after {result.shots:3d} shots per class  {result.after:.3f}  ({low_after:.3f} to {high_after:.3f})

These are drawn faces, not photographs: the numbers show that the machinery works, and say nothing about real fakes.

report:    {result.report}
detector:  {out / "detector"}
try:       facetell detect {out / "detector"} {out / "pictures" / "fake"}
took {time.monotonic() - began:.0f} s"""
    )
