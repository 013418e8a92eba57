"""``explain`` from the command line: files, face sets, masks, and what is said where it cannot be done."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import inline
import numpy as np
import pytest
from PIL import Image
from toy import tiny, toy_faceset, toy_picture

pytest.importorskip("captum")
pytest.importorskip("matplotlib")

import facetell
from facetell.cli.main import main
from facetell.detector.judge import Judge
from facetell.errors import DataError, UsageError
from facetell.explanation.explainer import Explainer
from facetell.explanation.writing import CENTRE_AREA, centre_share


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A face set, a detector with attention and one of trees, and some pictures."""
    root = tmp_path_factory.mktemp("explain")
    pictures = root / "inbox"
    pictures.mkdir()
    for number in range(3):
        toy_picture(np.random.default_rng(50 + number), number > 0).save(pictures / f"{number}.png")
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        faces = toy_faceset(root).path
        facetell.fit("fdftnet", faces, root / "fdftnet", settings=tiny("fdftnet", epochs=1))
        facetell.fit("features", faces, root / "trees", settings=tiny("features", classifier="forest", grid="trees=5"))
    return {"pictures": pictures, **{name: root / name for name in ("faces", "fdftnet", "trees")}}


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    inline.judge_here(monkeypatch)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_files_become_a_page_with_a_picture_for_each_face(world, tmp_path, capsys):
    out = tmp_path / "out"
    code, said, errors = run(
        capsys, "explain", world["fdftnet"], world["pictures"], "-o", out, "--faces", "crops", "--sanity", 1
    )
    assert code == 6
    assert "1 could not be explained" in errors
    assert "3 faces: Grad-CAM, Grad-CAM, Transformer, occlusion, attention 1" in said
    found = json.loads((out / "explain.json").read_text())
    assert [Path(face["path"]).name for face in found["faces"]] == ["0.png", "1.png", "2.png"]
    assert [Path(file["path"]).name for file in found["left_out"]] == ["broken.png"]
    pictures = {face["picture"] for face in found["faces"]}
    assert files_of(out) == {"explain.json", "report.md", "maps.npz", *pictures}
    page = (out / "report.md").read_text()
    assert all(f"]({picture})" in page for picture in pictures)
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == ["0.png", "1.png", "2.png"]
    assert "| broken.png | unreadable |" in page
    assert str(world["pictures"].parent) not in page, (
        "a page may be sent to others, and whose machine it was is not theirs"
    )
    assert found["attention"].keys() == {"attention_1", "attention_2", "attention_3"}
    assert any("does next to nothing" in warning for warning in found["warnings"])
    # The verdict and the maps are those of the detector itself.
    detector = facetell.Detector.load(world["fdftnet"], "cpu")
    for face in found["faces"]:
        assert face["score"] == pytest.approx(detector.detect(face["path"], faces="crops").score, abs=1e-5)
    with np.load(out / "maps.npz", allow_pickle=False) as maps:
        assert set(maps) == set(found["kinds"])
        assert maps["occlusion"].shape == (3, 32, 32)
    with Image.open(out / found["faces"][0]["picture"]) as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_a_face_set_becomes_average_maps_of_each_source(world, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--limit", 2, "--sanity", 0, "--json")
    code, said, _ = run(capsys, "explain", world["fdftnet"], world["faces"], "-o", out, *options)
    assert code == 0
    found = json.loads(said)
    assert found == json.loads((out / "explain.json").read_text())
    sources = {(row["source"], row["label"]): row["n"] for row in found["sources"]}
    assert sources == {("camera", "real"): 2, ("board", "fake"): 2, ("grid", "fake"): 2}
    assert len(found["faces"]) == 6
    assert all((out / row[key]).is_file() for row in found["sources"] for key in ("picture", "ends"))
    with np.load(out / "maps.npz", allow_pickle=False) as maps:
        for number, row in enumerate(found["sources"]):
            members = [i for i, face in enumerate(found["faces"]) if face["source"] == row["source"]]
            for key in found["kinds"]:
                np.testing.assert_allclose(maps[f"mean_{key}"][number], maps[key][members].mean(axis=0), rtol=1e-5)
            expected = np.mean([found["faces"][i]["centre"]["occlusion"] for i in members])
            assert row["centre"]["occlusion"] == pytest.approx(expected)
    again, _, _ = run(capsys, "explain", world["fdftnet"], world["faces"], "-o", out, *options)
    assert again == 0  # an earlier explanation is replaced
    (out / "notes.txt").write_text("mine")
    code, _, errors = run(capsys, "explain", world["fdftnet"], world["faces"], "-o", out, *options)
    assert (code, "other files" in errors) == (2, True)


@pytest.mark.slow
def test_masks_play_the_pointing_game(world, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(12):
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[:32] = 255
        Image.fromarray(mask).save(masks / f"test-{number}-fake.png")
    found = facetell.explain(world["fdftnet"], world["faces"], tmp_path / "out", limit=5, masks=masks, sanity=0)
    game = found.pointing
    assert game["n"] == 10
    assert game["kinds"].keys() == found.kinds.keys()
    for kind in game["kinds"].values():
        assert kind["chance"] == pytest.approx(0.5)
        assert kind["low"] <= kind["rate"] <= kind["high"]
    assert "Pointing game" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(DataError, match="no mask of a fake"):
        facetell.explain(world["fdftnet"], world["faces"], tmp_path / "other", masks=tmp_path)
    with pytest.raises(UsageError, match="masks belong to a face set"):
        facetell.explain(world["fdftnet"], world["pictures"], tmp_path / "other", masks=masks)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_trees_are_explained_by_occlusion_and_it_is_said(world, tmp_path, capsys):
    code, said, errors = run(
        capsys, "explain", world["trees"], world["pictures"] / "0.png", "-o", tmp_path / "out", "--faces", "crops"
    )
    assert code == 0
    assert "1 face: occlusion" in said
    assert "no gradient" in errors


@pytest.mark.slow
def test_a_sentence_tells_a_map_that_cannot_be_believed(world, tmp_path, monkeypatch):
    own = Explainer.maps

    def brightness(self, images, progress=None):
        maps = own(self, images)
        return {**maps, "occlusion": images.mean(dim=1).numpy()}

    monkeypatch.setattr(Explainer, "maps", brightness)
    found = facetell.explain(world["trees"], world["faces"], tmp_path / "out", limit=2, sanity=2)
    assert found.sanity["kinds"]["occlusion"]["all"]["strength"] == pytest.approx(1)
    assert any("shows the picture, not the detector" in warning for warning in found.warnings)


@pytest.mark.slow
def test_without_the_extra_learn_occlusion_is_left_and_it_is_the_same(world, tmp_path, capsys, monkeypatch):
    picture = world["pictures"] / "1.png"
    whole = facetell.explain(world["fdftnet"], picture, faces="crops", sanity=0)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    code, said, _ = run(
        capsys, "explain", world["fdftnet"], picture, "-o", tmp_path / "out", "--faces", "crops", "--json"
    )
    assert code == 0
    found = json.loads(said)
    assert set(found["kinds"]) == {"occlusion"}
    assert (found["sanity"], found["attention"]) == (None, {})
    (warning,) = found["warnings"]
    assert "pip install 'facetell[learn]'" in warning
    maps = np.load(tmp_path / "out" / "maps.npz")["occlusion"]
    # The mean colour is a whole grey level where crops are bytes.
    np.testing.assert_allclose(maps, whole.maps["occlusion"], atol=0.05 * np.abs(maps).max())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["pictures", "faces"])
def test_without_matplotlib_pictures_have_no_words(world, tmp_path, monkeypatch, what):
    """The face, and beside it each map that has a sign: red where it speaks for fake."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    items = world["faces"] if what == "faces" else world["pictures"] / "1.png"
    found = facetell.explain(world["trees"], items, tmp_path / "out", faces="crops", limit=2, sanity=0)
    drawn = sorted((tmp_path / "out").rglob("*.png"))
    assert {file.relative_to(tmp_path / "out").as_posix() for file in drawn} == {
        *(face["picture"] for face in found.faces if "picture" in face),
        *(source[name] for source in found.sources for name in ("picture", "ends")),
    }
    with Image.open(drawn[0]) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    map_ = pixels[:, pixels.shape[1] // 2 + 4 :]
    coloured = np.abs(map_[..., 0] - map_[..., 2]) > 40
    assert coloured.any() or not found.maps["occlusion"].any(), "beside the face, which is grey in its map"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("faces", "--split", "nowhere"), 3, "no split 'nowhere'"),
        (("faces", "--limit", "0"), 2, "0 is not in the range"),
        (("faces", "inbox"), 2, "explained alone"),
        (("inbox/broken.png",), 3, "no file has a face to explain"),
        (("nothing.png",), 3, "no file has a face to explain"),
    ],
)
def test_what_cannot_be_explained_is_said(world, tmp_path, capsys, arguments, code, words):
    root = world["faces"].parent
    given = [root / word if not word.startswith("--") and word not in ("nowhere", "0") else word for word in arguments]
    found, _, errors = run(capsys, "explain", world["fdftnet"], *given, "-o", tmp_path / "out", "--faces", "crops")
    assert (found, words in errors) == (code, True), errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_the_judge_gives_what_the_network_saw(world):
    detector = facetell.Detector.load(world["fdftnet"], "cpu")
    judge = Judge(detector, faces="crops")
    verdict, crops = judge.seen(world["pictures"] / "0.png")
    assert crops.shape == (1, 32, 32, 3)
    assert detector.scores(detector.logits(crops)) == pytest.approx([face.score for face in verdict.faces])
    verdict, crops = judge.seen(world["pictures"] / "broken.png")
    assert (verdict.judged, len(crops)) == (False, 0)


def test_the_share_of_the_centre():
    even = np.ones((7, 7), dtype=np.float32)
    assert centre_share(even, 200) == pytest.approx(CENTRE_AREA, abs=2e-3)
    assert centre_share(-even, 200) == pytest.approx(CENTRE_AREA, abs=2e-3)
    assert centre_share(np.zeros((7, 7), dtype=np.float32), 64) is None
    corner = np.zeros((64, 64), dtype=np.float32)
    corner[0, 0] = 1
    assert centre_share(corner, 64) == 0
