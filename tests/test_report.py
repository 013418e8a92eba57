"""The report: numbers against scikit-learn and by hand, recomputable, whole or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from facetell.errors import DataError, FacetellError, MissingExtraError, SettingsError, UsageError
from facetell.evaluation import Band, calibrated, choose_threshold, read_predictions
from facetell.reporting import check_destination, pages, plots, report, write_report

PLOTS = ["confusion_matrix", "precision_recall", "reliability", "roc", "score_densities"]


def predictions(n: int = 120, separation: float = 1.5, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    logit = (2 * label - 1) * separation + rng.normal(size=n) * 1.5
    fake, real = (
        np.array(["pggan", "style|gan"])[np.arange(n) // 2 % 2],
        np.array(["ffhq", "celeba"])[np.arange(n) // 2 % 2],
    )
    return {
        "row": np.arange(n),
        "path": np.array([f"set_a/{k:04d}.png" for k in range(n)]),
        "label": label,
        "group": np.array([f"id{k}" for k in np.arange(n) // 3]),
        "source": np.where(label == 1, fake, real),
        "split": np.full(n, "test"),
        "sha256": np.full(n, "0" * 64),
        "logit": logit,
        "score": calibrated(logit, 1.3),
    }


def only(table: dict[str, np.ndarray], label: int) -> dict[str, np.ndarray]:
    return {name: column[table["label"] == label] for name, column in table.items()}


def write(table: dict[str, np.ndarray], out: Path, **changes: object) -> dict:
    settings = {"threshold": 0.45, "threshold_rule": "eer", "context": {"detector": "d"}, "repetitions": 50, "seed": 3}
    return write_report(table, out, **{**settings, **changes})


def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's time; many tests are about the rest."""
    monkeypatch.setattr(report, "draw_plots", lambda *_: {})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("reports") / "first"
    return out, write(predictions(), out)


def test_the_folder_holds_everything(written: tuple[Path, dict]) -> None:
    out, found = written
    assert sorted(entry.name for entry in out.iterdir()) == [
        "plots",
        "predictions.parquet",
        "report.html",
        "report.json",
        "report.md",
    ]
    assert sorted(path.stem for path in (out / "plots").iterdir()) == PLOTS
    assert json.loads((out / "report.json").read_text("utf-8")) == found
    assert [entry.name for entry in out.parent.iterdir()] == ["first"]
    page = (out / "report.md").read_text("utf-8")
    for path in found["plots"].values():
        assert f"]({path})" in page
        with Image.open(out / path) as image:
            assert image.format == "PNG"
            assert image.width >= 900


def test_the_numbers_are_scikit_learns(written: tuple[Path, dict]) -> None:
    table, (_, found) = predictions(), written
    y, s = table["label"], table["score"]
    called = s.astype(float) >= 0.45
    expected = {
        "auroc": sk.roc_auc_score(y, s),
        "average_precision": sk.average_precision_score(y, s),
        "accuracy": sk.accuracy_score(y, called),
        "precision": sk.precision_score(y, called),
        "recall": sk.recall_score(y, called),
        "f1": sk.f1_score(y, called),
        "log_loss": sk.log_loss(y, s),
    }
    for name, value in expected.items():
        metric = found["metrics"][name]
        assert metric["value"] == pytest.approx(value, abs=1e-6)
        assert metric["low"] < metric["value"] < metric["high"]
    c = found["confusion"]
    assert [[c["tn"], c["fp"]], [c["fn"], c["tp"]]] == sk.confusion_matrix(y, called).tolist()
    assert found["counts"] == {"n": 120, "n_real": 60, "n_fake": 60, "groups": 40}


