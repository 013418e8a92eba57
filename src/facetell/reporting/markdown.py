"""The page for people: ``report.md`` from the numbers of ``report.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["flat", "render", "shown", "table", "text"]

_TITLES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "eer": "EER",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall (fakes found)",
    "fpr": "FPR (reals called fake)",
    "f1": "F1",
    "ece": "ECE",
    "log_loss": "log loss",
}
_PLOT_TITLES = {
    "roc": "ROC curve",
    "precision_recall": "Precision–recall curve",
    "score_densities": "Score densities",
    "confusion_matrix": "Confusion matrix",
    "reliability": "Reliability",
}
_NOTHING = "–"
_BESIDE = "In the second picture red spoke for fake and blue for real: how far the logit falls when a part is hidden."


def text(value: object) -> str:
    """Return ``value`` as Markdown that shows it as it is: no table cell broken, no markup, no HTML."""
    line = " ".join(str(value).split())
    for mark in ("\\", "`", "*", "_", "|", "[", "]", "#", "~"):
        line = line.replace(mark, "\\" + mark)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shown(metric: Mapping[str, float | None] | None, *, interval: bool = True) -> str:
    """Return ``0.912 (0.890–0.931)``, or a dash for what is not defined."""
    if metric is None or metric["value"] is None:
        return _NOTHING
    value = f"{metric['value']:.3f}"
    if not interval or metric["low"] is None or metric["high"] is None:
        return value
    return f"{value} ({metric['low']:.3f}–{metric['high']:.3f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """Return a Markdown table; the last ``numbers`` columns are aligned right. Cells are taken as they are."""
    ruler = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ruler, *rows))


def _percent(metric: Mapping[str, float | None]) -> str:
    return _NOTHING if metric["value"] is None else f"{metric['value']:.1%}"


def _headline(report: Mapping[str, Any]) -> str:
    counts, metrics, threshold = report["counts"], report["metrics"], report["threshold"]
    faces = f"{counts['n']:,} faces ({counts['n_real']:,} real, {counts['n_fake']:,} fake, {counts['groups']:,} groups)"
    if threshold is None:
        area = shown(metrics["auroc"])
        return f"**On {faces} the detector reaches an AUROC of {area}; it is uncalibrated, so it decides nothing.**"
    at = f"at threshold {threshold:.4g}"
    caught = f"finds {_percent(metrics['recall'])} of the fakes"
    alarms = f"calls {_percent(metrics['fpr'])} of the real faces fake"
    if not counts["n_fake"]:
        return f"**On {faces} the detector {at} {alarms}.** There is no fake face, so ranking is not defined."
    if not counts["n_real"]:
        return f"**On {faces} the detector {at} {caught}.** There is no real face, so ranking is not defined."
    area = shown(metrics["auroc"])
    return f"**On {faces} the detector reaches an AUROC of {area}; {at} it {caught} and {alarms}.**"


def _sources(report: Mapping[str, Any]) -> str:
    rows = [
        [
            text(row["source"]),
            row["label"],
            f"{row['n']:,}",
            f"{row['groups']:,}",
            *(shown(row["metrics"].get(name)) for name in ("auroc", "eer", "recall", "fpr")),
        ]
        for row in report["sources"]
    ]
    return table(["source", "label", "faces", "groups", "AUROC", "EER", "recall", "FPR"], rows, numbers=6)


def _confusion(report: Mapping[str, Any]) -> str:
    c = report["confusion"]
    rows = [["**real**", f"{c['tn']:,}", f"{c['fp']:,}"], ["**fake**", f"{c['fn']:,}", f"{c['tp']:,}"]]
    return table(["", "decided real", "decided fake"], rows, numbers=2)


def _mistakes(report: Mapping[str, Any]) -> str:
    if not report["mistakes"]:
        return "None: every face is on its side of the threshold."
    rows = [
        [
            text(m["path"]),
            m["label"],
            "fake" if m["label"] == "real" else "real",
            text(m["source"]),
            f"{m['score']:.4f}",
        ]
        for m in report["mistakes"]
    ]
    head = ["path", "is", "decided", "source", "score"]
    if "picture" not in report["mistakes"][0]:
        return table(head, rows, numbers=1)
    shown_ = [[f"![{m['label']}]({m['picture']})", *row] for m, row in zip(report["mistakes"], rows, strict=True)]
    return f"{_BESIDE}\n\n{table(['face', *head], shown_, numbers=1)}"


def flat(value: object) -> str:
    """Return nested plain values as one line, a dash for None."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {flat(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(flat(item) for item in value)
    return _NOTHING if value is None else str(value)


