"""Whole videos: calibrated on files by the rule that judging uses where there are enough, and measured by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from faceclips import needs_media, portrait, save_clip, save_photo, two_people, walk
from monday import Monday
from sklearn.metrics import confusion_matrix, roc_auc_score

import facetell
from facetell.detector.calibration import DEFAULT
from facetell.detector.measure import Sample
from facetell.evaluation.score_curves import calibrated, fit_temperature
from facetell.evaluation.thresholds import choose_threshold
from facetell.faceset.table import FaceSet

FRAMES = 5


def faceset(videos: int, pictures: int = 0) -> SimpleNamespace:
    """``videos`` of one face in five frames, too few for stretches, every second fake, rows shuffled; and pictures."""
    rows = [
        {
            "path": f"{video}.mp4", "group": f"person {video // 4}", "label": video % 2, "source": None, "frame": 10 * frame,
            "time": 0.4 * frame,
            "box": [5.0, 5.0, 40.0, 50.0], "landmarks": [0.0] * 10, "face_score": 0.9,
            "scene": 0,
        }
        for video in range(videos)
        for frame in range(FRAMES)
    ]  # fmt: skip
    rows += [
        {"path": f"{i}.png", "group": f"photo {i}", "label": i % 2, "source": None, "frame": None,
         "time": None, "box": [0.0] * 4, "landmarks": [0.0] * 10,
         "face_score": 0.9, "scene": None}
        for i in range(pictures)
    ]  # fmt: skip
    order = np.random.default_rng(0).permutation(len(rows))
    table = pa.Table.from_pylist([rows[i] for i in order])
    return SimpleNamespace(columns=lambda names, split: table.select(names), path=Path("faces"), fingerprint="0" * 64)


def noisy_logits(faces: SimpleNamespace) -> np.ndarray:
    labels = faces.columns(["label"], "validation")["label"].to_numpy()
    return (labels * 2 - 1 + np.random.default_rng(1).normal(0, 1.5, len(labels))).astype(np.float32)


def test_it_is_chosen_on_the_pooled_logits_of_files() -> None:
    faces = faceset(40, pictures=9)
    logits = noisy_logits(faces)
    videos = Sample.of_videos(faces, "validation", logits)  # type: ignore[arg-type]
    assert videos is not None
    found = videos.scale({DEFAULT: "balanced_accuracy"})
    table = faces.columns(["path", "label", "frame"], "validation").to_pandas()
    table["logit"] = logits
    by_file = table[table["frame"].notna()].groupby("path")
    pooled = by_file["logit"].mean()  # one track of five faces each: the rule is the plain mean
    labels = by_file["label"].first().to_numpy()
    temperature = fit_temperature(pooled.to_numpy(), labels)
    assert (found.on.n, found.on.n_real, found.on.n_fake) == (40, 20, 20)
    assert found.points[DEFAULT].on.groups == 10
    assert found.curve.temperature == pytest.approx(temperature, rel=1e-4)
    threshold = choose_threshold(labels, calibrated(pooled.to_numpy(), temperature), "balanced_accuracy")
    assert found.points[DEFAULT].value == pytest.approx(threshold, rel=1e-4)


@pytest.mark.parametrize(("videos", "pictures"), [(0, 30), (18, 0), (19, 5)])
def test_too_few_videos_choose_nothing(videos: int, pictures: int) -> None:
    faces = faceset(videos, pictures)
    assert Sample.of_videos(faces, "validation", noisy_logits(faces)) is None  # type: ignore[arg-type]


def test_evaluate_judges_videos_as_detect_does(made: Monday, tmp_path: Path) -> None:
    """AUROC and confusion are scikit-learn's, of what `detect` says of the very files; the mean is pandas' of the table."""
    needs_media()
    for seed in range(6):
        label = "fake" if seed % 2 else "real"
        clip = two_people(seed, 4) if seed == 3 else walk(seed, 3 + seed)
        save_clip(tmp_path / "clips" / "test" / label / f"{seed}.mp4", clip)
    save_photo(tmp_path / "clips" / "test" / "real" / "photo.png", portrait(9))
    faces = facetell.prepare(tmp_path / "clips", tmp_path / "faces", faces="find")
    report = facetell.evaluate(made.detector, faces, tmp_path / "report", device="cpu")
    verdicts = [
        one for one in facetell.detect(made.detector, [tmp_path / "clips"], faces="find") if one.kind == "video"
    ]
    labels = ["fake" in str(one.path) for one in verdicts]
    found = report.videos
    assert found is not None
    assert found["counts"] == {"n": 6, "n_real": 3, "n_fake": 3, "groups": 6}
    assert found["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(labels, [one.logit for one in verdicts]))
    decided = [one.decision == "fake" for one in verdicts]
    assert list(found["confusion"].values()) == confusion_matrix(labels, decided).ravel().tolist()
    table = pd.read_parquet(tmp_path / "report" / "predictions.parquet")
    means = table[~table["path"].str.endswith("photo.png")].groupby("path").agg({"label": "first", "score": "mean"})
    assert found["mean_score_auroc"]["value"] == pytest.approx(roc_auc_score(means["label"], means["score"]))
    assert "## Whole videos" in (tmp_path / "report" / "report.md").read_text("utf-8")


def test_without_videos_nothing_is_said_of_them(brief: Callable[[str], Path], faces: FaceSet) -> None:
    assert facetell.evaluate(brief("finetune"), faces, device="cpu").videos is None
