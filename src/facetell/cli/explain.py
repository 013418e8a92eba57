"""``facetell explain``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]

UNEXPLAINED = 6


@click.command("explain")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the explanation goes.")
@click.option("--split", default="test", show_default=True, help="Split of a face set.")
@click.option("--limit", default=100, show_default=True, help="Faces of each source and label of a face set.")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of the fakes' true regions: pointing game.")
@click.option(
    "--faces",
    type=click.Choice(["auto", "find", "crops"]),
    default="auto",
    show_default=True,
    help="Look for faces in pictures, or take each as one face crop, as of detect.",
)
@click.option("--frames", default="8", show_default=True, help="Of a video: 8 (spread over time), 2s (every), all.")
@click.option("--face-model", metavar="NAME|FILE.onnx", help="Another face detector, as of detect.")
@click.option(
    "--sanity", type=click.IntRange(0), default=8, show_default=True, help="Faces for the check with random weights."
)
@click.option("--seed", default=0, show_default=True, help="Draws faces and random weights.")
@click.option("--workers", type=click.IntRange(1), help="Processes that read files.  [default: one per core]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="For machines: what explain.json holds.")
@click.pass_context
def command(
    ctx: click.Context,
    detector: Path,
    paths: tuple[Path, ...],
    out: Path,
    split: str,
    limit: int,
    masks: Path | None,
    faces: str,
    frames: str,
    face_model: str | None,
    sanity: int,
    seed: int,
    workers: int | None,
    device: str,
    as_json: bool,
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
        found = explain(
            detector, paths, out, split=split, limit=limit, masks=masks, faces=faces, frames=frames,
            face_model=face_model, sanity=sanity, seed=seed, workers=workers, device=device, progress=progress,
        )  # fmt: skip
    numbers = found.as_dict()
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
    else:
        from facetell.cli.tables import print_explanation

        print_explanation(numbers, out)
    if found.left_out:
        click.echo(f"{len(found.left_out)} could not be explained", err=True)
        ctx.exit(UNEXPLAINED)
