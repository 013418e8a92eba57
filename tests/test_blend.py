"""``blend``: reals and made fakes from real faces alone, with nothing but the forgery to tell them apart."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from toy import tiny

import facetell
from facetell.api.blending import KINDS
from facetell.cli.main import main
from facetell.data import ordered
from facetell.data.blending import jitter, pairs, spectrum, writing
from facetell.data.blending.jitter import Colour, View, bearable, draw_colour, draw_view, frequency, recoloured, sampled
from facetell.data.blending.mask import default_frame, draw_mask, frame_of, softened
from facetell.data.blending.pairs import dice
from facetell.data.blending.selfblended import self_blended
from facetell.data.drawn import write_drawn_faces
from facetell.data.faces.contract import Face
from facetell.data.faces.crop import CropGeometry, crop, landmarks_within
from facetell.data.faceset import FaceSet
from facetell.data.images import decode, open_header
from facetell.data.traces import FEATURES, survey
from facetell.errors import DataError, UsageError
from facetell.evaluation import auroc
from facetell.training import regenerating

PEOPLE = 40


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(regenerating, "STEPS", 12)
    monkeypatch.setattr(regenerating, "KEPT", (8, 12))
    monkeypatch.setattr(regenerating, "BATCH", 4)
    monkeypatch.setattr(regenerating, "FACES", 16)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn photos and forgeries with splits."""
    return write_drawn_faces(tmp_path_factory.mktemp("drawn") / "faces", people=PEOPLE, seed=0, size=64)


@pytest.fixture(scope="module")
def faces(drawn: Path) -> FaceSet:
    return facetell.prepare(drawn, drawn.parent / "faceset")


@pytest.fixture(scope="module")
def blended(faces: FaceSet) -> FaceSet:
    return facetell.blend(faces.path, faces.path.parent / "blended", draws=2)


