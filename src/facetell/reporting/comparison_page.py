"""The page of a comparison for people: ``compare.md`` from the numbers of ``compare.json``, and what they allow to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from facetell.reporting.markdown import shown, table, text

__all__ = ["conclusion", "p_value", "render"]

_SMALL = 0.05


def p_value(p: float) -> str:
    """Return ``p = 0.021`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _interval(test: Mapping[str, float]) -> str:
    return f"{test['low']:+.3f} to {test['high']:+.3f}"


def conclusion(one: Mapping[str, Any], counts: Mapping[str, int], comparisons: int) -> str:
    """Return the sentence that one entry of ``comparisons`` allows, on faces of these ``counts``.

    A difference is concluded where both tests have p < 0.05, adjusted when there are several comparisons.
    """
    a, b, difference = one["a"], one["b"], one["difference"]
    faces = f"{counts['n']:,} faces of {counts['groups']:,} groups"
    if difference == 0 and one["delong"]["standard_error"] == 0:
        return f"{a} and {b} rank these {faces} alike: AUROC {one['auroc_a']:.3f} both."
    adjusted = f", adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    numbers = (
        f"AUROC {one['auroc_a']:.3f} against {one['auroc_b']:.3f}, difference {difference:+.3f} (95% interval "
        f"{_interval(one['delong'])} over {counts['groups']:,} groups, DeLong {p_value(one['delong']['p_holm'])}, "
        f"bootstrap {p_value(one['bootstrap']['p_holm'])}{adjusted})"
    )
    small = [one[test]["p_holm"] < _SMALL for test in ("delong", "bootstrap")]
    if all(small):
        return f"{a} ranks {'better' if difference > 0 else 'worse'} than {b}: {numbers}."
    doubt = " The two tests disagree: more faces must decide." if any(small) else ""
    return (
        f"No difference can be concluded between {a} and {b}: {numbers}; with these {faces} only a true difference of "
        f"about {one['detectable']:.3f} or more would likely have been seen (80% power).{doubt}"
    )


def _detectors(comparison: Mapping[str, Any]) -> str:
    rows = [
        [
            text(report["name"]),
            f"{report['threshold']:.3g} ({text(report['threshold_rule'])})",
            *(shown(report["metrics"][key]) for key in ("auroc", "balanced_accuracy", "recall", "fpr")),
        ]
        for report in comparison["reports"]
    ]
    return table(["report", "threshold", "AUROC", "balanced accuracy", "recall", "FPR"], rows, numbers=4)


def _differences(entries: Sequence[Mapping[str, Any]]) -> str:
    several = len(entries) > 1
    head = ["compared", "difference", "DeLong interval", "DeLong p", "bootstrap interval", "bootstrap p", "detectable"]
    if several:
        head[4:4], head[7:7] = ["Holm"], ["Holm"]
    rows = []
    for one in entries:
        cells = [f"{text(one['a'])} − {text(one['b'])}", f"{one['difference']:+.3f}"]
        for test in ("delong", "bootstrap"):
            values = [one[test]["p"], one[test]["p_holm"]] if several else [one[test]["p"]]
            cells += [_interval(one[test]), *(p_value(p).removeprefix("p ").removeprefix("= ") for p in values)]
        rows.append([*cells, f"{one['detectable']:.3f}"])
    return table(head, [[cell.replace("< ", "&lt; ") for cell in row] for row in rows], numbers=len(head) - 1)


def render(comparison: Mapping[str, Any]) -> str:
    """Return the Markdown page of what :func:`~facetell.reporting.comparing.write_comparison` returns."""
    counts, bootstrap = comparison["counts"], comparison["bootstrap"]
    parts = ["# Comparison of facetell detectors"]
    parts.append("\n".join(f"- **{text(one['conclusion'])}**" for one in comparison["comparisons"]))
    if comparison["warnings"]:
        notes = [f"> **Note:** {text(warning)}\n>" for warning in comparison["warnings"]]
        parts.append("\n".join(notes).removesuffix("\n>"))
    parts += [
        f"All on the same {counts['n']:,} faces ({counts['n_real']:,} real, {counts['n_fake']:,} fake) of "
        f"{counts['groups']:,} groups. Groups, not faces, are the unit of every interval and p value: faces of one group "
        "are not independent.",
        "A conclusion is about other faces like these, by these fitted detectors. It says nothing about other "
        "generators, nor about how much a detector changes when it is fitted again with another seed.",
        "## Detectors",
        "Balanced accuracy, recall and FPR are each detector's at its own threshold, with 95% intervals. Intervals that "
        "overlap do not show that there is no difference: the faces are the same, the differences below are the test.",
        _detectors(comparison),
        "## Differences of AUROC",
        _differences(comparison["comparisons"]),
    ]
    if comparison["pairs"]:
        parts += ["Every two, adjusted for all of them:", _differences(comparison["pairs"])]
    parts.append("## Plot")
    if comparison["plots"]:
        parts.append(f"![ROC curves]({comparison['plots']['roc']})")
    else:
        parts.append("No plot: it needs matplotlib. `pip install 'facetell[report]'`, then compare again.")
    parts += [
        "## How it was made",
        f"DeLong: paired, its variance over groups (Obuchowski 1997), two-sided, 95% interval from the normal "
        f"distribution. Bootstrap: {bootstrap['repetitions']:,} repetitions that draw whole groups, the same for both "
        f"detectors, seed {bootstrap['seed']}, percentile interval. Holm: p adjusted for the number of rows of its "
        "table. Detectable: 2.8 standard errors, the difference seen at p < 0.05 four times out of five.".replace(
            "<", "&lt;"
        ),
    ]
    return "\n\n".join(parts) + "\n"
