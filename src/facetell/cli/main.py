"""The ``facetell`` command: lists the verbs, turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys

import click

from facetell.allocator import tune_allocator
from facetell.errors import FacetellError, near_miss
from facetell.files import FULL
from facetell.pixels import hide_metadata_warnings
from facetell.progress import LogHandler
from facetell.threads import usable_cores

__all__ = ["main"]

VERBS = {
    "prepare": "Turn face pictures, photos, videos or a data set into a face set.",
    "inspect": "Count a face set and draw a contact sheet.",
    "join": "Write several face sets as one.",
    "blend": "Make fakes from real faces alone, to fit a detector on.",
    "fit": "Fit a detector on a face set.",
    "threshold": "Choose when a detector says fake, and when it is unsure.",
    "calibrate": "Fit anew how a detector's logits become probabilities.",
    "evaluate": "Measure a detector on a labelled face set.",
    "audit": "Find leaks and shortcuts in a face set, and where a detector's errors cluster.",
    "bench": "Fit and measure a grid of detectors, the papers' tables among them.",
    "report": "Put results into one HTML page.",
    "compare": "Say whether detectors differ on the same faces.",
    "detect": "Judge photos, videos and face crops.",
    "export": "Write a detector for programs that know nothing of facetell.",
    "serve": "Serve verdicts over HTTP.",
    "keys": "List, add and remove the keys to a server.",
    "promote": "Have servers judge by another detector: in shadow first, then in use, and back.",
    "remember": "Keep a few old faces in a detector, so that adapting costs nothing old.",
    "adapt": "Teach a detector a new kind of fake from a few examples.",
    "history": "Say what a detector was fitted on and has learned since.",
    "watch": "Say whether what a detector judges still looks like what it was fitted on.",
    "explain": "Draw where in faces a detector sees the fake.",
    "stress": "Measure a detector on compressed, resized, filmed and posted faces.",
    "verify": "Check a detector whole, and who signed it.",
    "sign": "Sign a detector with a key of your own.",
    "detectors": "List the detectors that can be named.",
    "push": "Send a detector or a face set to the Hugging Face Hub.",
    "pull": "Fetch a detector or a face set from the Hugging Face Hub.",
    "cache": "List or clear what is kept to be quick the next time.",
    "sources": "List the data sets that are understood as downloaded.",
    "methods": "List detection methods and their settings.",
    "demo": "See it work on drawn faces, with no download.",
}

EPILOG = """\b
Example:
  facetell detect suspicious.jpg                by the detector in the box
  facetell prepare photos -o faces              photos/real, photos/fake
  facetell fit finetune faces -o baseline
  facetell fit fdftnet faces --set pretrained=baseline --shots 100 -o detector
  facetell evaluate detector faces --split test -o report
  facetell detect detector suspicious.jpg

\b
Exit codes: 0 done, 1 other failure, 2 wrong usage or setting, 3 data, 4 detector damaged or
not there, 5 optional part missing, 6 some files could not be judged or explained, 7 not accepted: adapt's
checks were not passed, or int8 loses too much, 130 interrupted.
"""


class _Verbs(click.Group):
    """Loads a verb's file only when the verb is called, so that ``--help`` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            raise click.UsageError(f"no command '{cmd_name}'{near_miss(cmd_name, VERBS)}")
        command: click.Command = importlib.import_module(f"facetell.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="facetell")
def facetell() -> None:
    """Detect fake face images, and learn a new kind of fake from a few examples."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit. Errors with a known cause become two lines and an exit code, never a traceback."""
    # torch's threads spin for long when they wait, which starves them where others use the machine: 9 images/s instead
    # of 130 was seen. A short spin is as fast on an idle one. Must be set before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    cores = usable_cores()
    if cores < (os.cpu_count() or 1):  # torch knows nothing of a container's share of the cores
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    tune_allocator()
    handler = LogHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("facetell")
    logger.handlers = [handler]  # and not that of an earlier call, whose stderr may be closed
    logger.setLevel(logging.INFO)
    hide_metadata_warnings()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 costs a character, not the work
    try:
        code = facetell.main(args=arguments, standalone_mode=False)
    except FacetellError as error:
        _fail(error.message, error.hint, error.exit_code)
    except click.exceptions.Abort:
        _fail("interrupted", None, 130)
    except KeyboardInterrupt:
        _fail("interrupted", None, 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: not an error of ours
        sys.exit(0)
    except OSError as error:
        if error.errno not in FULL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer has nowhere to go
        _fail("the disk is full: the output could not be written", "free some space, or give another disk", 3)
    sys.exit(code if isinstance(code, int) else 0)


def _open_closed_streams() -> None:
    """Connect to nowhere what whoever started this has closed (``>&-``): output would fail, and workers not start."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _fail(message: str, hint: str | None, code: int) -> None:
    with contextlib.suppress(OSError):  # there may be nowhere to say it
        click.echo(f"error: {message}", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)
    sys.exit(code)