def test_a_row_per_source(written: tuple[Path, dict]) -> None:
    table, (_, found) = predictions(), written
    rows = {row["source"]: row for row in found["sources"]}
    fakes, reals = ["pggan", "style|gan"], ["celeba", "ffhq"]

    def of(source: str) -> float:
        own = table["source"] == source
        if source in reals:
            return float(np.mean(table["score"][own] >= 0.45))
        which = own | (table["label"] == 0)
        return float(sk.roc_auc_score(table["label"][which], table["score"][which]))

    assert list(rows) == [*sorted(fakes, key=of), *sorted(reals, key=of, reverse=True)], "the worst first"
    means = {name: each["mean"] for name, each in found["over_sources"].items()}
    assert means == {
        "auroc": pytest.approx(np.mean([*map(of, fakes)])),
        "fpr": pytest.approx(np.mean([*map(of, reals)])),
    }
    assert "mean AUROC of 2 fake sources" in pages.markdown_page("evaluation", found)
    compared = (table["source"] == "pggan") | (table["label"] == 0)
    y, s = table["label"][compared], table["score"][compared]
    assert rows["pggan"]["metrics"]["auroc"]["value"] == pytest.approx(sk.roc_auc_score(y, s))
    assert rows["pggan"]["metrics"]["recall"]["value"] == pytest.approx(np.mean(s[y == 1] >= 0.45))
    assert (rows["pggan"]["n"], rows["pggan"]["compared_with"]) == (30, 60)
    own = table["score"][table["source"] == "ffhq"]
    assert rows["ffhq"]["metrics"]["fpr"]["value"] == pytest.approx(np.mean(own >= 0.45))
    assert rows["ffhq"]["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(own < 0.45))
    assert "style\\|gan" in pages.markdown_page("evaluation", found)


def test_before_and_after_calibration(written: tuple[Path, dict]) -> None:
    table, (_, found) = predictions(), written
    before, after = found["calibration"]["before"], found["calibration"]["after"]
    assert before["log_loss"]["value"] == pytest.approx(
        sk.log_loss(table["label"], calibrated(table["logit"], 1.0)), abs=1e-6
    )
    assert after == {name: found["metrics"][name] for name in ("ece", "log_loss")}
    assert before["ece"]["low"] < before["ece"]["high"]


def test_the_page_says_whether_crossing_and_ideal_threshold_agree(written: tuple[Path, dict]) -> None:
    out, found = written
    ideal = found["thresholds"]
    table = predictions()
    scores = table["score"]
    assert ideal["youden"]["value"] == choose_threshold(table["label"], scores, "youden")
    assert ideal["detector"] == 0.45
    assert ideal["agree"] == (ideal["difference"]["low"] <= 0 <= ideal["difference"]["high"])
    page = (out / "report.md").read_text("utf-8")
    assert f"The score densities cross at {ideal['crossing']['value']:.3f} (" in page
    assert "includes 0. Both describe these faces" in page
    told = pages.markdown_page("evaluation", {**found, "thresholds": {**ideal, "agree": False}})
    assert "The two do not agree" in told
    assert "does not include 0" in told


@pytest.mark.usefixtures("no_plots")
def test_the_band_is_counted_by_hand(tmp_path: Path) -> None:
    table = predictions(8)
    table["label"], table["group"] = np.repeat([0, 1], 4), np.arange(8)
    table["score"] = np.array([0.1, 0.4, 0.6, 0.9, 0.2, 0.5, 0.8, 0.9])
    found = write(table, tmp_path / "r", threshold=0.5, band=Band(fake_from=0.3, real_to=0.7))["unsure"]
    assert (found["low"], found["high"]) == (0.3, 0.7)
    assert {call: found["real"][call] for call in ("real", "unsure", "fake")} == {"real": 1, "unsure": 2, "fake": 1}
    assert {call: found["fake"][call] for call in ("real", "unsure", "fake")} == {"real": 1, "unsure": 1, "fake": 2}
    assert found["real"]["wrong"]["value"] == found["fake"]["wrong"]["value"] == 0.25
    assert "| **real** | 1 | 2 | 1 | 0.250 (" in (tmp_path / "r" / "report.md").read_text("utf-8")


@pytest.mark.usefixtures("no_plots")
def test_a_source_with_both_labels_has_two_rows(tmp_path: Path) -> None:
    found = write({**predictions(40), "source": np.full(40, "mixed")}, tmp_path / "r")
    assert [(row["source"], row["label"], row["n"]) for row in found["sources"]] == [
        ("mixed", "fake", 20),
        ("mixed", "real", 20),
    ]


@pytest.mark.slow
def test_the_predictions_alone_give_the_same_report(written: tuple[Path, dict], tmp_path: Path) -> None:
    out, found = written
    assert write(read_predictions(out / "predictions.parquet"), tmp_path / "again") == found


@pytest.mark.usefixtures("no_plots")
def test_the_worst_mistakes_come_first(tmp_path: Path) -> None:
    table = predictions(6)
    table["label"] = np.array([0, 1, 0, 1, 0, 1])
    table["score"] = np.array([0.2, 0.6, 0.9, 0.05, 0.6, 0.99])  # wrong at 0.5: rows 2, 3, 4
    found = write(table, tmp_path / "r", threshold=0.5)
    assert [(m["row"], m["label"]) for m in found["mistakes"]] == [(3, "fake"), (2, "real"), (4, "real")]
    assert found["mistakes"][0]["path"] == "set_a/0003.png"


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_null_in_json_and_a_dash_on_the_page(tmp_path: Path, label: int) -> None:
    found = write(only(predictions(), label), tmp_path / "r")
    text = (tmp_path / "r" / "report.json").read_text("utf-8")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) == found
    nothing = {"value": None, "low": None, "high": None}
    for name in ("auroc", "average_precision", "eer", "balanced_accuracy", "precision", "f1"):
        assert found["metrics"][name] == nothing
    assert found["metrics"]["recall" if label else "fpr"]["low"] is not None
    assert "| AUROC | – |" in (tmp_path / "r" / "report.md").read_text("utf-8")
    assert sorted(found["plots"]) == ["confusion_matrix", "reliability", "score_densities"]
    assert any("face: AUROC" in warning for warning in found["warnings"])