def face_of(seed: int = 0, size: tuple[int, int] = (96, 80)) -> np.ndarray:
    """A smooth picture with some grain, (H, W, 3), ``size`` (width, height)."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 216, (8, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (size[1], size[0], 3))
    return (np.asarray(small) + grain).clip(0, 255).astype(np.uint8)


# --- the face set -------------------------------------------------------------------------------------------------


def test_each_draw_of_a_real_face_is_a_real_and_a_fake_row(faces: FaceSet, blended: FaceSet) -> None:
    rows = faces.columns(["label", "group", "source", "split", "path", "sha256"]).to_pylist()
    reals = [row for row in rows if row["label"] == 0 and row["split"] != "test"]
    made = blended.columns(["label", "group", "source", "split", "path"]).to_pylist()
    expected = []
    for real in reals:
        for draw in range(2):
            for label, source, word in ((0, real["source"], "real"), (1, "self-blended", "self-blended")):
                path = f"{real['path']}#{word}-{draw}"
                expected.append(
                    {"label": label, "group": real["group"], "source": source, "split": real["split"], "path": path}
                )
    assert made == expected
    assert blended.splits == ["train", "validation", "finetune"]
    assert blended.info["counts"]["train"] == {
        "real": {"drawn": len(blended.rows("train")) // 2},
        "fake": {"self-blended": len(blended.rows("train")) // 2},
    }
    made_from = {"faceset": "faceset", "fingerprint": faces.fingerprint, "real": len(reals)}
    assert blended.info["made"]["from"] == made_from
    assert (blended.info["made"]["kind"], blended.info["made"]["draws"]) == ("self-blended", 2)
    blended.verify()


def test_no_fake_is_looked_at(drawn: Path, blended: FaceSet, tmp_path: Path) -> None:
    """The same real faces beside other fakes, of which none is decoded, give the same pictures."""
    shutil.copytree(drawn, tmp_path / "pictures")
    for number, file in enumerate(sorted((tmp_path / "pictures" / "fake").iterdir())):
        Image.fromarray(face_of(number)).save(file)
    other = facetell.prepare(tmp_path / "pictures", tmp_path / "faces")
    assert other.fingerprint != blended.info["made"]["from"]["fingerprint"]
    fakes = {other.image(int(row)) for row in np.flatnonzero(other.labels() == 1)}

    def careful(data: bytes) -> np.ndarray:
        assert data not in fakes
        return decode(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "decode", careful)
        again = facetell.blend(other.path, tmp_path / "blended", draws=2)
    assert again.fingerprint == blended.fingerprint


def test_the_same_whoever_works_and_another_seed_differs(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for workers in (1, 5):
        monkeypatch.setattr(ordered.os, "cpu_count", lambda workers=workers: workers)
        found.append(facetell.blend(faces.path, tmp_path / f"{workers}", kind="both", draws=1).fingerprint)
    other = facetell.blend(faces.path, tmp_path / "seed", kind="both", draws=1, seed=1)
    assert found[0] == found[1] != other.fingerprint


def test_a_further_draw_leaves_the_others_as_they_are(faces: FaceSet, blended: FaceSet, tmp_path: Path) -> None:
    once = facetell.blend(faces.path, tmp_path / "once", draws=1)
    hashes = {row["path"]: row["sha256"] for row in blended.columns(["path", "sha256"]).to_pylist()}
    assert all(hashes[row["path"]] == row["sha256"] for row in once.columns(["path", "sha256"]).to_pylist())


def test_both_is_half_of_each(faces: FaceSet, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    both = facetell.blend(
        faces.path, tmp_path / "both", kind="both", draws=2, progress=lambda *at: calls.append(at), size=48
    )
    train = both.info["counts"]["train"]["fake"]
    assert train["self-blended"] == train["generated"]
    assert calls == [(done, len(both)) for done in range(1, len(both) + 1)]
    assert set(both.columns(["width"])["width"].to_pylist()) == {48}


# --- nothing but the forgery tells ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["self-blended", "generated"])
def test_reals_and_fakes_are_written_alike(faces: FaceSet, tmp_path: Path, kind: str) -> None:
    made = facetell.blend(faces.path, tmp_path / "made", kind=kind, draws=2)
    headers = [open_header(made.image(row)) for row in range(len(made))]
    for real, fake in zip(headers[::2], headers[1::2], strict=True):
        assert real.size == fake.size
        assert real.quantization == fake.quantization
        assert real.layer == fake.layer
        assert real.info == fake.info
    assert len({header.layer[0][1] for header in headers}) == 2
    assert len({tuple(header.quantization[0]) for header in headers}) > 15
    features, labels = survey(made).features.astype(np.float64), made.labels()
    assert len(labels) > 250
    for name in ("bytes", "jpeg", "luma table", "width", "edge spread", "top step", "left step", "red", "laplacian"):
        # A pair shares its file settings, so 4 standard errors of unpaired AUROC are a wide gate for a faithful one.
        assert abs(auroc(labels, features[:, FEATURES.index(name)]) - 0.5) < 4 * np.sqrt(1 / (6 * len(labels) / 2)), (
            name
        )


def test_audit_finds_no_shortcut(blended: FaceSet) -> None:
    found = facetell.audit(blended.path, split="train")
    assert found["shortcuts"]["families"]
    assert {one["verdict"] for one in found["shortcuts"]["families"]} == {"none"}
    assert found["leaks"]["identical"]["both_labels"]["rows"] == 0
    assert found["leaks"]["groups"]["count"] == 0


def test_a_dark_face_is_not_coloured_to_black_and_no_pair_is_equal() -> None:
    dark = (face_of() // 16).astype(np.uint8)
    black = Colour(np.eye(3, dtype=np.float32), np.full(3, -30, np.float32))
    assert not recoloured(dark, black).any()
    assert np.array_equal(recoloured(dark, bearable(black, dark)), dark)
    lighter = Colour(np.eye(3, dtype=np.float32), np.full(3, 30, np.float32))
    assert bearable(lighter, dark) is lighter
    for seed in range(30):
        real, fake = pairs.pair_maker(None)(dark, None, np.random.default_rng(seed))
        assert (decode(real) != decode(fake)).any()


# --- self-blended --------------------------------------------------------------------------------------------------


def test_outside_the_mask_a_blend_is_its_target_and_inside_it_is_not() -> None:
    pixels, changed = face_of(), []
    for seed in range(20):
        target, blend, mask = self_blended(pixels, None, np.random.default_rng(seed))
        assert target.shape == pixels.shape
        assert (blend[mask == 0] == target[mask == 0]).all()
        inner = mask > 0.9 * mask.max()
        changed.append(np.abs(blend - target)[inner].mean())
    assert np.median(changed) > 2


def test_a_mask_lies_within_0_and_1_and_is_zero_at_the_border() -> None:
    peaks = []
    for seed in range(40):
        for size in ((90, 120), (40, 31)):
            rng = np.random.default_rng(seed)
            mask = draw_mask(rng, size, default_frame(rng, size))
            assert mask.shape == size[::-1]
            assert mask.min() == 0
            assert mask.max() <= 1
            assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()
            peaks.append(mask.max())
    assert np.median(peaks) > 0.95


def test_a_mask_covers_the_face_that_the_landmarks_tell() -> None:
    for across, down in ((60.0, 70.0), (130.0, 120.0)):  # (x, y) of the nose in 200×200
        points = np.array([[-20, -20], [20, -20], [0, 0], [-15, 22], [15, 22]]) + np.array([across, down])
        total = sum(draw_mask(np.random.default_rng(seed), (200, 200), frame_of(points)) for seed in range(20)) / 20
        rows, columns = np.indices(total.shape)
        assert abs((total * columns).sum() / total.sum() - across) < 6
        assert abs((total * rows).sum() / total.sum() - down) < 20
        assert total[int(down), int(across)] > 0.9
        assert total[int(down), int(across) - 60 if across > 100 else int(across) + 60] < 0.2


def test_landmarks_are_found_again_in_the_crop() -> None:
    """A white dot is cut out with its face; the dot's pixel in the crop is where `landmarks_within` says."""
    rng = np.random.default_rng(0)
    for geometry in (CropGeometry(1.3), CropGeometry(1.3, size=50), CropGeometry(1.5, align=True)):
        frame = np.zeros((200, 240, 3), np.uint8)
        points = np.array([[90, 80], [130, 84], [112, 104], [95, 125], [126, 127]]) + rng.uniform(-3, 3, (5, 2))
        x, y = (int(value) for value in points[2])
        frame[y - 1 : y + 2, x - 1 : x + 2] = 255
        points[2] = x + 0.5, y + 0.5
        (ax, ay), (bx, by), (cx, cy), (dx, dy), (ex, ey) = points.tolist()
        face = Face((70, 50, 85, 95), ((ax, ay), (bx, by), (cx, cy), (dx, dy), (ex, ey)), 1.0)
        cut = crop(frame, face, geometry)[..., 0].astype(np.float64)
        rows, columns = np.indices(cut.shape) + 0.5
        found = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum()
        assert np.allclose(landmarks_within(face, geometry)[2] * len(cut), found, atol=0.6)


