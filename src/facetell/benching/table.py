"""The table of a bench: a line for each row and choice of axes, seeds averaged, the paper's numbers beside ours."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from facetell.benching.cell import RESULT, Job
from facetell.benching.spec import Cell, PaperRow, Spec
from facetell.errors import DataError
from facetell.evaluation.comparison import paired_bootstrap
from facetell.evaluation.predictions import read_predictions
from facetell.files import write_text
from facetell.reporting.pages import escaped, markdown_page

__all__ = ["write_tables"]

METRICS = ("auroc", "accuracy", "recall", "precision", "f1", "ece")
TITLES = {"auroc": "AUROC", "ece": "ECE", "f1": "F1"}
MIB = 2**20


@dataclass(frozen=True)
class _Line:
    """The cells that differ by their seed alone, on one of their tests."""

    cells: tuple[Cell, ...]
    test: tuple[str, str]

    @property
    def first(self) -> Cell:
        return self.cells[0]


def write_tables(spec: Spec, jobs: Mapping[Cell, Job], reasons: Mapping[Cell, str], out: Path) -> dict[str, Any]:
    """Write ``bench.json``, ``bench.csv`` and ``bench.md`` from what is finished; returns what ``bench.json`` holds."""
    lines = [_measured(spec, line, jobs, reasons) for line in _lines(spec)]
    content = {"format": "facetell-bench", "version": 1, "title": spec.title, "about": spec.about, "lines": lines}
    write_text(out / "bench.json", json.dumps(content, indent=2) + "\n")
    write_text(out / "bench.md", _page(spec, lines))
    rows = [_csv_row(line) for line in lines]
    text_of = io.StringIO(newline="")
    writer = csv.DictWriter(text_of, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "bench.csv", text_of.getvalue())
    return content


def _lines(spec: Spec) -> list[_Line]:
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in spec.cells:
        for test in cell.tests:
            groups.setdefault((test, cell.row, cell.axes), []).append(cell)
    order = list(dict.fromkeys(test for test, _, _ in groups))
    return [
        _Line(tuple(cells), test)
        for (test, _, _), cells in sorted(groups.items(), key=lambda group: order.index(group[0][0]))
    ]


def _measured(spec: Spec, line: _Line, jobs: Mapping[Cell, Job], reasons: Mapping[Cell, str]) -> dict[str, Any]:
    first = line.first
    found: dict[str, Any] = {
        "test": ":".join(line.test),
        "row": first.row,
        "axes": dict(first.axes),
        "seeds": [],
        "failed": {cell.seed: reasons[cell] for cell in line.cells if cell in reasons},
        "paper": _paper(spec.paper, first),
    }
    done = [cell for cell in line.cells if _is_done(cell, jobs)]
    found["waiting"] = len(line.cells) - len(done) - len(found["failed"])
    if not done:
        return found
    reports = [_report(jobs[cell], cell, line.test) for cell in done]
    results = [json.loads((jobs[cell].folder / RESULT).read_text(encoding="utf-8")) for cell in done]
    found["seeds"] = [cell.seed for cell in done]
    found["counts"] = reports[0]["counts"]
    for name in METRICS:
        values = [report["metrics"][name]["value"] for report in reports]
        found[name] = None if None in values else _mean(values)
    found["sources"] = _sources(reports)
    ends = [[report["metrics"]["auroc"][end] for report in reports] for end in ("low", "high")]
    found["interval"] = [None if None in each else statistics.mean(each) for each in ends]
    for name in ("fit_seconds", "measure_seconds"):
        known = [result[name] for result in results if result.get(name) is not None]
        found[name] = statistics.mean(known) if known else None
    found["peak_bytes"] = max(result["peak_bytes"] for result in results)
    found["gpu_peak_bytes"] = max((result["gpu_peak_bytes"] or 0 for result in results), default=0) or None
    if first.control is not None:
        found["control"] = _against_control(spec, line, done, jobs)
    return found


def _is_done(cell: Cell, jobs: Mapping[Cell, Job]) -> bool:
    return cell in jobs and (jobs[cell].folder / RESULT).exists()


def _report(job: Job, cell: Cell, test: tuple[str, str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((job.report(cell.tests.index(test)) / "report.json").read_text("utf-8"))
    return report


def _mean(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation over seeds; one seed has no spread."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "sd": spread, "each": list(values)}


def _sources(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """AUROC of each fake source and FPR of each real one, over seeds; fakes first, the worst source of a label first.

    Empty where there is one fake source alone: it is the table's own row.
    """
    values: dict[tuple[str, str], list[float | None]] = {}
    for report in reports:
        for row in report["sources"]:
            name = "auroc" if row["label"] == "fake" else "fpr"
            values.setdefault((name, row["source"]), []).append(row["metrics"][name]["value"])
    found = [
        {"metric": metric, "source": source, **_mean([value for value in each if value is not None])}
        for (metric, source), each in values.items()
        if None not in each
    ]
    if sum(one["metric"] == "auroc" for one in found) < 2:
        return []
    return sorted(found, key=lambda one: (one["metric"], one["mean"] if one["metric"] == "auroc" else -one["mean"]))


def _over_sources(line: Mapping[str, Any], metric: str) -> float | None:
    """The mean over sources, each counted once."""
    means = [one["mean"] for one in line.get("sources", ()) if one["metric"] == metric]
    return statistics.mean(means) if means else None


def _worst_first(line: Mapping[str, Any], metric: str) -> str:
    """The mean over sources, and each."""
    mean = _over_sources(line, metric)
    each = (f"{one['source']} {one['mean']:.3f}" for one in line.get("sources", ()) if one["metric"] == metric)
    return "" if mean is None else f"{mean:.3f}: {', '.join(each)}"


def _paper(rows: Sequence[PaperRow], cell: Cell) -> dict[str, Any] | None:
    """What the paper says of such a cell."""
    for row in rows:
        if row.row == cell.row and row.where.items() <= dict(cell.axes).items():
            return {"source": row.source, **row.metrics}
    return None


def _against_control(spec: Spec, line: _Line, done: Sequence[Cell], jobs: Mapping[Cell, Job]) -> dict[str, Any] | None:
    """Difference of the mean AUROC to the control's cells with the same axes, on the same faces; None if there is none."""
    axes = dict(line.first.axes)
    controls = [
        cell
        for cell in spec.of(str(line.first.control))
        if _is_done(cell, jobs)
        and line.test in cell.tests
        and all(axes.get(key, value) == value for key, value in cell.axes)
    ]
    if not controls or len({cell.axes for cell in controls}) > 1:
        return None
    ours, theirs = ([_predictions(cell, jobs, line.test) for cell in cells] for cells in (done, controls))
    first = ours[0]
    if any(not np.array_equal(first["sha256"], other["sha256"]) for other in theirs):
        return None
    mine, other = (np.stack([one["logit"] for one in tables]) for tables in (ours, theirs))
    try:
        found = paired_bootstrap(first["label"], mine, other, first["group"])
    except DataError:  # one group says nothing of another
        return None
    return {
        "row": line.first.control,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "groups": found.groups,
        "repetitions": found.repetitions,
    }


