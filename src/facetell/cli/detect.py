"""``facetell detect``."""

from __future__ import annotations

import codecs
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facetell.buckets import is_bucket
from facetell.cli import options
from facetell.errors import DataError, UsageError
from facetell.ingest.delimited import encoding_of
from facetell.names import shown_name
from facetell.progress import Bars

if TYPE_CHECKING:
    from facetell.detector.verdict import Verdict

__all__ = ["command"]

UNJUDGED = 6


@click.command("detect")
@click.argument("words", nargs=-1, required=True, metavar="[DETECTOR] PATH...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with every face and track.")
@options.out_option("Write the JSON lines here; run again to judge what is missing or changed.", required=False)
@options.path_option("--annotate", "Folder for pictures: boxes, strips, clips, plots.")
@options.value_option("--at", "default", "Operating point that decides.", metavar="NAME")
@click.option("--prevalence", type=float, help="Share of fakes the scores are meant for.  [default: as calibrated on]")
@click.option(
    "--unlike", type=float, metavar="RATE",
    help="Call faces unsure that are unlike all the detector knows; RATE of the known ones are. 0: none.  [default: 0.01]",
)  # fmt: skip
@options.choice_option(
    "--faces",
    ("auto", "find", "crops"),
    "Look for faces in pictures, or take each as one face crop. auto: as fits the detector and the picture.",
)
@options.frames_option(32)
@options.face_model_option()
@options.workers_option()
@options.engine_option()
@options.device_option
@options.runtime_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    as_json: bool,
    out: Path | None,
    at: str,
    prevalence: float | None,
    unlike: float | None,
    annotate: Path | None,
    faces: str,
    frames: str,
    face_model: str | None,
    **given: Any,
) -> None:
    """Judge photos, videos and face crops.

    The first word is a DETECTOR if it names one (facetell detectors lists them) or is the folder of one; else all are
    PATHs, which must be there, and starter judges, the detector in the box.

    PATH is a file, a folder (searched to the bottom), a pattern, a file or folder in a bucket (s3://, gs://), or - for a
    list of paths on standard input, one a line. Every file gets a line: a verdict, or why there is none; the exit code
    is 6 if some have none. The score is the calibrated probability of fake. A detector with an unsure band
    (facetell threshold) says unsure within it, and every detector of faces unlike all it knows (--unlike).

    \b
    Example:
      facetell detect photo.jpg
      facetell detect detector photo.jpg clip.mp4 inbox/
      facetell detect detector inbox/ --json | jq -c 'select(.decision == "fake")'
      facetell detect detector inbox/ --at fpr=0.01 --prevalence 0.001
      find inbox -name '*.mp4' | facetell detect detector - -o verdicts.jsonl --annotate pictures
    """
    from facetell.api import detect
    from facetell.detector.many import Judging
    from facetell.detector.verdict_file import VerdictFile
    from facetell.files import locked
    from facetell.media.frame_choice import parse
    from facetell.media.walk import find_files

    choice = parse(frames)
    detector, paths = _told_apart(words)
    files = list(dict.fromkeys(str(path) for path in find_files(_listed(paths))))
    if not files and "-" in paths:
        click.echo("no file is listed on standard input", err=True)
        return
    if not files:
        where = ", ".join(shown_name(path) for path in paths)
        raise DataError(f"there is no file to judge in {where}", hint="give photos, videos or a folder that holds some")
    if out:
        files = [file for file in files if not _is(out, file)]
        ctx.with_resource(locked(out))  # who comes second waits here, and goes on with what is left
    file = ctx.with_resource(closing(VerdictFile(out))) if out else None
    left = files
    if file:
        said = Judging(str(detector), "", at, prevalence, faces, choice, face_model, unlike).settings()
        left = [path for path in files if not file.holds(path, said, annotate)]
    unjudged = shown = 0
    with Bars() as progress:
        verdicts = detect(
            detector, left, at=at, prevalence=prevalence, unlike=unlike, annotate=annotate, faces=faces, frames=frames,
            face_model=face_model, **given,
            progress=progress if out or not sys.stdout.isatty() else None,
        )  # fmt: skip
        try:
            for verdict in verdicts:
                unjudged += not verdict.judged
                if not shown and not as_json and not out:
                    click.echo(f"{'status':<15}{'score':>6}  {'threshold':>9}  path")
                shown += 1
                if file:
                    file.add(verdict)
                else:
                    _show(verdict, as_json)
        finally:
            verdicts.close()
    if len(left) < len(files):
        click.echo(f"{len(files) - len(left)} were judged before: see {out}", err=True)
    if unjudged:
        click.echo(f"{unjudged} could not be judged", err=True)
        ctx.exit(UNJUDGED)