def test_softened_by_hand() -> None:
    inside = np.zeros((64, 64), np.float32)
    inside[16:48, 16:48] = 1
    mask = softened(inside, 2.0, 1.0)
    assert mask.max() == pytest.approx(1)
    assert mask[32, 32] == pytest.approx(1)
    assert mask[32, 17] < 0.2  # drawn back
    assert mask[32, 24] > 0.9
    assert np.allclose(mask, mask[::-1], atol=1e-6)


def test_either_copy_is_the_changed_one_half_of_the_time() -> None:
    """Target against a plain view of the same dice."""
    pixels, plain = face_of(), 0
    for seed in range(200):
        target = self_blended(pixels, None, np.random.default_rng(seed))[0]
        plain += np.array_equal(target, sampled(pixels, draw_view(np.random.default_rng(seed), (96, 80))))
    assert 75 < plain < 125


# --- one picture as a whole ----------------------------------------------------------------------------------------


def test_a_view_never_looks_beyond_the_edge_and_finds_points_again() -> None:
    white = np.full((60, 50, 3), 255, np.uint8)
    for seed in range(50):
        view = draw_view(np.random.default_rng(seed), (50, 60))
        assert sampled(white, view).min() == 255
        corners = np.array([[0, 0], [50, 60]]) * [view.x_scale, view.y_scale] + [view.x_shift, view.y_shift]
        assert corners.min() >= -1e-9
        assert (corners <= [50 + 1e-9, 60 + 1e-9]).all()
        assert np.allclose(view.seen(corners), [[0, 0], [50, 60]])