@pytest.mark.usefixtures("no_plots")
def test_the_page_says_how_it_was_made(tmp_path: Path) -> None:
    context = {
        "detector": "runs/a|b",
        "versions": {"facetell": "0.1.0"},
        "rate": np.float32("nan"),
        "where": Path("x"),
        "warnings": ["fitted on 20 images"],
    }
    found = write(predictions(), tmp_path / "r", context=context)
    page = (tmp_path / "r" / "report.md").read_text("utf-8")
    for part in (
        "runs/a\\|b",
        "facetell: 0.1.0",
        "fitted on 20 images",
        "rule eer",
        "seed 3",
        "50 repetitions",
        "40 groups",
    ):
        assert part in page
    assert found["context"]["rate"] is None
    assert found["context"]["where"] == "x"


@pytest.mark.usefixtures("no_plots")
def test_few_groups_are_warned_about(tmp_path: Path) -> None:
    table = predictions()
    table["group"] = np.where(table["label"] == 1, "same", table["group"].astype(object))
    found = write(table, tmp_path / "r")
    assert [w for w in found["warnings"] if "only" in w] == [
        "fake faces come from only 1 group(s): their intervals are likely too narrow"
    ]


@pytest.mark.slow
def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "r"
    write(predictions(), out)
    found = write(only(predictions(), 0), out)
    assert json.loads((out / "report.json").read_text("utf-8")) == found
    assert not (out / "plots" / "roc.png").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["r"]


@pytest.mark.usefixtures("no_plots")
def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    write(predictions(), tmp_path / "r")
    assert (tmp_path / "r" / "report.md").is_file()


@pytest.mark.usefixtures("no_plots")
def test_nothing_of_others_is_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "report.json").write_text('{"format": "other"}')
    write(predictions(), tmp_path / "notes")
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    for name, message in (("file", "is a file"), ("folder", "not a report"), ("notes", "notes.txt")):
        with pytest.raises(UsageError, match=message):
            check_destination(tmp_path / name)
        with pytest.raises(UsageError, match=message):
            write(predictions(), tmp_path / name)
    assert (tmp_path / "notes" / "notes.txt").read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder", "notes"]


@pytest.mark.usefixtures("no_plots")
def test_a_failure_leaves_the_earlier_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "r"
    write(predictions(), out)
    before = (out / "report.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_predictions", full)
    with pytest.raises(FacetellError, match="disk is full"):
        write(predictions(60), out)
    assert (out / "report.json").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["r"]


def test_without_matplotlib_there_are_numbers_and_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_matplotlib(monkeypatch)
    found = write(predictions(), tmp_path / "r")
    assert found["plots"] == {}
    assert not (tmp_path / "r" / "plots").exists()
    assert "pip install 'facetell[report]'" in (tmp_path / "r" / "report.md").read_text("utf-8")
    with pytest.raises(MissingExtraError, match="report"):
        plots.roc([0, 1], [0.1, 0.9], 0.5, tmp_path / "roc.png")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_is_a_score(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(SettingsError, match="score in"):
        write(predictions(), tmp_path / "r", threshold=threshold)


def test_no_predictions_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prediction"):
        write({name: column[:0] for name, column in predictions().items()}, tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "scores", "threshold"),
    [
        ([0, 1], [0.0, 1.0], 0.5),
        ([0, 1, 0, 1], [0.5] * 4, 0.0),
        ([0, 0, 1], [1.0, 1.0, 0.0], float(np.nextafter(1, 2))),
    ],
)
def test_every_plot_survives_degenerate_scores(tmp_path: Path, labels: list, scores: list, threshold: float) -> None:
    for name in PLOTS:
        path = tmp_path / f"{name}.png"
        if name == "reliability":
            plots.reliability(labels, scores, path)
        else:
            getattr(plots, name)(labels, scores, threshold, path)
        with Image.open(path) as image:
            assert image.convert("L").getextrema()[0] < 100  # something is drawn


def test_text_cannot_break_the_page() -> None:
    assert pages.escaped("a|b\n`c` <img>") == "a\\|b \\`c\\` &lt;img&gt;"
    assert pages.shown({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert pages.shown(None) == "–"


def test_operating_points_are_counted_on_these_faces(tmp_path: Path, no_plots: None) -> None:
    table = predictions()
    points = {"strict": {"value": 0.8, "rule": "fpr=0.01"}, "default": {"value": 0.45, "rule": "eer"}}
    found = write(table, tmp_path / "out", points=points)["operating_points"]
    assert [point["name"] for point in found] == ["default", "strict"]
    called = table["score"] >= 0.8
    assert found[1]["recall"]["value"] == pytest.approx(called[table["label"] == 1].mean())
    assert found[1]["fpr"]["value"] == pytest.approx(called[table["label"] == 0].mean())
    assert found[1]["fpr"]["low"] <= found[1]["fpr"]["value"] <= found[1]["fpr"]["high"]
    assert "| strict | fpr=0.01 | 0.8 |" in (tmp_path / "out" / "report.md").read_text()