def _told_apart(words: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """The detector and the paths: the first word is a detector where it is one, and else a path that must be there."""
    from facetell.detector.bundle import BOX, is_bundle, located, no_detector, read_description
    from facetell.detector.shelf import STARTER, is_broken_bundle, named
    from facetell.media.walk import find_files

    first, path = words[0], Path(words[0])
    detector = located(first)
    if is_bundle(detector):
        if len(words) == 1:
            raise UsageError(
                f"{first} is a detector: there is nothing to judge",
                hint=f"facetell detect {shlex.quote(first)} PATH...",
            )
        return detector, words[1:]
    if is_broken_bundle(path):
        read_description(path)  # says what is wrong with it
    there = first == "-" or is_bucket(first) or os.path.lexists(first)
    if there and first == path.name and named(first):
        raise UsageError(
            f"'{first}' is a detector, and something else in this folder",
            hint=f"./{first} is what lies here; or rename it",
        )
    if not there and not any(map(os.path.lexists, find_files([first]))):
        raise no_detector(path, what="detector and no file")
    starter = named(STARTER) or BOX / STARTER
    where = "the detector in the box" if starter.parent == BOX else f"in {starter.parent}"
    click.echo(f"judging by {STARTER}, {where}, as no detector is named", err=True)
    return starter, words


def _show(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(verdict.as_dict()))
        return
    about = f": {verdict.reason}" if verdict.reason else ""
    path = shown_name(verdict.path)
    if verdict.kind == "video" and verdict.judged:
        used = sum(face.used for face in verdict.faces)
        where = "" if verdict.window is None else f", most fake at {verdict.window[0]:.1f}–{verdict.window[1]:.1f} s"
        if where and len(verdict.streams) > 1:
            deciding = max((one for one in verdict.tracks if one.window == verdict.window), key=lambda one: one.logit)
            where += f" of stream {deciding.stream}"
        about = f" ({verdict.frames} frames, {used} faces, {len(verdict.tracks)} tracks{where}){about}"
    elif len(verdict.tracks) > 1:
        alone = max(track.score or 0.0 for track in verdict.tracks)
        said = f", corrected for; the most fake alone {alone:.3f}" if verdict.judged else ""
        about = f" ({len(verdict.tracks)} faces{said}){about}"
    if verdict.note:
        about = f"{about} [{verdict.note}]"
    if verdict.declared and verdict.declared.brief:
        about = f"{about} [{verdict.declared.brief}]"
    if verdict.judged:
        word = verdict.status if verdict.status == verdict.decision else f"{verdict.decision} ({verdict.status})"
        click.echo(f"{word:<15}{verdict.score:>6.3f}  {verdict.threshold:>9.3f}  {path}{about}")
    else:
        click.echo(f"{verdict.status:<15}{'–':>6}  {'–':>9}  {path}{about}")


def _listed(paths: tuple[str, ...]) -> Iterator[str]:
    """The paths, with those on standard input where one is ``-``."""
    for path in paths:
        if path == "-":
            yield from _names(sys.stdin.buffer.read())
        else:
            yield path


def _names(listed: bytes) -> Iterator[str]:
    """Names, one a line: bytes that need not be text, or UTF-16 or UTF-32 as PowerShell writes it; or with a zero byte
    after each, as ``find -print0`` gives them."""
    encoding = encoding_of(listed[:4])
    if encoding in ("utf-8", "utf-8-sig"):
        if b"\n\0" in listed or b"\0\n" in listed:
            raise UsageError(
                "the list on standard input is neither UTF-8 nor UTF-16 with its mark", hint="write it as UTF-8"
            )
        lines = listed.removeprefix(codecs.BOM_UTF8).split(b"\0" if b"\0" in listed else b"\n")
        yield from (os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip())
        return
    try:
        text = listed.decode(encoding)
    except UnicodeError as error:
        raise UsageError(
            f"the list on standard input is no {encoding.upper()}: {error}", hint="write it as UTF-8"
        ) from None
    yield from (line.rstrip("\r") for line in text.split("\n") if line.strip())


def _is(out: Path, file: str) -> bool:
    """Whether a file that was found is the list of verdicts itself."""
    return Path(file).name == out.name and out.exists() and Path(file).exists() and out.samefile(file)