def test_a_move_carries_a_dot_where_it_says() -> None:
    view = View((80, 80), 1, 0, 1, 0)
    for move in (jitter.Move(1.0, 0.05, 0.0), jitter.Move(1.0, 0.0, -0.05), jitter.Move(1.05, 0.02, 0.01)):
        pixels = np.zeros((80, 80, 3), np.uint8)
        pixels[19:22, 29:32] = 255
        seen = sampled(pixels, view, move)[..., 0].astype(np.float64)
        rows, columns = np.indices(seen.shape) + 0.5
        found = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        assert np.allclose(move.applied(np.array([[30.5, 20.5]]), (80, 80))[0], found, atol=0.1)


def test_colours_with_no_strength_change_nothing_and_with_all_they_always_do() -> None:
    pixels = face_of()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        still = draw_colour(rng, light=0.0, p=0.0)
        assert (still.matrix == np.eye(3)).all()
        if not still.shift.any():
            assert np.array_equal(recoloured(pixels, still), pixels)
        assert not np.array_equal(recoloured(pixels, draw_colour(rng, light=0.3, p=1.0)), pixels)
    shifted = sum(draw_colour(np.random.default_rng(seed), light=0, p=0).shift.any() for seed in range(500))
    assert 110 < shifted < 190


def test_hue_and_saturation_keep_grey_grey() -> None:
    grey = np.repeat(np.arange(40, 200, dtype=np.uint8)[:, None, None], 3, axis=2)
    for seed in range(40):
        colour = draw_colour(np.random.default_rng(seed), light=0.0, p=1.0)
        if colour.shift.any():
            continue
        made = recoloured(grey, colour).astype(int)
        assert np.ptp(made, axis=2).max() <= 1
        assert np.allclose(made[..., 0], grey[..., 0], rtol=0.105, atol=1)


def test_frequency_makes_softer_and_sharper_pictures() -> None:
    pixels = face_of()
    sharp = [np.asarray(Image.fromarray(frequency(np.random.default_rng(seed), pixels)).convert("L").filter(
        ImageFilter.FIND_EDGES)).std() for seed in range(60)]  # fmt: skip
    plain = np.asarray(Image.fromarray(pixels).convert("L").filter(ImageFilter.FIND_EDGES)).std()
    assert 18 < sum(value < plain for value in sharp) < 42
    assert sum(value == plain for value in sharp) == 0


# --- drawn again ---------------------------------------------------------------------------------------------------


def test_rings_give_a_blurred_picture_its_detail_back() -> None:
    wanted = face_of(3, (120, 96)).astype(np.float32)
    blurred = np.asarray(Image.fromarray(wanted.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8)), np.float32)
    variances = [laplacian(one) for one in (wanted, blurred, spectrum.rings_matched(blurred, wanted))]
    assert variances[1] < 0.5 * variances[0]
    assert abs(variances[2] / variances[0] - 1) < 0.1


def test_as_sharp_meets_the_laplacian_of_its_model() -> None:
    wanted = face_of(3, (120, 96)).astype(np.float32)
    rng = np.random.default_rng(0)
    for sigma in (0.5, 1.0):
        soft = np.asarray(Image.fromarray(wanted.astype(np.uint8)).filter(ImageFilter.GaussianBlur(sigma)), np.float32)
        grain = rng.normal(0, 8, wanted.shape).astype(np.float32)
        found = spectrum.as_sharp(soft, grain, wanted)
        assert laplacian(found, 0) == pytest.approx(laplacian(wanted, 0), rel=1e-3)
    assert np.allclose(spectrum.as_sharp(wanted, wanted / 10, wanted), wanted, atol=1e-3)


