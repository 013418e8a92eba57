"""The page of an explanation for people: ``report.md`` from what ``explain.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facetell.reporting.markdown import flat, table, text

__all__ = ["believable", "pointed", "render"]


def believable(title: str, levels: Mapping[str, Mapping[str, Any]], limit: float) -> str:
    """The sentence that the sanity check of one kind of map allows."""
    found = levels["all"]
    if found["strength"] is None:
        return f"{title}: every map is flat, so nothing can be said."
    numbers = f"mean absolute rank correlation {found['strength']:.2f} (n = {found['n']})"
    if found["strength"] > limit:
        return (
            f"{title} looks much the same with randomised weights, {numbers}: it shows the picture, not the detector."
        )
    return f"randomised weights change {title}, {numbers}, as they should."


def pointed(title: str, game: Mapping[str, Any]) -> str:
    """The sentence that a pointing game allows."""
    verdict = "no better than chance"
    if game["low"] > game["chance"]:
        verdict = "better than chance"
    elif game["high"] < game["chance"]:
        verdict = "worse than chance"
    return (
        f"{title} points into the forged region of {game['hits']:,} of {game['n']:,} fakes: {game['rate']:.1%} "
        f"({game['low']:.1%} to {game['high']:.1%}), {verdict} ({game['chance']:.1%})."
    )


def _number(value: float | None, style: str = ".2f") -> str:
    return "–" if value is None else format(value, style)


def _maps(explanation: Mapping[str, Any]) -> str:
    rows = [[kind["title"], text(kind["made"])] for kind in explanation["kinds"].values()]
    return table(["map", "how"], rows)


def _sanity(explanation: Mapping[str, Any]) -> list[str]:
    sanity = explanation["sanity"]
    if not sanity:
        return ["Not done (`--sanity 0`)."]
    rows = []
    for key, levels in sanity["kinds"].items():
        cells = [explanation["kinds"][key]["title"]]
        for level in ("head", "all"):
            # The head does not reach into an attention map: that it stays the same there says nothing.
            silent = level == "head" and not explanation["kinds"][key]["signed"]
            cells += ["–", "–"] if silent else [_number(levels[level][name]) for name in ("mean", "strength")]
        rows.append([*cells, str(levels["all"]["n"])])
    sentences = [f"- {text(sentence)}" for sentence in sanity["sentences"]]
    head = ["map", "head: mean", "absolute", "all: mean", "absolute", "faces"]
    return [
        "Rank correlation of each map with that of the same network after its weights were shuffled: those behind the "
        "backbone, then all. A map that hardly changes shows the picture's edges, not the detector's reasons (Adebayo et "
        "al. 2018).",
        "\n".join(sentences),
        table(head, rows, numbers=5),
    ]


def _sources(explanation: Mapping[str, Any]) -> list[str]:
    kinds = explanation["kinds"]
    rows = [
        [
            text(row["source"]),
            row["label"],
            f"{row['n']:,}",
            f"{row['score']:.2f}",
            f"{row['called_fake']:.0%}",
            *(_number(row["centre"][key], ".0%") for key in kinds),
        ]
        for row in explanation["sources"]
    ]
    head = ["source", "label", "faces", "mean score", "called fake", *(kind["title"] for kind in kinds.values())]
    parts = [
        f"Under each map: the share of it in an ellipse round the middle, which has {explanation['centre_area']:.0%} of "
        "the picture. In a close crop that is eyes, nose and mouth.",
        table(head, rows, numbers=len(head) - 2),
    ]
    for row in explanation["sources"]:
        name = f"{text(row['source'])}, {row['label']}"
        parts += [f"### {name}", f"![mean maps of {name}]({row['picture']})", f"![ends of {name}]({row['ends']})"]
    return parts


def _faces(explanation: Mapping[str, Any]) -> list[str]:
    parts = []
    for face in explanation["faces"]:
        when = "" if face["time"] is None else f", {face['time']:.2f} s"
        where = "" if face["box"] is None else f", face at {', '.join(f'{value:.0f}' for value in face['box'])}"
        parts.append(f"### {text(face['path'])}{when}{where}")
        parts.append(f"**{face['decision']}**, score {face['score']:.3f}, logit {face['logit']:+.2f}")
        parts.append(f"![maps]({face['picture']})")
    return parts


def render(explanation: Mapping[str, Any]) -> str:
    """Return the Markdown page of what `facetell.explanation.writing.write_explanation` returns."""
    n = len(explanation["faces"])
    what = "a face set, by source" if explanation["sources"] else "files"
    parts = [
        f"# What {text(explanation['detector'])} looks at",
        f"{n:,} face{'s' * (n != 1)} of {what}. In Grad-CAM and occlusion **red-orange speaks for fake, blue for real**; "
        "each column has its own scale, written below it. Maps say where a network's answer comes from, not whether it is "
        "right, and not why.",
    ]
    if explanation["warnings"]:
        notes = [f"> **Note:** {text(warning)}\n>" for warning in explanation["warnings"]]
        parts.append("\n".join(notes).removesuffix("\n>"))
    parts += ["## Can the maps be believed?", *_sanity(explanation)]
    if explanation["pointing"]:
        kinds = explanation["kinds"]
        games = explanation["pointing"]["kinds"]
        parts += ["## Pointing game", "\n".join(f"- {text(pointed(kinds[k]['title'], g))}" for k, g in games.items())]
        centre = next(iter(games.values()))["centre"]
        parts.append(
            f"Chance is the masks' mean area. A map that always points to the middle would hit {centre:.1%}: masks lie "
            "there, and only what exceeds that shows more than that faces are in the middle."
        )
    if explanation["attention"]:
        rows = [
            [explanation["kinds"][key]["title"], f"{found['gamma']:+.4f}", f"{found['effect']:.1%}"]
            for key, found in explanation["attention"].items()
        ]
        parts += [
            "## Does the attention do anything?",
            "γ scales what attention adds to its input; the last column is the length of what it adds, relative to the "
            "input's. Near 0 the maps show where a module looks that changes nothing.",
            table(["stage", "γ", "added"], rows, numbers=2),
        ]
    parts += ["## Sources", *_sources(explanation)] if explanation["sources"] else ["## Faces", *_faces(explanation)]
    if explanation["left_out"]:
        rows = [[text(file["path"]), file["status"], text(file["reason"] or "")] for file in explanation["left_out"]]
        parts += ["## Not explained", table(["path", "status", "why"], rows)]
    rows = [[text(key), text(flat(value))] for key, value in explanation["context"].items()]
    parts += ["## How it was made", _maps(explanation), table(["", ""], rows)]
    parts.append("`maps.npz` holds every map as (faces, rows, columns), in the order of `faces` in `explain.json`.")
    return "\n\n".join(parts) + "\n"
