"""The drawn faces: the same bytes for the same seed, an honest index, and forgeries no trivial cue gives away."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from facetell.drawn.camera import camera
from facetell.drawn.face import draw_face
from facetell.drawn.folder import KINDS, write_drawn_faces
from facetell.drawn.forgery import blended, upsampled
from facetell.drawn.person import Person, Shot
from facetell.errors import DataError, SettingsError
from facetell.progress import Step

PEOPLE = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_faces(tmp_path_factory.mktemp("drawn") / "faces", people=PEOPLE, seed=5)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_same_seed_same_bytes_other_seed_other_pictures(tmp_path):
    once, twice, other = (
        hashes(write_drawn_faces(tmp_path / name, people=14, seed=seed, size=32))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert once == twice
    assert once.keys() == other.keys()
    assert all(once[name] != other[name] for name in once if name != "index.csv")


@pytest.mark.slow
def test_no_two_pictures_are_the_same(folder):
    found = hashes(folder)
    assert len(set(found.values())) == len(found)


def test_every_row_has_its_file_and_every_file_its_row(folder, rows):
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
    assert written == {row["path"] for row in rows}
    assert {path.name for path in folder.iterdir()} == {"real", "fake", "index.csv"}
    for row in rows:
        assert row["path"].startswith(row["label"] + "/")
        assert (row["label"] == "real") == (row["source"] == "drawn")


def test_each_person_has_as_many_photos_as_forgeries_of_each_kind(rows):
    counts = Counter((row["group"], row["source"]) for row in rows)
    assert set(counts.values()) == {2}
    assert len(counts) == PEOPLE * 3
    assert {source for _, source in counts} == {"drawn", *KINDS}


def test_people_stay_in_one_split_and_every_kind_has_the_same_people(rows):
    splits = {row["group"]: row["split"] for row in rows}
    assert all(splits[row["group"]] == row["split"] for row in rows)
    assert Counter(splits.values()) == {"train": 24, "validation": 5, "finetune": 6, "test": 5}


def test_pictures_are_rgb_jpegs_of_the_size_asked_for(folder, rows, tmp_path):
    for row in rows[::17]:
        with Image.open(folder / row["path"]) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (96, 96))
            picture.load()
    other = write_drawn_faces(tmp_path / "small", people=14, seed=0, size=44, kinds=("blended",))
    assert len(list(other.rglob("*.jpg"))) == 14 * 4
    with Image.open(next(other.rglob("*.jpg"))) as picture:
        assert picture.size == (44, 44)


def test_jpeg_quality_is_drawn_alike_for_all(folder, rows):
    """No quality stands for a label: the quantisation tables seen in each source overlap widely and range alike."""
    tables: dict[str, list[int]] = {}
    for row in rows:
        with Image.open(folder / row["path"]) as picture:
            tables.setdefault(row["source"], []).append(sum(picture.quantization[0]))
    for values in tables.values():
        assert np.mean(values) == pytest.approx(np.mean(tables["drawn"]), rel=0.12)


@pytest.mark.parametrize("kind", KINDS)
def test_trivial_cues_do_not_separate(folder, rows, kind):
    features, labels, groups = [], [], []
    for row in rows:
        if row["source"] in ("drawn", kind):
            data = (folder / row["path"]).read_bytes()
            with Image.open(io.BytesIO(data)) as picture:
                pixels = np.asarray(picture).reshape(-1, 3) / 255
                table = sum(picture.quantization[0])
            features.append([*pixels.mean(axis=0), *pixels.std(axis=0), len(data), table])
            labels.append(int(row["label"] == "fake"))
            groups.append(row["group"])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    score = cross_val_predict(model, features, labels, groups=groups, cv=GroupKFold(5), method="predict_proba")[:, 1]
    # 80 pictures a class: the standard error is about 0.045, so this allows for three of them round the real value.
    assert 0.34 < roc_auc_score(labels, score) < 0.67


def faces(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [draw_face(rng) for _ in range(count)]


def test_a_face_is_as_promised():
    face = faces(1, 0)[0]
    assert (face.shape, face.dtype) == ((96, 96, 3), np.float32)
    assert 0 <= face.min() < face.max() <= 1


def test_upsampling_leaves_peaks_where_the_grids_repeat():
    """Grids of two and four pixels: the mean spectrum rises at a half and a quarter of the sampling rate alone."""
    rng = np.random.default_rng(1)
    window = np.outer(np.hanning(96), np.hanning(96))

    def spectrum(pictures: list[np.ndarray]) -> np.ndarray:
        return np.mean([np.abs(np.fft.fft2(p.mean(axis=2) * window)) for p in pictures], axis=0)

    originals = faces(40, 2)
    rise = spectrum([upsampled(face, rng) for face in originals]) / spectrum(originals)
    assert rise[48, 0] > 3
    assert min(rise[24, 0], rise[0, 24]) > 1.2
    assert rise[[18, 19, 20, 29, 30], 0] == pytest.approx(np.ones(5), abs=0.2)


def test_blending_changes_the_inner_face_and_keeps_the_rest():
    rng = np.random.default_rng(3)
    shot = Shot.draw(rng)
    face, donor = (draw_face(rng, person=Person.draw(rng), shot=shot) for _ in range(2))
    change = np.abs(blended(face, donor, rng)[0] - face).mean(axis=2)
    corners = np.concatenate([change[:12, :12], change[:12, -12:], change[-8:, :8], change[-8:, -8:]], axis=None)
    assert change[36:72, 32:64].mean() > 4 * corners.mean()
    assert corners.mean() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_forgeries_keep_colour_contrast_and_energy_of_detail(kind):
    rng = np.random.default_rng(4)
    originals = faces(30, 6)
    donors = originals[1:] + originals[:1]
    made = [
        upsampled(face, rng) if kind == "upsampled" else blended(face, donor, rng)[0]
        for face, donor in zip(originals, donors, strict=True)
    ]

    def detail(face: np.ndarray) -> float:
        return float((np.diff(face, axis=0) ** 2).mean() + (np.diff(face, axis=1) ** 2).mean())

    for before, after in zip(originals, made, strict=True):
        assert after.mean(axis=(0, 1)) == pytest.approx(before.mean(axis=(0, 1)), abs=0.02)
        assert after.std(axis=(0, 1)) == pytest.approx(before.std(axis=(0, 1)), abs=0.03)
    assert np.median([detail(b) / detail(a) for a, b in zip(originals, made, strict=True)]) == pytest.approx(
        1, abs=0.15
    )


def test_the_camera_adds_noise_and_keeps_the_picture():
    rng = np.random.default_rng(5)
    face = faces(1, 7)[0]
    once, twice = (np.asarray(Image.open(io.BytesIO(camera(face, rng)))) / 255 for _ in range(2))
    assert not np.array_equal(once, twice)
    assert np.abs(once - face).mean() < 0.08


@pytest.mark.slow
def test_masks_say_where_a_picture_was_blended_and_change_no_picture(tmp_path):
    plain = write_drawn_faces(tmp_path / "plain", people=14, seed=0, size=64)
    marked = write_drawn_faces(tmp_path / "marked", people=14, seed=0, size=64, masks=True)
    found = {place: digest for place, digest in hashes(marked).items() if not place.startswith("masks/")}
    assert found == hashes(plain)
    masks = sorted(path.relative_to(marked / "masks").as_posix() for path in (marked / "masks").rglob("*.png"))
    blends = sorted(path.relative_to(marked).with_suffix(".png").as_posix() for path in marked.glob("fake/*blended*"))
    assert masks == blends
    for place in masks:
        mask = np.asarray(Image.open(marked / "masks" / place)) / 255
        assert mask.shape == (64, 64)
        assert 0.1 < mask.mean() < 0.3
        assert mask[36, 32] == 1
        assert not mask[:8].any()


def test_progress_counts_every_picture(tmp_path):
    seen: list[Step] = []
    write_drawn_faces(tmp_path / "x", people=14, seed=0, size=32, progress=seen.append)
    assert [(step.done, step.total) for step in seen] == [(i, 84) for i in range(1, 85)]


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not an empty folder"):
        write_drawn_faces(tmp_path, people=14, seed=0, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interruption_leaves_nothing_behind(tmp_path):
    def stop(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_drawn_faces(tmp_path / "x", people=14, seed=0, size=32, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"people": 13}, "people is 13"),
        ({"people": 14, "seed": -1}, "seed is -1"),
        ({"people": 14, "kinds": ("blended", "blended")}, "named twice"),
        ({"people": 14, "size": 30}, "size is 30"),
        ({"people": 14, "size": 34}, "size is 34"),
        ({"people": 14, "kinds": ("blend",)}, "did you mean 'blended'"),
    ],
)
def test_impossible_requests_are_refused(tmp_path, settings, message):
    with pytest.raises(SettingsError, match=message):
        write_drawn_faces(tmp_path / "x", **{"seed": 0, **settings})
    assert not (tmp_path / "x").exists()
