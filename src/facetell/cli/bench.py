"""``facetell bench``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("bench")
@click.argument("spec")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where detectors and the table go.")
@click.option(
    "--data",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder that the bench's face sets and weights lie in.",
)
@click.option("--jobs", type=click.IntRange(1), help="Cells at a time.  [default: one per core; one with a GPU]")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(spec: str, out: Path, data: Path, jobs: int | None, as_json: bool) -> None:
    """Fit and measure a grid of detectors and set them in one table.

    SPEC is a TOML file, or the name of one that comes along: fdftnet, resnet50, features and cffn are the papers' own
    tables on a copy of their data sets, small is all four methods on small real face sets. Finished cells are never
    computed again: an interrupted run goes on when it is started again. A cell that fails is a row with its reason.

    \b
    Example:
      facetell bench fdftnet --data datasets -o runs/fdftnet
      facetell bench my-bench.toml --data datasets -o runs/mine --jobs 4
    """
    from facetell.api import bench

    with Bars() as progress:
        table = bench(spec, out, data=data, jobs=jobs, progress=progress)
    if as_json:
        click.echo(json.dumps(table.as_dict(), indent=2))
        return
    click.echo((out / "bench.md").read_text(encoding="utf-8"))
    click.echo(f"table: {out / 'bench.md'}, {out / 'bench.csv'}, {out / 'bench.json'}", err=True)
