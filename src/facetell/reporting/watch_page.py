"""What a drift watch allows to say: its sentences, and ``watch.md`` from the numbers of ``watch.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from facetell.reporting.clusters import NEXT, cluster_sentences, render_look
from facetell.reporting.comparison_page import p_value
from facetell.reporting.markdown import table, text

__all__ = ["BLIND", "conclude", "render"]

ALPHA = 0.05
SMALL = 0.05
"""Kuiper distance below which a difference, however certain, is called little."""

BLIND = "It cannot see a new kind of fake that scores like real faces, nor one that is rare: only labelled examples can tell."


def conclude(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``seen`` (``nothing``, ``little``, ``new``, None without a test), ``sentences`` and ``next`` (or None).

    Where faces were looked at, a suspected cluster is new too, and comes first.
    """
    found, look = _of_scores(result), result["look"]
    if look is None:
        return found
    said, clusters = cluster_sentences(look), look["clusters"]
    if not clusters:
        return {**found, "sentences": [*found["sentences"], *said]}
    pictures = " and ".join(cluster["picture"] for cluster in clusters)
    following = NEXT.format(pictures=pictures, detector=result["detector"])
    return {"seen": "new", "sentences": [*said, *found["sentences"]], "next": following}


def _of_scores(result: Mapping[str, Any]) -> dict[str, Any]:
    whole, batches = result["whole"], result["batches"]
    parts = [whole] if len(batches) == 1 else [whole, *batches]
    if not any(part["tests"] for part in parts):
        return {"seen": None, "sentences": ["There are too few judged files to compare."], "next": None}
    certain = [(part, test) for part in parts for test in part["tests"] if test["p_holm"] < ALPHA]
    if not certain:
        return {"seen": "nothing", "sentences": [_quiet(whole, result)], "next": None}
    part, test = next(((p, t) for p, t in certain if p is whole), max(certain, key=lambda pair: pair[1]["kuiper"]))
    sentences = [_loud(part, test, result, part is whole)]
    named = [(p["name"], t["ks"]) for p, t in certain if p is not whole]
    if len(batches) > 1:
        said = ", ".join(f"{name} ({ks:.2f})" for name, ks in named)
        sentences.append(
            f"Of {len(batches)} batches these differ by themselves (KS distance): {said}."
            if named
            else f"None of the {len(batches)} batches differs by itself."
        )
    new = max(test["kuiper"] for _, test in certain) >= SMALL
    low, high = test["between"]
    following = (
        f"look at the files that score between {low:.2f} and {high:.2f}: another camera, crop or compression does this as "
        "well as a new kind of fake. If it is a new fake, label a few, put the fakes into a folder, and adapt: facetell adapt "
        f"{result['detector']} --fake FOLDER -o NEW"
    )
    return {"seen": "new" if new else "little", "sentences": sentences, "next": following if new else None}


def _known(result: Mapping[str, Any]) -> str:
    if result["reference"]["labelled"]:
        return "known reals and fakes in some mix"
    return f"those of {result['reference']['of']}"


