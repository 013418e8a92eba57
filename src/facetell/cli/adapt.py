"""``facetell adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.cli.tables import print_adaptation
from facetell.progress import Bars

__all__ = ["command"]


@click.command("adapt")
@options.detector_argument
@options.path_option("--fake", "Folder of new fakes (pictures, photos, videos), or a face set.")
@options.path_option("--real", "Folder of reals from where the fakes were found.")
@options.choice_option(
    "--faces",
    ("auto", "find", "crops"),
    "find: look for faces in photos and videos; crops: every picture is a face crop; auto: find, if there are videos.",
)
@click.option("--store", metavar="PATH", help="Learn from the faces in a server's store that people labelled.")
@click.option("--kind", metavar="NAME", help="For --store: only fakes of this kind, as reviewers called it.")
@click.option("--shots", type=click.IntRange(min=1), help="Learn from this many fakes only.")
@options.out_option("Where the new detector goes.")
@options.value_option("--strategy", "auto", "How to learn; auto tries all by cross-validation.")
@click.option("--backbone", help="Second backbone of the strategy expert. Default: like the detector's own.")
@click.option("--pretrained", help="Its weights: library, FILE.safetensors or a detector.")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of its crops in pixels. Default: the detector's.")
@options.value_option("--margin", 0.01, "How far the AUROC on old faces may fall.")
@click.option("--trust-labels", is_flag=True, help="Also learn labels that the old detector ranks the wrong way round.")
@options.seed_option("shots, folds, order and augmentation")
@options.device_option
@options.json_option
def command(detector: Path, out: Path, as_json: bool, **given: Any) -> None:
    """Teach DETECTOR a new kind of fake from a few examples and write a new detector, if it passes the acceptance checks.

    The AUROC must rise on new faces that were held out, fall on old ones by no more than the margin (only a detector with a
    replay buffer can tell: facetell remember), and what was learned must be no border, colour or compression.

    Without --real, reals of the replay buffer stand in; without --fake, fakes are blended from the reals.

    \b
    Example:
      facetell remember detector faces
      facetell adapt detector --fake monday/fakes --real monday/reals -o adapted
      facetell history adapted
      facetell adapt detector --store verdicts.db --kind swap -o adapted
    """
    from facetell.api import adapt
    from facetell.errors import AcceptanceError

    try:
        with Bars() as progress:
            result = adapt(detector, out, **given, progress=progress)
    except AcceptanceError as refused:
        options.print_result(refused.record, as_json, print_adaptation, None)
        raise
    options.print_result(result.as_dict(), as_json, print_adaptation, out)
