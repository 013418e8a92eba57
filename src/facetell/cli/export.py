"""``facetell export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("export")
@options.detector_argument
@options.out_option("Folder to write.")
@options.choice_option("--to", ("onnx", "openvino"), "What it is for.")
@click.option("--int8", is_flag=True, help="Compute in whole numbers of 8 bits: a quarter of the size.")
@options.path_option("--faceset", "For --int8: labelled faces to measure on.  [default: the replay buffer]")
@options.split_option("Of the face set, never test.", default="validation")
@options.value_option("--allow-loss", 0.003, "AUROC that --int8 may cost.", type=click.FloatRange(0, 1))
@options.seed_option("the faces that say how large numbers get")
@options.json_option
def command(detector: Path, out: Path, as_json: bool, **given: Any) -> None:
    """Write DETECTOR for programs that know nothing of facetell: model, preprocessing, thresholds, and an example.

    \b
    Example:
      facetell export starter --to onnx -o starter-onnx
      facetell export detector --int8 --faceset faces -o detector-int8
    """
    from facetell.api import export

    with Bars() as progress:
        found = export(detector, out, **given, progress=progress)
    options.print_result(found.as_dict(), as_json, _print)


def _print(found: dict[str, Any]) -> None:
    click.echo(f"{found['out']}: {found['bytes'] / 1e6:.1f} MB for {found['to']}{', int8' * found['int8']}")
    if found["auroc"]:
        before, after = found["auroc"]["before"], found["auroc"]["after"]
        click.echo(f"AUROC {before:.4f} → {after:.4f}, logits within {found['difference']:.2f}; measured anew:")
    click.echo("fake from " + ", ".join(f"{value:.4g} ({name})" for name, value in found["points"].items()))