def laplacian(picture: np.ndarray, border: int = 8) -> float:
    """Variance of the Laplacian of the grey picture within its border, by differences."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    second = np.diff(grey, 2, axis=0)[:, 1:-1] + np.diff(grey, 2, axis=1)[1:-1]
    return float(second[border : len(second) - border, border : second.shape[1] - border].var())


def test_rings_leave_a_picture_that_has_its_detail_alone_and_keep_a_chequerboard() -> None:
    wanted = face_of(4).astype(np.float32)
    assert np.allclose(spectrum.rings_matched(wanted, wanted), wanted, atol=1e-2)
    board = 12.0 * (np.indices((80, 96)).sum(axis=0) % 2 * 2 - 1)[..., None]
    found = spectrum.rings_matched((wanted + board).astype(np.float32), wanted)
    strength = [(one * np.sign(board)).mean() for one in (wanted, found)]
    assert abs(strength[1] - strength[0]) > 2
    dull = wanted.mean(axis=(0, 1)) + 0.2 * (wanted - wanted.mean(axis=(0, 1)))
    assert np.abs(spectrum.rings_matched(dull, wanted).mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 0.5


def test_generators_learn_and_are_the_same_for_the_same_seed(faces: FaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, pixels = np.flatnonzero(faces.labels() == 0), face_of(1)
    assert rows.size > 16
    errors = []
    for steps in (2, 40):
        monkeypatch.setattr(regenerating, "STEPS", steps)
        monkeypatch.setattr(regenerating, "KEPT", (steps,))
        made = [regenerating.fit_generators(faces, rows, None, 0)(pixels, np.random.default_rng(1)) for _ in range(2)]
        assert np.array_equal(made[0], made[1])
        assert made[0].shape == pixels.shape
        errors.append(np.abs(made[0] - pixels).mean())
    assert errors[1] < 0.9 * errors[0]


# --- from there on, and what is refused -----------------------------------------------------------------------------


def test_a_detector_fitted_on_it_says_so(blended: FaceSet, tmp_path: Path) -> None:
    settings = tiny("finetune", epochs=1)
    detector = facetell.fit("finetune", blended.path, tmp_path / "detector", settings=settings)
    assert detector.description["data"]["made"] == blended.info["made"]
    card = (tmp_path / "detector" / "README.md").read_text("utf-8")
    assert "**Fitted on made fakes**" in card
    assert "self-blended" in card


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(one) for one in arguments])
    return int(end.value.code or 0)


def test_the_command(faces: FaceSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("blend", faces.path, "-o", out, "--draws", 1) == 0
    assert "half of them made fakes, splits train, validation, finetune (made)" in capsys.readouterr().out
    before = (out / "faceset.json").stat().st_mtime_ns
    assert run("blend", faces.path, "-o", out, "--draws", 1) == 0
    assert "(there already)" in capsys.readouterr().out
    assert (out / "faceset.json").stat().st_mtime_ns == before
    assert run("blend", faces.path, "-o", out, "--draws", 1, "--seed", 1) == 3
    assert "--overwrite" in capsys.readouterr().err
    assert json.loads((out / "faceset.json").read_text("utf-8"))["made"]["seed"] == 0
    assert run("blend", faces.path, "-o", out, "--draws", 1, "--seed", 1, "--overwrite") == 0
    assert json.loads((out / "faceset.json").read_text("utf-8"))["made"]["seed"] == 1
    capsys.readouterr()
    assert run("blend", faces.path, "-o", tmp_path / "x", "--kind", "selfblended") == 2
    assert "did you mean 'self-blended'" in capsys.readouterr().err


def test_what_is_refused(faces: FaceSet, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, word in (
        ({"draws": 0}, "draws"),
        ({"seed": -1}, "seed"),
        ({"size": 8}, "size"),
        ({"kind": "x"}, "kind"),
    ):
        with pytest.raises(UsageError, match=word):
            facetell.blend(faces.path, tmp_path / "out", **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="lies inside"):
        facetell.blend(faces.path, faces.path / "out")
    with pytest.raises(DataError, match="another face set"):
        facetell.blend(drawn, faces.path)
    monkeypatch.setattr(FaceSet, "labels", lambda *_: np.ones(len(faces), np.int8))
    with pytest.raises(DataError, match="0 real faces outside the test split"):
        facetell.blend(faces.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_test_faces_are_too_few(drawn: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((drawn / "index.csv").read_text("utf-8"))))
    with (tmp_path / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "path": str(drawn / row["path"]), "split": "test"} for row in rows)
    faces = facetell.prepare(tmp_path / "index.csv", tmp_path / "faces")
    with pytest.raises(DataError, match="0 real faces outside the test split"):
        facetell.blend(faces.path, tmp_path / "out")


def test_interrupted_nothing_is_left(faces: FaceSet, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facetell.blend(faces.path, tmp_path / "out", progress=stop)
    assert not list(tmp_path.iterdir())


def test_dice_depend_on_seed_picture_and_draw() -> None:
    one, other = "ab" * 32, "ab" * 31 + "ac"
    numbers = {dice(*what).random() for what in ((0, one, 0), (1, one, 0), (0, other, 0), (0, one, 1))}
    assert len(numbers) == 4
    assert dice(0, one, 0).random() in numbers
    assert set(KINDS) == {"self-blended", "generated", "both"}