def _how(report: Mapping[str, Any]) -> str:
    bootstrap = report["bootstrap"]
    rows = [[text(key), text(flat(value))] for key, value in report["context"].items() if key != "warnings"]
    rows += [
        [
            "threshold",
            text(report["threshold_rule"])
            if report["threshold"] is None
            else f"{report['threshold']:.6g}, rule {text(report['threshold_rule'])}, applied as score ≥ threshold",
        ],
        [
            "intervals",
            f"{bootstrap['level']:.0%} percentile bootstrap over {bootstrap['groups']:,} groups, "
            f"{bootstrap['repetitions']:,} repetitions ({bootstrap['omitted']:,} without both classes left out), "
            f"seed {bootstrap['seed']}",
        ],
    ]
    return table(["", ""], rows)


def _spread(found: Mapping[str, float]) -> str:
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _ideal(found: Mapping[str, Any]) -> str:
    if found["crossing"]["value"] is None:
        return "The densities of real and fake scores do not cross where fakes begin to prevail."
    crossing, youden, difference = (_spread(found[name]) for name in ("crossing", "youden", "difference"))
    said = f"The score densities cross at {crossing}; the ROC's ideal threshold (largest Youden's J) is {youden}. "
    if found["agree"] is None:
        return said + "Without several groups nothing can be said of their difference."
    agreed = "agree" if found["agree"] else "do not agree"
    includes = "includes" if found["agree"] else "does not include"
    return f"{said}The two {agreed}: their difference {difference} {includes} 0."


def _verdicts(report: Mapping[str, Any]) -> list[str]:
    """What the report says of acting on verdicts; nothing of what does not apply."""
    parts: list[str] = []
    if report["thresholds"]:
        parts += [
            "## Threshold",
            f"The detector's threshold is {report['thresholds']['detector']:.4g}. {_ideal(report['thresholds'])} "
            "Both describe these faces; neither was used.",
        ]
    if report["operating_points"]:
        rows = [
            [text(point["name"]), text(point["rule"]), f"{point['value']:.3g}"]
            + [shown(point[name]) for name in ("recall", "fpr", "precision")]
            for point in report["operating_points"]
        ]
        head = ["operating point", "rule", "threshold", "recall", "FPR", "precision"]
        parts += ["What the detector's operating points do to these faces:", table(head, rows, numbers=4)]
    before, after = (report["calibration"][when] for when in ("before", "after"))
    rows = [[_TITLES[name], shown(before[name]), shown(after[name])] for name in ("ece", "log_loss")]
    parts += ["## Calibration", table(["", "uncalibrated (temperature 1)", "calibrated"], rows, numbers=2)]
    if report["unsure"]:
        parts += ["## Unsure", _unsure(report["unsure"])]
    if report["prevalence"]:
        found = report["prevalence"]
        rows = [
            ["of those called fake are fake (precision)", shown(found["precision"])],
            ["of those called real are real", shown(found["npv"])],
            ["of all are called fake", shown(found["called_fake"])],
        ]
        parts += [f"## Where {found['share']:g} of the faces are fake", table(["share", "value"], rows, numbers=1)]
    return parts


def _unsure(found: Mapping[str, Any]) -> str:
    rows = [
        [f"**{name}**", *(f"{found[name][call]:,}" for call in ("real", "unsure", "fake")), shown(found[name]["wrong"])]
        for name in ("real", "fake")
    ]
    said = f"Scores from {found['low']:.4g} to {found['high']:.4g} are called unsure."
    return said + "\n\n" + table(["", "called real", "unsure", "called fake", "share wrong"], rows, numbers=4)


def render(report: Mapping[str, Any]) -> str:
    """Return the Markdown page of a report as :func:`~facetell.reporting.report.write_report` returns it."""
    level = f"{report['bootstrap']['level']:.0%}"
    names = [name for name in _TITLES if name in report["metrics"]]
    parts = ["# Evaluation of a facetell detector", _headline(report)]
    if report["warnings"]:
        parts.append("\n".join(f"> **Note:** {text(warning)}\n>" for warning in report["warnings"]).removesuffix("\n>"))
    decides = report["threshold"] is not None
    parts += [
        "## Metrics",
        table(
            ["metric", f"value ({level} interval)"],
            [[_TITLES[name], shown(report["metrics"][name])] for name in names],
            numbers=1,
        ),
    ]
    if decides:
        parts += ["## Confusion matrix", _confusion(report), *_verdicts(report)]
    parts += [
        "## Sources",
        "A row of fakes compares that source with all real faces; a row of reals counts its false alarms.",
        _sources(report),
    ]
    if decides:
        parts += ["## Worst mistakes", _mistakes(report), "## Plots"]
    if report["plots"]:
        parts += [f"![{_PLOT_TITLES[name]}]({path})" for name, path in report["plots"].items()]
    elif decides:
        parts.append("No plots: they need matplotlib. `pip install 'facetell[report]'`, then evaluate again.")
    parts += [
        "## How it was made",
        _how(report),
        "`predictions.parquet` holds one row per face; every number above can be recomputed from it.",
    ]
    return "\n\n".join(parts) + "\n"
