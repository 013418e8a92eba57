"""What may be said of suspected new clusters: sentences, their part of ``watch.md``, and contact sheets of faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from facetell.detector.look import SIDE
from facetell.reporting.comparison_page import p_value
from facetell.reporting.markdown import table, text

__all__ = ["BLIND", "NEXT", "SIDE", "cluster_sentences", "contact_sheet", "render_look"]

COLUMNS = 6
GAP, LINE = 6, 18
STANDS_OUT = 2.0
"""Of which multiple of the whole's share a batch is named."""

BLIND = (
    "Looking at faces sees only what the detector's own backbone tells apart, and says that something is new, not that it is "
    "fake."
)

NEXT = (
    "look at {pictures}: another camera, crop or person that is new here does this as well as a new kind of fake. If they "
    "are fakes, label a few, put these into a folder, and adapt: facetell adapt {detector} --fake FOLDER -o NEW"
)


def contact_sheet(faces: Sequence[tuple[npt.NDArray[np.uint8], float]]) -> Image.Image:
    """Faces (`SIDE`, `SIDE`, 3) in rows of six, the score below each."""
    columns = min(COLUMNS, len(faces))
    across, down = SIDE + GAP, SIDE + LINE + GAP
    sheet = Image.new("RGB", (columns * across + GAP, -(-len(faces) // columns) * down + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (face, score) in enumerate(faces):
        left, top = GAP + place % columns * across, GAP + place // columns * down
        sheet.paste(Image.fromarray(face), (left, top))
        draw.text((left + SIDE / 2, top + SIDE + 2), f"score {score:.2f}", fill="#222222", font=font, anchor="ma")
    return sheet


def cluster_sentences(look: Mapping[str, Any]) -> list[str]:
    """What looking at the faces found, the clusters first."""
    opened, drawn = look["opened"], look["drawn"]
    lost = f"{drawn - opened:,} of the {drawn:,} files to look at could not be opened any more, or have no face now."
    tail = [lost] if drawn > opened else []
    if look["far"] is None:
        return [f"Only {opened:,} files could be looked at: too few to find new faces.", *tail]
    if not look["clusters"]:
        return [f"No new cluster of faces is seen in {opened:,} files that were looked at.", *tail]
    return [*(_of_cluster(cluster, opened) for cluster in look["clusters"]), *tail]


def _of_cluster(cluster: Mapping[str, Any], opened: int) -> str:
    share, known = cluster["share"], cluster["known"]
    called = f"{cluster['fake']['value']:.0%} of them are called fake"
    if cluster["unsure"]["hits"]:
        called += f" and {cluster['unsure']['value']:.0%} unsure"
    named = [
        f"{batch['name']} ({batch['value']:.0%})"
        for batch in cluster["batches"]
        if batch["value"] >= STANDS_OUT * share["value"] and batch["low"] > share["value"]
    ]
    times = f", at least {cluster['times']:.1f} times as many" if cluster["times"] > 1 else ""
    where = f" It stands out in {', '.join(named)}." if named else ""
    return (
        f"A suspected new cluster of faces: {share['hits']:,} of {opened:,} files ({share['value']:.1%}, "
        f"{share['low']:.1%} to {share['high']:.1%}) lie together where {known['hits']} of {known['n']} known faces do"
        f"{times} ({p_value(cluster['p'])}); {called}.{where}"
    )


def render_look(look: Mapping[str, Any], pictures: Sequence[str]) -> list[str]:
    """The paragraphs of ``watch.md``; ``pictures`` are the files beside it."""
    parts = ["## Faces far from all known ones", BLIND]
    if look["far"]:
        far = look["far"]
        parts.append(
            f"Far from the known faces: {far['value']:.1%} of the files ({far['low']:.1%}–{far['high']:.1%}); as many as "
            f"{far['expected']:.0%} would be expected of known kinds."
        )
    for cluster in look["clusters"]:
        parts.append(f"### Suspected cluster {cluster['number']}")
        if cluster["picture"] in pictures:
            parts.append(f"![Faces nearest the centre of cluster {cluster['number']}]({cluster['picture']})")
        parts += [_numbers(cluster), _batches(cluster)]
        parts += ["Nearest its centre:", "\n".join(f"- {text(path)}" for path in cluster["examples"])]
    reference = look["reference"]
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in look["gone"]["reasons"].items())
    rows = [
        ["files", f"{look['opened']:,} opened of {look['drawn']:,} drawn of {look['files']:,} judged"],
        *([["not opened", text(f"{reasons}; such as {', '.join(look['gone']['examples'])}")]] if reasons else []),
        [
            "known faces",
            f"{reference['faces']:,} of validation, as points in {reference['dimensions']} dimensions of the detector's "
            f"backbone; far by the distance to the {reference['neighbours']}th nearest",
        ],
        [
            "p",
            "of as many files nearer than the 1st, 3rd or 10th known real and fake face; adjusted for all files (Bonferroni)",
        ],
    ]
    return [*parts, table(["", ""], rows)]


def _numbers(cluster: Mapping[str, Any]) -> str:
    rows = [
        ["share of the files", _percent(cluster["share"])],
        ["share of the known faces", _percent(cluster["known"])],
        ["mean score", f"{cluster['score']:.2f}"],
        ["called fake", _percent(cluster["fake"])],
        ["unsure", _percent(cluster["unsure"])],
        ["fakes among the nearest known faces", f"{cluster['near_fakes']:.0%}"],
        ["p, adjusted", p_value(cluster["p"])],
    ]
    return table(["", ""], rows)


def _batches(cluster: Mapping[str, Any]) -> str:
    rows = [[text(batch["name"]), _percent(batch)] for batch in cluster["batches"]]
    return table(["batch", "share of its files in the cluster"], rows)


def _percent(share: Mapping[str, Any]) -> str:
    return f"{share['value']:.1%} ({share['low']:.1%}–{share['high']:.1%}), {share['hits']:,} of {share['n']:,}"