def _quiet(whole: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    numbers = [
        f"KS distance {test['ks']:.3f}, {p_value(test['p_holm'])}{_fakes(test)}, n = {test['n']:,} {test['kind']}s"
        for test in whole["tests"]
    ]
    clusters = (result["look"] or {}).get("clusters")
    seen = "The scores alone show nothing new in" if clusters else "Nothing new is seen in"
    return f"{seen} {whole['files']:,} files: their scores look like {_known(result)} ({'; '.join(numbers)})."


def _fakes(test: Mapping[str, Any]) -> str:
    fakes = test["fakes"]
    if fakes is None:
        return ""
    return f", {fakes['value']:.0%} fakes in it ({fakes['low']:.0%} to {fakes['high']:.0%})"


def _loud(part: Mapping[str, Any], test: Mapping[str, Any], result: Mapping[str, Any], whole: bool) -> str:
    which = f"These {test['n']:,} {test['kind']}s" if whole else f"The {test['n']:,} {test['kind']}s of {part['name']}"
    low, high = test["between"]
    little = ", though by little" if test["kuiper"] < SMALL else ""
    explains = "any share of known fakes explains" if test["fakes"] else "the reference has there"
    return (
        f"{which} do not look like {_known(result)}{little}: KS distance {test['ks']:.2f} ({p_value(test['p_holm'])}); "
        f"{test['excess']:.0%} of them score between {low:.2f} and {high:.2f} beyond what {explains}."
    )


def render(result: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """Return ``watch.md``; ``pictures`` are files beside it."""
    parts = [f"# Watch of {text(result['detector'])}", f"**{text(result['sentences'][0])}**"]
    parts += [text(sentence) for sentence in result["sentences"][1:]]
    if result["next"]:
        parts.append(f"Next: {text(result['next'])}.")
    parts += [f"**Warning**: {text(line)}." for line in result["warnings"]]
    parts += [
        BLIND if result["look"] is None else f"Of the scores: {BLIND[0].lower()}{BLIND[1:]}",
        *(f"![{name}]({name})" for name in pictures if name == "watch.png"),
    ]
    if result["look"] is not None:
        parts += render_look(result["look"], pictures)
    several = len(result["batches"]) > 1
    rows = [*result["batches"], *([{**result["whole"], "name": "all"}] if several else [])]
    parts += ["## Batches", _counts(rows, result["reference"]["shares"])]
    tested = [(part, test) for part in rows for test in part["tests"]]
    if tested:
        parts += ["## Against the reference", _tests(tested)]
    for part, test in tested:
        if test["p_holm"] < ALPHA:
            examples = "\n".join(f"- {text(path)}" for path in test["examples"])
            parts += [f"Some {test['kind']}s of {text(part['name'])} that score where there are too many:", examples]
    return "\n\n".join([*parts, "## How it was made", _how(result)]) + "\n"


def _percent(share: Mapping[str, float] | None) -> str:
    return "–" if share is None else f"{share['value']:.1%} ({share['low']:.1%}–{share['high']:.1%})"


def _counts(rows: Iterable[Mapping[str, Any]], reference: Mapping[str, Any] | None) -> str:
    cells = [
        [
            text(row["name"]),
            f"{row['files']:,}",
            *(_percent(row["shares"][name]) for name in ("fake", "unsure", "unjudged")),
            text(", ".join(f"{n:,} {status}" for status, n in row["statuses"].items())),
        ]
        for row in rows
    ]
    if reference:
        cells.append(["reference", "", *(_percent(reference[name]) for name in ("fake", "unsure", "unjudged")), ""])
    return table(["batch", "files", "called fake", "unsure", "not judged", "status"], cells)


def _tests(tested: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    rows = [
        [
            text(part["name"]),
            test["kind"],
            f"{test['n']:,}",
            f"{test['ks']:.3f}",
            f"{test['kuiper']:.3f}",
            f"{test['wasserstein']:.2f}",
            p_value(test["p_holm"]),
            _percent(test["fakes"]),
            f"{test['excess']:.1%} in {test['between'][0]:.2f}–{test['between'][1]:.2f}",
        ]
        for part, test in tested
    ]
    head = ["batch", "of", "n", "KS", "Kuiper", "W1 (logits)", "p, adjusted", "fakes, if nothing is new", "too many"]
    return table(head, rows, numbers=7)


def _how(result: Mapping[str, Any]) -> str:
    sizes = [
        f"{kind}: " + " and ".join(f"{one['n']:,} {label}" for label, one in zip(_labels(each), each, strict=True))
        for kind, each in result["reference"]["sizes"].items()
    ]
    rows = [
        ["reference", text(f"{result['reference']['of']}; {'; '.join(sizes)}")],
        ["detector", text(f"{result['detector']}, {result['identity']}")],
        [
            "p",
            f"of Kuiper's distance, parametric bootstrap, {result['repetitions']:,} repetitions, seed {result['seed']}; "
            "adjusted by Holm for all rows of the table",
        ],
        ["shares", "exact 95% intervals (Clopper–Pearson), each file by itself"],
    ]
    return table(["", ""], rows)


def _labels(sketches: Sequence[object]) -> tuple[str, ...]:
    return ("real", "fake") if len(sketches) == 2 else ("without labels",)
