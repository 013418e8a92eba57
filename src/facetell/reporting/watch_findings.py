"""What a drift watch allows to say: sentences from the numbers of ``watch.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facetell.reporting.pages import p_value

__all__ = ["ALPHA", "conclude"]

ALPHA = 0.05
"""Adjusted p below which a difference is called certain."""

SMALL = 0.05
"""Kuiper distance below which a difference, however certain, is called little."""

STANDS_OUT = 2.0
"""A batch is named where its share of files in a cluster is at least this many times the share of all files."""

NEXT = (
    "look at {pictures}: another camera, crop or person that is new here does this as well as a new kind of fake. If they "
    "are fakes, label a few, put these into a folder, and adapt: facetell adapt {detector} --fake FOLDER -o NEW"
)


def conclude(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``seen`` (``nothing``, ``little``, ``new``, None without a test), ``sentences`` and ``next`` (or None).

    Where faces were looked at, a suspected cluster is new too, and comes first.
    """
    found, look = _from_scores(result), result["look"]
    if look is None:
        return found
    said, clusters = _face_sentences(look), look["clusters"]
    if not clusters:
        return {**found, "sentences": [*found["sentences"], *said]}
    pictures = " and ".join(cluster["picture"] for cluster in clusters)
    following = NEXT.format(pictures=pictures, detector=result["detector"])
    return {"seen": "new", "sentences": [*said, *found["sentences"]], "next": following}


def _from_scores(result: Mapping[str, Any]) -> dict[str, Any]:
    whole, batches = result["whole"], result["batches"]
    parts = [whole] if len(batches) == 1 else [whole, *batches]
    if not any(part["tests"] for part in parts):
        return {"seen": None, "sentences": ["There are too few judged files to compare."], "next": None}
    certain = [(part, test) for part in parts for test in part["tests"] if test["p_holm"] < ALPHA]
    if not certain:
        return {"seen": "nothing", "sentences": [_no_difference_sentence(whole, result)], "next": None}
    part, test = next(((p, t) for p, t in certain if p is whole), max(certain, key=lambda pair: pair[1]["kuiper"]))
    sentences = [_difference_sentence(part, test, result, part is whole)]
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


def _reference_words(result: Mapping[str, Any]) -> str:
    if result["reference"]["labelled"]:
        return "known reals and fakes in some mix"
    return f"those of {result['reference']['of']}"


def _no_difference_sentence(whole: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    numbers = [
        f"KS distance {test['ks']:.3f}, {p_value(test['p_holm'])}{_fakes_estimate(test)}, n = {test['n']:,} {test['kind']}s"
        for test in whole["tests"]
    ]
    clusters = (result["look"] or {}).get("clusters")
    seen = "The scores alone show nothing new in" if clusters else "Nothing new is seen in"
    return f"{seen} {whole['files']:,} files: their scores look like {_reference_words(result)} ({'; '.join(numbers)})."


def _fakes_estimate(test: Mapping[str, Any]) -> str:
    fakes = test["fakes"]
    if fakes is None:
        return ""
    return f", {fakes['value']:.0%} fakes in it ({fakes['low']:.0%} to {fakes['high']:.0%})"


def _difference_sentence(
    part: Mapping[str, Any], test: Mapping[str, Any], result: Mapping[str, Any], whole: bool
) -> str:
    which = f"These {test['n']:,} {test['kind']}s" if whole else f"The {test['n']:,} {test['kind']}s of {part['name']}"
    low, high = test["between"]
    little = ", though by little" if test["kuiper"] < SMALL else ""
    explains = "any share of known fakes explains" if test["fakes"] else "the reference has there"
    return (
        f"{which} do not look like {_reference_words(result)}{little}: KS distance {test['ks']:.2f} ({p_value(test['p_holm'])}); "
        f"{test['excess']:.0%} of them score between {low:.2f} and {high:.2f} beyond what {explains}."
    )


def _face_sentences(look: Mapping[str, Any]) -> list[str]:
    """What looking at the faces found, the clusters first."""
    opened, drawn = look["opened"], look["drawn"]
    lost = f"{drawn - opened:,} of the {drawn:,} files to look at could not be opened any more, or have no face now."
    tail = [lost] if drawn > opened else []
    if look["far"] is None:
        return [f"Only {opened:,} files could be looked at: too few to find new faces.", *tail]
    if not look["clusters"]:
        return [f"No new cluster of faces is seen in {opened:,} files that were looked at.", *tail]
    return [*(_cluster_sentence(cluster, opened) for cluster in look["clusters"]), *tail]


def _cluster_sentence(cluster: Mapping[str, Any], opened: int) -> str:
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
