"""``facetell prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("prepare")
@click.argument("source", type=options.PATH)
@options.out_option("Where the face set goes.")
@options.seed_option("the splits that the source leaves open")
@options.choice_option(
    "--subfolders",
    ("group", "source"),
    "What folders below real/ and fake/ mean: a video or person whose pictures stay together, or a generator.",
)
@options.choice_option(
    "--faces",
    ("auto", "find", "crops"),
    "find: look for faces in photos and videos; crops: every picture is a face crop; auto: find, if there are videos.",
)
@click.option(
    "--layout", metavar="NAME", help="A data set as downloaded, see `facetell sources`.  [default: recognised]"
)
@click.option("--option", "layout_options", multiple=True, metavar="KEY=VALUE", help="Of the layout: compression=c23.")
@options.frames_option(32)
@options.value_option("--margin", 1.3, "Side of the crop over the side of the face.")
@click.option("--align", is_flag=True, help="Turn and scale faces by their landmarks.")
@options.value_option("--crop-size", 512, "Larger crops are shrunk to this many pixels; 0: never.")
@click.option("--jpeg", type=click.IntRange(1, 100), help="Store crops as JPEG of this quality.  [default: PNG]")
@options.value_option("--min-face", 32.0, "Smallest side of a face in pixels.")
@options.value_option("--min-quality", 0.25, "Smallest quality of a face, 0 to 1.")
@click.option("--largest", is_flag=True, help="Only the largest face of each frame: bystanders are not fakes.")
@options.face_model_option()
@options.workers_option()
@options.engine_option()
@click.option("--overwrite", is_flag=True, help="Replace a face set that is there.")
def command(
    source: Path,
    out: Path,
    layout_options: tuple[str, ...],
    frames: str,
    margin: float,
    align: bool,
    crop_size: int,
    jpeg: int | None,
    min_face: float,
    min_quality: float,
    largest: bool,
    face_model: str | None,
    **given: Any,
) -> None:
    """Turn face pictures, photos, videos or a whole data set into a face set.

    SOURCE is a folder with real/ and fake/ (other usual spellings work; train/, validation/, test/ above them too), a
    CSV or Parquet index with the columns path,label and optionally group,source,split, or the folder of a data set as
    it is downloaded (`facetell sources`); all may lie in a bucket (s3://, gs://). A run on photos and videos that was
    interrupted goes on when started again.

    \b
    Example:
      facetell prepare photos -o faces
      facetell prepare videos -o faces --frames 2s --workers 8
      facetell prepare FaceForensics++ -o faces --option compression=c23 --largest
    """
    from facetell.api import prepare
    from facetell.faces.crop import CropGeometry
    from facetell.faces.finding import Finding
    from facetell.faces.quality import FaceRule
    from facetell.ingest.extract import Extraction
    from facetell.media.frame_choice import parse

    geometry = CropGeometry(margin=margin, align=align, size=crop_size or None)
    finding = Finding(geometry, FaceRule(min_side=min_face, min_quality=min_quality), face_model)
    extraction = Extraction(finding, parse(frames), jpeg, largest)
    with Bars() as progress:
        faceset = prepare(
            source, out, options=dict(map(_pair, layout_options)), extraction=extraction, **given, progress=progress
        )
    info: dict[str, Any] = faceset.info
    click.echo(f"{out}: {len(faceset):,} faces, splits {', '.join(faceset.splits)}")
    for note in info.get("notes", []):
        click.echo(f"note: {note}", err=True)
    if "media" in info:
        _account(info["media"])
    skipped: dict[str, int] = info["skipped"]
    if skipped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in skipped.items())
        what = "frames, faces and files" if "media" in info else "files"
        click.echo(f"left out {sum(skipped.values()):,} {what} ({reasons}): see {out / 'skipped.csv'}", err=True)


def _account(media: dict[str, Any]) -> None:
    """One line that adds up: every file had faces, had none, or could not be used."""
    unusable = sum(media["unusable"].values())
    click.echo(
        f"{media['files']:,} files ({media['pictures']:,} pictures, {media['videos']:,} videos): "
        f"{media['with_faces']:,} with faces, {media['without_faces']:,} without, {unusable:,} unusable; "
        f"{media['frames']:,} frames, {media['faces']:,} faces"
    )
    for note, files in media["notes"].items():
        click.echo(f"note: {note} ({files:,} files)", err=True)


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise click.BadParameter(f"{text} is not KEY=VALUE", param_hint="--option")
    return key, value
