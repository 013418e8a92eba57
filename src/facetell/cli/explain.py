"""``facetell explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.cli.tables import print_explanation
from facetell.progress import Bars

__all__ = ["command"]

UNEXPLAINED = 6


@click.command("explain")
@options.detector_argument
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=options.PATH)
@options.out_option("Where the explanation goes.")
@options.split_option("Split of a face set.")
@options.value_option("--limit", 100, "Faces of each source and label of a face set.", type=click.IntRange(1))
@options.path_option("--masks", "Folder of the fakes' true regions: pointing game.")
@options.choice_option(
    "--faces",
    ("auto", "find", "crops"),
    "Look for faces in pictures, or take each as one face crop, as of detect.",
)
@options.frames_option(8)
@options.face_model_option(", as of detect")
@options.value_option("--sanity", 8, "Faces for the check with random weights.", type=click.IntRange(0))
@options.seed_option("faces and random weights")
@options.workers_option("Processes that read files.")
@options.device_option
@click.option("--json", "as_json", is_flag=True, help="For machines: what explain.json holds.")
@click.pass_context
def command(
    ctx: click.Context, /, detector: Path, paths: tuple[Path, ...], out: Path, as_json: bool, **given: Any
) -> None:
    """Draw where in faces a detector sees the fake.

    PATH is a file, a folder or a pattern, as of detect, and every face gets a picture: Grad-CAM, occlusion, and the
    attention maps of fdftnet. Or it is one face set, and every source gets its average maps. The report says whether
    the maps can be believed: with randomised weights they must change.

    \b
    Example:
      facetell explain detector photo.jpg -o explanation
      facetell explain detector faces --split test -o explanation
    """
    from facetell.api import explain

    with Bars() as progress:
        found = explain(detector, paths, out, **given, progress=progress)
    options.print_result(found.as_dict(), as_json, print_explanation, out)
    if found.left_out:
        click.echo(f"{len(found.left_out)} could not be explained", err=True)
        ctx.exit(UNEXPLAINED)
