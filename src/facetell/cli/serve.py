"""``facetell serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("serve")
@click.argument("detector", type=options.PATH, default="starter")
@options.value_option("--host", "127.0.0.1", "Address to listen on; others than this machine's own need --keys.")
@options.value_option("--port", 8000, "Port; 0: a free one.", type=click.IntRange(0, 65_535))
@options.path_option("--keys", "File of keys that requests need (facetell keys).")
@options.value_option("--at", "default", "Operating point that decides.", metavar="NAME")
@click.option("--prevalence", type=float, help="As of detect.")
@click.option("--unlike", type=float, metavar="RATE", help="As of detect.")
@options.choice_option("--faces", ("auto", "find", "crops"), "As of detect.")
@options.frames_option(32)
@options.face_model_option()
@options.workers_option("Processes that judge.")
@options.value_option("--max-mb", 64, "Megabytes of a request.", type=click.IntRange(1))
@options.value_option("--max-seconds", 600.0, "Length of a video.", type=click.FloatRange(0))
@options.value_option("--queue", 256, "Files that may wait.", type=click.IntRange(1))
@options.value_option("--rate", 0, "Files a minute for each key; 0: as many as come.", type=click.IntRange(0))
@click.option("--store", metavar="PATH", help="Keep verdicts here: a file, or postgresql://USER@HOST/DATABASE.")
@click.option(
    "--keep-crops", type=float, metavar="DAYS", help="Keep faces in the store, so that people can label them."
)
@click.option(
    "--keep-verdicts", type=float, metavar="DAYS", help="Remove verdicts from the store after that; labels stay."
)
@click.option(
    "--fetch-from", metavar="HOST", multiple=True, help="Take addresses of files there; *.example.org, several times."
)
@options.path_option("--certificate", "For TLS: PEM.")
@options.path_option("--private-key", "Of the certificate: PEM.")
@options.device_option
@options.runtime_option
def command(detector: Path, **given: Any) -> None:
    """Serve verdicts over HTTP: send photos, crops and videos, get what detect says.

    DETECTOR is by default the one in the box. SIGHUP has it read again. What a client sends is deleted once it is judged.
    Verdicts are kept in memory, or with --store beyond a restart.

    \b
    Example:
      facetell serve
      facetell keys keys.json --add newsroom
      facetell serve detector --store verdicts.db --keep-crops 30
      facetell serve detector --host 0.0.0.0 --keys keys.json
      curl -H "Authorization: Bearer $KEY" -F file=@photo.jpg http://localhost:8000/v1/verdicts
    """
    from facetell.allocator import share_one_arena
    from facetell.api import serve

    share_one_arena()
    serve(detector, **given)
