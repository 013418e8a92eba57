"""Reports compared: from predictions to the sentence, whole or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import facetell
from facetell.cli.main import main
from facetell.errors import DataError, FacetellError, UsageError
from facetell.evaluation import auroc, calibrated, confusion, delong, paired_bootstrap
from facetell.reporting import comparing, report, write_report
from facetell.reporting.comparing import conclusion
from facetell.reporting.pages import markdown_page, p_value

N = 240
Table = dict[str, Any]


def table(separation: float, seed: int) -> Table:
    """Scores of one detector on the same 240 faces of 120 groups, a fake and a real in each."""
    label = np.arange(N) % 2
    shared, own = np.random.default_rng(0).normal(size=N), np.random.default_rng(seed).normal(size=N)
    logit = (2 * label - 1) * separation / 2 + 0.7 * shared + own
    return {
        "row": np.arange(N),
        "path": np.array([f"set/{k:04d}.png" for k in range(N)]),
        "label": label,
        "group": np.array([f"id{k}" for k in np.arange(N) // 2]),
        "source": np.where(label == 1, "pggan", "ffhq"),
        "split": np.full(N, "test"),
        "sha256": np.array([f"{k:064x}" for k in range(N)]),
        "logit": logit,
        "score": calibrated(logit, 1.0),
    }


def rows(columns: Table, keep: np.ndarray) -> Table:
    return {name: values[keep] for name, values in columns.items()}


def saved(columns: Table, out: Path, threshold: float = 0.5) -> Path:
    """A report, without its plots."""
    context: dict[str, object] = {"detector": out.name, "method": "finetune"}
    write_report(columns, out, threshold=threshold, threshold_rule="eer", context=context, repetitions=20)
    return out


@pytest.fixture(autouse=True)
def no_report_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_plots", lambda *_: {})


@pytest.fixture
def no_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "draw_plots", lambda *_: {})


def test_from_two_reports_to_a_sentence(tmp_path: Path) -> None:
    poor, good = table(0.8, 1), table(2.0, 2)
    folders = [saved(poor, tmp_path / "poor"), saved(good, tmp_path / "good", threshold=0.6)]
    found = facetell.compare(folders, tmp_path / "out", seed=3)

    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["compare.json", "compare.md", "plots"]
    assert json.loads((tmp_path / "out" / "compare.json").read_text("utf-8")) == found.as_dict()
    assert found.counts == {"n": N, "n_real": N // 2, "n_fake": N // 2, "groups": N // 2}
    (one,) = found.comparisons
    assert (one["a"], one["b"], found.pairs) == ("good", "poor", [])

    y, groups = poor["label"], poor["group"]
    a, b = (columns["score"].astype(np.float32) for columns in (good, poor))
    exact, drawn = delong(y, a, b, groups), paired_bootstrap(y, a, b, groups, seed=3)
    assert one["difference"] == pytest.approx(auroc(y, a) - auroc(y, b))
    assert one["delong"] == {
        "standard_error": exact.standard_error, "low": exact.low, "high": exact.high, "p": exact.p, "p_holm": exact.p,
    }  # fmt: skip
    assert (one["bootstrap"]["low"], one["bootstrap"]["p"]) == (drawn.low, drawn.p)
    for entry, columns, threshold in zip(found.reports, (poor, good), (0.5, 0.6), strict=True):
        matrix = confusion(y, columns["score"].astype(np.float32), threshold)
        for name in ("balanced_accuracy", "recall", "fpr"):
            metric = entry["metrics"][name]
            assert metric["value"] == pytest.approx(getattr(matrix, name))
            assert metric["low"] < metric["value"] < metric["high"]

    page = (tmp_path / "out" / "compare.md").read_text("utf-8")
    assert one["conclusion"].startswith(f"good ranks better than poor: AUROC {auroc(y, a):.3f} against ")
    assert f"difference {exact.difference:+.3f} (95% interval {exact.low:+.3f} to" in page
    assert "over 120 groups, DeLong p &lt; 0.001, bootstrap p = 0.002" in page
    with Image.open(tmp_path / "out" / found.plots["roc"]) as image:
        assert image.width >= 900
    assert f"]({found.plots['roc']})" in page


@pytest.mark.usefixtures("no_plot")
def test_a_report_is_no_better_than_itself(tmp_path: Path) -> None:
    one = saved(table(1.0, 1), tmp_path / "r")
    found = facetell.compare([one, one], tmp_path / "out")
    (entry,) = found.comparisons
    assert (entry["difference"], entry["delong"]["p"], entry["bootstrap"]["p"]) == (0, 1, 1)
    assert (entry["a"], entry["b"]) == ("r (2)", "r")
    assert "r (2) and r rank these 240 faces of 120 groups alike" in entry["conclusion"]


@pytest.mark.usefixtures("no_plot")
def test_three_reports_are_adjusted_and_paired(tmp_path: Path) -> None:
    folders = [saved(table(s, k), tmp_path / f"run{k}" / "report") for k, s in enumerate((1.0, 1.1, 1.6), 1)]
    found = facetell.compare(folders, tmp_path / "out")
    assert [(one["a"], one["b"]) for one in found.comparisons] == [
        ("run2/report", "run1/report"),
        ("run3/report", "run1/report"),
    ]
    assert [(one["a"], one["b"]) for one in found.pairs] == [
        ("run2/report", "run1/report"),
        ("run3/report", "run1/report"),
        ("run3/report", "run2/report"),
    ]
    for entries in (found.comparisons, found.pairs):
        smallest = min(entries, key=lambda one: one["delong"]["p"])
        assert smallest["delong"]["p_holm"] == pytest.approx(min(1, len(entries) * smallest["delong"]["p"]))
    page = (tmp_path / "out" / "compare.md").read_text("utf-8")
    assert "Every two" in page
    assert page.count("adjusted for 2 comparisons") == 2
    assert "No plot" in page


@pytest.mark.usefixtures("no_plot")
def test_only_common_faces_count_and_the_lost_are_named(tmp_path: Path) -> None:
    whole = table(1.0, 1)
    mixed = np.random.default_rng(4).permutation(np.arange(20, N))
    other = rows(table(1.5, 2), mixed)
    other["row"] = np.arange(mixed.size)
    folders = [saved(whole, tmp_path / "whole"), saved(other, tmp_path / "part")]
    found = facetell.compare(folders, tmp_path / "out")
    assert found.warnings == ["whole: 20 of 240 faces are not in every report and were left out"]
    assert [one["left_out"] for one in found.reports] == [20, 0]
    direct = facetell.compare([saved(rows(whole, np.arange(20, N)), tmp_path / "cut"), folders[1]], tmp_path / "direct")
    for key in ("difference", "detectable", "delong", "bootstrap"):
        assert found.comparisons[0][key] == direct.comparisons[0][key]


@pytest.mark.usefixtures("no_plot")
def test_equal_crops_of_one_video_are_matched_one_by_one(tmp_path: Path) -> None:
    still = table(1.0, 1)
    still["path"], still["sha256"] = (np.repeat(still[name][::2], 2) for name in ("path", "sha256"))
    still["label"] = np.repeat(np.arange(N // 2) % 2, 2)
    one = saved(still, tmp_path / "r")
    assert facetell.compare([one, one], tmp_path / "out").counts["n"] == N


@pytest.mark.usefixtures("no_plot")
def test_other_groups_are_warned_of(tmp_path: Path) -> None:
    other = table(1.5, 2)
    other["group"] = np.array([f"alone{k}" for k in range(N)])
    found = facetell.compare([saved(table(1.0, 1), tmp_path / "a"), saved(other, tmp_path / "b")], tmp_path / "out")
    assert found.warnings == ["b groups the faces in another way; the groups of a are used"]
    assert found.counts["groups"] == N // 2


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    first = saved(table(1.0, 1), tmp_path / "a")
    swapped, elsewhere = table(1.0, 1), table(1.0, 1)
    swapped["label"] = np.where(np.arange(N) < 4, 1 - swapped["label"], swapped["label"])
    elsewhere["sha256"] = np.full(N, "f" * 64)
    with pytest.raises(DataError, match="a and b disagree on what is fake: 4 of 240 faces, the first set/0000.png"):
        facetell.compare([first, saved(swapped, tmp_path / "b")], tmp_path / "out")
    with pytest.raises(DataError, match="a and c have no face in common") as stop:
        facetell.compare([first, saved(elsewhere, tmp_path / "c")], tmp_path / "out")
    assert "same split of the same face set" in str(stop.value.hint)
    real = table(1.0, 1)
    with pytest.raises(DataError, match="real and fake faces"):
        facetell.compare([saved(rows(real, real["label"] == 0), tmp_path / "d")] * 2, tmp_path / "out")
    with pytest.raises(DataError, match="there is no report in"):
        facetell.compare([first, tmp_path / "nowhere"], tmp_path / "out")
    (tmp_path / "e").mkdir()
    for content in ("{", "[]", '{"format": "facetell-report", "version": 99}'):
        (tmp_path / "e" / "report.json").write_text(content)
        with pytest.raises(DataError, match=r"report\.json"):
            facetell.compare([first, tmp_path / "e"], tmp_path / "out")
    with pytest.raises(UsageError, match="two reports or more, got 1"):
        facetell.compare([first], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_plot")
def test_an_earlier_comparison_is_replaced_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [saved(table(s, k), tmp_path / f"r{k}") for k, s in enumerate((1.0, 1.5))]
    with pytest.raises(UsageError, match="not a comparison"):
        facetell.compare(folders, folders[0])
    facetell.compare(folders, tmp_path / "out")
    found = facetell.compare(folders[::-1], tmp_path / "out")
    before = (tmp_path / "out" / "compare.json").read_text("utf-8")
    assert json.loads(before) == found.as_dict()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(comparing, "save_json", full)
    with pytest.raises(FacetellError, match="the disk is full: cannot write .*out"):
        facetell.compare(folders, tmp_path / "out")
    assert (tmp_path / "out" / "compare.json").read_text("utf-8") == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "r0", "r1"]


def test_without_matplotlib_there_are_numbers_and_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folders = [saved(table(s, k), tmp_path / f"r{k}") for k, s in enumerate((1.0, 1.5))]
    assert facetell.compare(folders, tmp_path / "out").plots == {}
    assert not (tmp_path / "out" / "plots").exists()
    assert "pip install 'facetell[report]'" in (tmp_path / "out" / "compare.md").read_text("utf-8")


@pytest.mark.usefixtures("no_plot")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    few = np.arange(30)
    saved(rows(table(1.0, 1), few), Path("a"))
    saved(rows(table(1.2, 2), few), Path("b"))
    with pytest.raises(SystemExit) as stop:
        main(["compare", "a", "b", "-o", "out"])
    shown = capsys.readouterr()
    assert stop.value.code == 0
    assert "No difference can be concluded between b and a" in shown.out
    assert "comparison: out/compare.md" in shown.out
    assert "only 15 group(s)" in shown.err
    with pytest.raises(SystemExit):
        main(["compare", "a", "b", "-o", "out", "--json"])
    assert json.loads(capsys.readouterr().out)["format"] == "facetell-comparison"
    with pytest.raises(SystemExit) as stop:
        main(["compare", "a", "-o", "out"])
    assert stop.value.code == 2


def entry(difference: float, delong_p: float, bootstrap_p: float) -> dict[str, Any]:
    test = {"standard_error": 0.02, "low": difference - 0.04, "high": difference + 0.04}
    return {
        "a": "b_1",
        "b": "a",
        "auroc_a": 0.7 + difference,
        "auroc_b": 0.7,
        "difference": difference,
        "detectable": 0.056,
        "delong": {**test, "p": delong_p, "p_holm": delong_p},
        "bootstrap": {**test, "p": bootstrap_p, "p_holm": bootstrap_p},
    }


def test_what_may_be_concluded() -> None:
    counts = {"n": 1400, "groups": 700}
    assert conclusion(entry(-0.06, 0.002, 0.004), counts, 1) == (
        "b_1 ranks worse than a: AUROC 0.640 against 0.700, difference -0.060 (95% interval -0.100 to -0.020 over 700 "
        "groups, DeLong p = 0.002, bootstrap p = 0.004)."
    )
    doubtful = conclusion(entry(0.04, 0.049, 0.052), counts, 2)
    assert doubtful.startswith("No difference can be concluded between b_1 and a: ")
    assert (
        "adjusted for 2 comparisons); with these 1,400 faces of 700 groups only a true difference of about 0.056"
        in (doubtful)
    )
    assert doubtful.endswith("The two tests disagree: more faces must decide.")
    assert [p_value(p) for p in (0.00099, 0.001, 1.0)] == ["p < 0.001", "p = 0.001", "p = 1.000"]


@pytest.mark.usefixtures("no_plot")
def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    folders = [saved(table(s, k), tmp_path / f"_a|{k}*") for k, s in enumerate((1.0, 1.5))]
    page = markdown_page("compare", facetell.compare(folders, tmp_path / "out").as_dict())
    assert "\\_a\\|1\\*" in page


@pytest.mark.usefixtures("no_plot")
def test_every_conclusion_begins_a_line(tmp_path: Path) -> None:
    folders = [saved(table(s, k), tmp_path / f"{k}") for k, s in enumerate((1.0, 1.5, 2.0))]
    page = markdown_page("compare", facetell.compare(folders, tmp_path / "out").as_dict())
    assert page.split("\n\n")[1].count("**\\\n**") == 1, "a line break of Markdown, and no backslash that is seen"
    assert "|1*" not in page.replace("\\|1\\*", "")
