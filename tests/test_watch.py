"""Drift watch: from what ``detect`` and ``evaluate`` write to the sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from toy import toy_source

import facetell
from facetell.cli.main import main
from facetell.detector.bundle import update_calibration, update_description
from facetell.detector.calibration import Calibration, UnsureBand
from facetell.detector.traffic import watched
from facetell.detector.verdict import FaceVerdict, TrackVerdict, Verdict
from facetell.errors import BundleError, DataError, MissingExtraError, UsageError
from facetell.evaluation import calibrated, write_predictions
from facetell.evaluation.drift import Sketch
from facetell.evaluation.score_curves import Curve
from facetell.files import sha256_of
from facetell.reporting import watch as reporting

RNG = np.random.default_rng


def traffic(seed: int, n: int, share: float = 0.2, new: int = 0) -> np.ndarray:
    """Logits of ``n`` files, about ``share`` of them fake, and of ``new`` more that lie in between."""
    rng = RNG(seed)
    known = np.where(rng.random(n) < share, rng.normal(3, 1, n), rng.normal(-3, 1, n))
    return np.concatenate([known, rng.normal(0, 0.3, new)])


@pytest.fixture
def detector(fitted: Path, tmp_path: Path) -> Path:
    """A detector whose reals lie around -3 and whose fakes lie around 3."""
    copied = Path(shutil.copytree(fitted, tmp_path / "detector"))

    def change(stored: Calibration | None) -> Calibration:
        assert stored is not None
        real, fake = (Sketch.of(traffic(90, 500, share)) for share in (0.0, 1.0))
        reference = replace(stored.face.reference, real=real, fake=fake)
        return replace(stored, face=replace(stored.face, curve=Curve(1.5), reference=reference))

    update_calibration(copied, change)
    return copied


@pytest.fixture
def no_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingExtraError("plots", "report")

    monkeypatch.setattr(reporting, "_draw", missing)


def face(track: int, score: float) -> FaceVerdict:
    return FaceVerdict(None, None, None, None, None, None, track, 0.0, score)


def judged(detector: Path, name: str, logits: Sequence[float], prevalence: float | None = None) -> list[Verdict]:
    """Verdicts on photos with one face of these logits."""
    description = json.loads((detector / "detector.json").read_text("utf-8"))
    decider, _ = watched(description, "default", prevalence)
    found = []
    for k, logit in enumerate(logits):
        decision, score = decider.decision(logit), decider.score(logit)
        found.append(
            Verdict(
                f"{name}/{k}.jpg", decision, decision, logit, score, 1, decider.shown_threshold, "default",
                decider.shown_band, prevalence, kind="picture", frames=1, faces=[face(0, score)],
                tracks=[TrackVerdict(0, 1, None, None, None, logit, score, decision)],
            )
        )  # fmt: skip
    return found


def written(detector: Path, path: Path, verdicts: Sequence[Verdict]) -> Path:
    identity = sha256_of(detector / "detector.json")[:16]
    lines = [json.dumps({**verdict.as_dict(), "detector": identity}) for verdict in verdicts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def batch(detector: Path, path: Path, logits: Sequence[float], prevalence: float | None = None) -> Path:
    return written(detector, path, judged(detector, path.stem, logits, prevalence))


def test_known_faces_are_nothing_new(detector: Path, tmp_path: Path) -> None:
    files = [batch(detector, tmp_path / f"{day}.jsonl", traffic(day, 400, 0.1 * day)) for day in range(1, 4)]
    found = facetell.watch(detector, files)
    assert (found.seen, found.next, found.warnings) == ("nothing", None, [])
    assert found.sentences[0].startswith("Nothing new is seen in 1,200 files: their scores look like known reals")
    for day, part in enumerate(found.batches, start=1):
        (test,) = part["tests"]
        assert (part["files"], test["n"], test["kind"]) == (400, 400, "face")
        assert test["fakes"]["value"] == pytest.approx(0.1 * day, abs=0.05)
        assert test["p_holm"] >= test["p"] > 0.01
    assert found.whole["tests"][0]["n"] == 1200


@pytest.mark.slow
def test_monday_is_seen(detector: Path, tmp_path: Path) -> None:
    days = {"saturday": traffic(1, 400), "sunday": traffic(2, 400), "monday": traffic(3, 300, new=100)}
    files = [batch(detector, tmp_path / f"{name}.jsonl", logits) for name, logits in days.items()]
    found = facetell.watch(detector, files, tmp_path / "out")
    assert found.seen == "new"
    assert found.sentences[0].startswith(f"The 400 faces of {files[2]} do not look like known reals and fakes")
    assert "monday.jsonl" in found.sentences[1]
    assert "sunday.jsonl" not in found.sentences[1]
    assert "facetell adapt detector --fake FOLDER -o NEW" in found.next
    assert found.look is None  # no picture was opened: there is none
    (test,) = found.batches[2]["tests"]
    low, high = test["between"]
    assert 0.1 < low < 0.5 < high < 0.9
    assert len(test["examples"]) == 16
    assert sum(int(Path(path).stem) >= 300 for path in test["examples"]) >= 9  # the new ones
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == ["watch.json", "watch.md", "watch.png"]
    assert json.loads((tmp_path / "out" / "watch.json").read_text("utf-8")) == found.as_dict()
    page = (tmp_path / "out" / "watch.md").read_text("utf-8")
    assert "cannot see a new kind of fake that scores like real faces" in page
    assert "![watch.png](watch.png)" in page
    assert page.count("monday/") == 16
    alone = facetell.watch(detector, files[2:])
    assert alone.sentences[0].startswith("These 400 faces do not look like known reals and fakes in some mix: KS")
    assert len(alone.sentences) == 1
    html = facetell.report([tmp_path / "out"], tmp_path / "page.html")
    assert "do not look like known reals and fakes" in html.read_text("utf-8")


def test_logits_come_back_from_scores_of_any_prevalence(detector: Path, tmp_path: Path) -> None:
    logits = [*traffic(5, 300).tolist(), 60.0, -60.0]  # the last two saturate
    plain, rare = (
        facetell.watch(detector, [batch(detector, tmp_path / name, logits, prevalence)]).whole["tests"][0]
        for name, prevalence in (("plain.jsonl", None), ("rare.jsonl", 0.01))
    )
    for key in ("ks", "p", "between"):
        assert rare[key] == pytest.approx(plain[key], rel=1e-6)


def test_shares_count_every_file_once(detector: Path, tmp_path: Path) -> None:
    def band(stored: Calibration | None) -> Calibration:
        assert stored is not None
        points = {"default": replace(stored.face.points["default"], value=0.5)}
        return replace(
            stored, face=replace(stored.face, points=points, unsure=UnsureBand(0.3, 0.7, 0.9, stored.face.on))
        )

    update_calibration(detector, band)
    logits = [-3.0] * 60 + [0.1] * 10 + [3.0] * 30
    statuses = ["no_face"] * 15 + ["unsure"] * 5
    dumb = [Verdict(f"{k}.jpg", status, reason="no") for k, status in enumerate(statuses)]
    before = judged(detector, "day", [9.0] * 3)  # superseded, as a killed run of detect leaves it
    path = written(detector, tmp_path / "day.jsonl", [*before, *judged(detector, "day", logits), *dumb])
    whole = facetell.watch(detector, [path]).whole
    assert whole["files"] == 120
    assert whole["statuses"] == {"real": 60, "fake": 30, "unsure": 15, "no_face": 15}
    for name, hits, n in (("unjudged", 20, 120), ("fake", 30, 100), ("unsure", 10, 100)):
        exact = stats.binomtest(hits, n).proportion_ci(method="exact")
        share = whole["shares"][name]
        assert share == pytest.approx({"value": hits / n, "low": exact.low, "high": exact.high, "n": n})


@pytest.mark.slow
def test_one_face_of_a_photo_counts(detector: Path, tmp_path: Path) -> None:
    """The most fake of several faces is more fake than one: group photos are no drift."""
    pairs = traffic(6, 600, 0.3).reshape(-1, 2)
    verdicts = []
    for name, (first, second) in enumerate(pairs.tolist()):
        one, other = judged(detector, str(name), [first, second])
        most = max(one, other, key=lambda verdict: verdict.score or 0)
        tracks = [*one.tracks, TrackVerdict(1, 1, None, None, None, 0.0, other.tracks[0].score, str(other.decision))]
        verdicts.append(Verdict(**{**vars(most), "tracks": tracks}))
    assert facetell.watch(detector, [written(detector, tmp_path / "day.jsonl", verdicts)]).seen == "nothing"


def test_videos_have_no_reference_here(detector: Path, tmp_path: Path) -> None:
    videos = [Verdict(**{**vars(one), "kind": "video"}) for one in judged(detector, "clips", traffic(1, 30))]
    found = facetell.watch(detector, [written(detector, tmp_path / "clips.jsonl", videos)], tmp_path / "out")
    assert found.seen is None
    assert found.warnings == ["30 videos are not compared: the reference has none"]


def table(path: Path, logits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Path:
    n = len(logits)
    text = np.array([f"{k}" for k in range(n)], dtype=object)
    columns = {"row": np.arange(n), "path": text, "label": labels, "group": groups, "source": text, "split": text,
               "sha256": text, "logit": logits, "score": calibrated(logits, 1.0)}  # fmt: skip
    write_predictions(path, columns)
    return path


def test_tables_of_evaluate_and_other_references(detector: Path, tmp_path: Path, no_plot: None) -> None:
    labels = RNG(0).integers(0, 2, 1500)
    logits = RNG(1).normal(6 * labels - 3, 1) + 4  # of another world than validation
    known = table(tmp_path / "known.parquet", logits, labels, np.arange(1500).astype(str))
    later = table(tmp_path / "later.parquet", logits[:900] + RNG(2).normal(0, 0.01, 900), labels[:900],
                  np.repeat(np.arange(300), 3).astype(str))  # fmt: skip
    assert facetell.watch(detector, [later]).seen == "new"
    found = facetell.watch(detector, [later], tmp_path / "out", reference=known)
    assert found.seen == "nothing"
    assert found.whole["files"] == 300  # one face of each group
    assert found.reference["labelled"]
    assert not (tmp_path / "out" / "watch.png").exists()

    week = batch(detector, tmp_path / "week.jsonl", traffic(1, 800, 0.1).tolist())
    day = batch(detector, tmp_path / "day.jsonl", traffic(2, 400, 0.5).tolist())
    assert facetell.watch(detector, [day]).seen == "nothing"  # another mix of the known
    compared = facetell.watch(detector, [day], reference=week)
    assert compared.seen == "new"  # without labels, the mix is part of what was good
    assert compared.whole["tests"][0]["fakes"] is None
    assert compared.reference["shares"]["fake"]["n"] == 800
    assert "beyond what the reference has there" in compared.sentences[0]


def test_an_uncalibrated_detector_says_what_to_do(detector: Path, tmp_path: Path) -> None:
    day = batch(detector, tmp_path / "day.jsonl", traffic(1, 50).tolist())
    week = batch(detector, tmp_path / "week.jsonl", traffic(2, 500).tolist())
    assert facetell.watch(detector, [day], reference=week).seen == "nothing"
    update_description(detector, lambda description: description.update(calibration=None))
    with pytest.raises(UsageError, match="is uncalibrated") as caught:
        facetell.watch(detector, [day])
    assert "facetell calibrate" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"path": "torn', "line 3 is no verdict"),
        ('{"path": "a.jpg"}', "line 3 is no verdict"),
        ("[1]", "line 3 is no verdict"),
        ("", "line 3 is no verdict"),
    ],
)
def test_a_bad_line_has_its_number(detector: Path, tmp_path: Path, line: str, said: str) -> None:
    path = batch(detector, tmp_path / "day.jsonl", [0.0, 1.0])
    path.write_text(path.read_text("utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        facetell.watch(detector, [path])


def test_bad_input(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to watch"):
        facetell.watch(detector, [])
    with pytest.raises(DataError, match="there is no"):
        facetell.watch(detector, [tmp_path / "no.jsonl"])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="holds no verdict"):
        facetell.watch(detector, [tmp_path / "empty.jsonl"])
    path = batch(detector, tmp_path / "day.jsonl", [0.0, 1.0])
    assert facetell.watch(detector, [path]).seen is None  # two files are too few
    update_description(detector, lambda description: description.update(seed=99))
    with pytest.raises(DataError, match="line 1 is a verdict of another detector"):
        facetell.watch(detector, [path])
    with pytest.raises(BundleError, match="face.reference.real"):
        update_description(detector, lambda d: d["calibration"]["face"]["reference"].update(real={}))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a watch"):
        facetell.watch(detector, [path], tmp_path / "foreign")


def test_the_command_from_detect_on(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_plot: None
) -> None:
    stored = json.loads((fitted / "detector.json").read_text("utf-8"))["calibration"]["face"]["reference"]
    assert (stored["on"]["split"], stored["real"]["n"], stored["fake"]["n"]) == ("validation", 10, 10)
    assert len(stored["real"]["quantiles"]) == 201
    pictures = toy_source(tmp_path / "pictures")

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return int(ended.value.code or 0), capsys.readouterr().out

    verdicts = tmp_path / "all.jsonl"
    run("detect", fitted, pictures, "-o", verdicts, "--faces", "crops")  # index.csv is no picture: 6
    code, out = run("watch", fitted, verdicts, "-o", tmp_path / "out")
    assert code == 0
    assert "watch: " in out
    assert (tmp_path / "out" / "watch.md").is_file()
    code, out = run("watch", fitted, verdicts, "--json")
    found = json.loads(out)
    assert code == 0
    assert found == json.loads((tmp_path / "out" / "watch.json").read_text("utf-8"))
    assert found["whole"]["statuses"]["unsupported"] == 1
    assert found["whole"]["tests"][0]["n"] == found["whole"]["files"] - 1


def test_nothing_judged_is_drawn_too(detector: Path, tmp_path: Path) -> None:
    dumb = [Verdict(f"{k}.jpg", "no_face", reason="no face found") for k in range(30)]
    found = facetell.watch(detector, [written(detector, tmp_path / "day.jsonl", dumb)], tmp_path / "out")
    assert (found.seen, found.sentences) == (None, ["There are too few judged files to compare."])
    assert found.whole["shares"]["fake"] is None
    assert found.whole["shares"]["unjudged"]["value"] == 1.0
    assert (tmp_path / "out" / "watch.png").exists()


def test_videos_are_held_against_videos(detector: Path, tmp_path: Path) -> None:
    def change(stored: Calibration | None) -> Calibration:
        assert stored is not None
        real, fake = (Sketch.of(2 * traffic(91, 300, k)) for k in (0, 1))
        points = {"default": replace(stored.face.points["default"], value=0.5)}
        reference = replace(stored.face.reference, real=real, fake=fake)
        return replace(stored, video=replace(stored.face, curve=Curve(4.0), points=points, reference=reference))

    update_calibration(detector, change)
    decider = watched(json.loads((detector / "detector.json").read_text("utf-8")))[1]
    photos = judged(detector, "photos", traffic(1, 100).tolist())
    clips = [
        Verdict(**{**vars(one), "path": f"{one.path}.mp4", "kind": "video", "score": decider.score(2 * logit)})
        for one, logit in zip(photos, traffic(2, 100).tolist(), strict=True)
    ]
    path = written(detector, tmp_path / "both.jsonl", [*photos, *clips])
    found = facetell.watch(detector, [path], tmp_path / "out")
    assert found.seen == "nothing"
    assert [(test["kind"], test["n"]) for test in found.whole["tests"]] == [("face", 100), ("video", 100)]
    assert "100 faces" in found.sentences[0]
    assert "100 videos" in found.sentences[0]
    as_faces = written(detector, tmp_path / "mixed.jsonl", [Verdict(**{**vars(one), "kind": "picture", "tracks": [
        TrackVerdict(0, 1, None, None, None, 2 * logit, calibrated(np.array(2 * logit), 1.5).item(), "real")]})
        for one, logit in zip(clips, traffic(2, 100).tolist(), strict=True)])  # fmt: skip
    assert facetell.watch(detector, [as_faces]).seen == "new"