def _predictions(cell: Cell, jobs: Mapping[Cell, Job], test: tuple[str, str]) -> dict[str, Any]:
    return read_predictions(jobs[cell].report(cell.tests.index(test)) / "predictions.parquet")


def _page(spec: Spec, lines: Sequence[Mapping[str, Any]]) -> str:
    tests = []
    for test in dict.fromkeys(line["test"] for line in lines):
        own = [line for line in lines if line["test"] == test]
        counts = next((line["counts"] for line in own if "counts" in line), None)
        tests.append({"name": test, "counts": counts, **_table(own)})
    return markdown_page("bench", {"title": spec.title, "about": spec.about, "tests": tests})


def _table(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """``columns`` and ``rows`` of the table of one test; a column that no line fills is left out."""
    axes = list(dict.fromkeys(key for line in lines for key in line["axes"]))
    given = {key for line in lines for key in line["paper"] or ()}
    metrics = [name for name in METRICS if name in ("auroc", "accuracy") or name in given]
    cells = [
        {
            "row": line["row"],
            **{axis: str(line["axes"].get(axis, "")) for axis in axes},
            **{TITLES.get(name, name): _metric(line, name) for name in metrics},
            "interval": _interval(line.get("interval", ())),
            "AUROC over sources": _worst_first(line, "auroc"),
            "FPR over sources": _worst_first(line, "fpr"),
            "against the control": _control_cell(line),
            "fit": _minutes(line.get("fit_seconds")),
            "memory": _mebibytes(line.get("peak_bytes")),
            "GPU memory": _mebibytes(line.get("gpu_peak_bytes")),
            "paper": line["paper"]["source"] if line["paper"] else "",
            "": _what_is_missing(line),
        }
        for line in lines
    ]
    columns = [name for name in cells[0] if any(row[name] for row in cells)]
    return {"columns": columns, "rows": [[row[name] for name in columns] for row in cells]}


def _metric(line: Mapping[str, Any], name: str) -> str:
    paper = (line["paper"] or {}).get(name)
    beside = "" if paper is None else f" / {paper:.3f}"
    if not line.get(name):
        return beside
    spread = "" if line[name]["sd"] is None else f" ± {line[name]['sd']:.3f}"
    return f"{line[name]['mean']:.3f}{spread}{beside}"


def _interval(ends: Sequence[float | None]) -> str:
    """Both ends, or a dash where there is no interval: one group says nothing of another."""
    return "–" if None in ends else "–".join(f"{end:.3f}" for end in ends)


def _control_cell(line: Mapping[str, Any]) -> str:
    found = line.get("control")
    if not found:
        return ""
    p = "p < .002" if found["p"] < 0.002 else f"p = {found['p']:.3f}".replace("0.", ".")
    interval = f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"
    return Markup(f"{interval}, {p}, {escaped(found['row'])}")  # noqa: S704  # the page is also read as it is: no &lt;


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _mebibytes(size: float | None) -> str:
    return f"{size / MIB:,.0f} MiB" if size else ""


def _what_is_missing(line: Mapping[str, Any]) -> str:
    """What is missing from the line, with the reason."""
    parts = [f"seed {seed} failed: {reason}" for seed, reason in line["failed"].items()]
    if len(parts) > 1 and len(set(line["failed"].values())) == 1:
        parts = [f"failed: {next(iter(line['failed'].values()))}"]
    if line["waiting"]:
        parts.append(f"{line['waiting']} not run yet")
    return "; ".join(parts)


def _csv_row(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the CSV: numbers by name, one column each."""
    row: dict[str, Any] = {"test": line["test"], "row": line["row"], **line["axes"], "seeds": len(line["seeds"])}
    for name in METRICS:
        if line.get(name):
            row |= {name: line[name]["mean"], f"{name}_sd": line[name]["sd"]}
    for metric in ("auroc", "fpr"):
        if (mean := _over_sources(line, metric)) is not None:
            row[f"{metric}_over_sources"] = mean
    row |= {f"{one['metric']}_{one['source']}": one["mean"] for one in line.get("sources", ())}
    row |= {f"paper_{key}": value for key, value in (line["paper"] or {}).items()}
    row |= {f"control_{key}": value for key, value in (line.get("control") or {}).items()}
    row |= {key: line[key] for key in ("fit_seconds", "measure_seconds", "peak_bytes", "gpu_peak_bytes") if key in line}
    return row | {"note": _what_is_missing(line)}
