"""Every data set layout on a tree made for the test: what it says of each file, and what it says when it is wrong."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_trees import (
    MAKERS,
    celebdf,
    deepfakebench,
    dfdc,
    dfdc_preview,
    dffd,
    faceforensics,
    faces140k,
    write,
    write_json,
)

import facetell
from facetell.cli.main import main
from facetell.errors import DataError, FacetellError, LeakError, UsageError
from facetell.faceset.rows import Rows
from facetell.faceset.splits import SPLITS, assign, check_groups
from facetell.ingest.layouts import LAYOUTS, find_layout, get_layout
from facetell.ingest.layouts.people import Circles, celebdf_people, dfd_actors, faceforensics_sequences


def said(rows: Rows) -> dict[str, tuple[int, str, str, str]]:
    """path → (label, group, source, split or ""); checks on the way that no group is in two splits."""
    check_groups(rows.groups, rows.splits, rows.group_name)
    return {
        rows.path(i): (
            int(rows.labels[i]),
            rows.group_name(int(rows.groups[i])),
            rows.source_names[rows.sources[i]],
            SPLITS[rows.splits[i]] if rows.splits[i] >= 0 else "",
        )
        for i in range(len(rows))
    }


def left_out(rows: Rows) -> set[tuple[str, str]]:
    return {(skip.path, skip.reason) for skip in rows.skipped}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_is_recognised_and_no_other(name: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "set")
    assert [layout.name for layout in LAYOUTS.values() if layout.recognises(root)] == [name]
    assert find_layout(root) is LAYOUTS[name]
    for other in LAYOUTS.values():
        if other.name != name:
            with pytest.raises(DataError, match="MISSING"):
                other.rows(root)


def test_ordinary_folders_are_not_claimed(tmp_path: Path) -> None:
    write(tmp_path / "a", "real/1.png", "fake/1.png", "train.csv", "metadata.json", "dataset.json")
    write(tmp_path / "b", "train/real/1.png", "test/fake/1.png", "original/a.mp4", "stargan/a.png")
    assert find_layout(tmp_path / "a") is None
    assert find_layout(tmp_path / "b") is None
    assert find_layout(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_is_dropped_in_silence(name: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "set")
    rows = get_layout(name).rows(root)
    listed = set(said(rows)) | {skip.path for skip in rows.skipped}
    lists = r"(.*/)?([^/]*\.(json|csv)|List_of_testing_videos\.txt)"
    for file in (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()):
        covered = file in listed or any(path.endswith("/") and file.startswith(path) for path in listed)
        assert covered or re.fullmatch(lists, file), file
    assert len(listed) == len(rows) + len(rows.skipped)


def test_faceforensics(tmp_path: Path) -> None:
    rows = get_layout("faceforensics").rows(faceforensics(tmp_path))
    found = said(rows)
    assert len(found) == 2 * (4 + 6) + 4
    for compression in ("c23", "c40"):
        fakes, originals = f"{compression}/videos/071_054.mp4", f"original_sequences/youtube/{compression}/videos"
        assert found[f"manipulated_sequences/Deepfakes/{fakes}"] == (1, "054_071", "Deepfakes", "train")
        assert found[f"manipulated_sequences/FaceSwap/{fakes}"] == (1, "054_071", "FaceSwap", "train")
        assert found[f"{originals}/071.mp4"] == (0, "054_071", "youtube", "train")
        assert found[f"{originals}/054.mp4"] == (0, "054_071", "youtube", "train")
        assert found[f"{originals}/701.mp4"] == (0, "700_701", "youtube", "validation")
    actors = {group for path, (_, group, _, _) in found.items() if "actors" in path or "DeepFakeDetection" in path}
    assert actors == {"actor01+2"}, "1 with 2 and 2 with 3 are one circle"
    assert {row[3] for row in found.values() if row[1] == "actor01+2"} == {"train"}
    skipped = left_out(rows)
    assert ("manipulated_sequences/Deepfakes/masks/", "unlabelled") in skipped
    assert ("original_sequences/youtube/c40/videos/900.mp4", "missing") in skipped
    assert ("manipulated_sequences/FaceSwap/c23/videos/701_700.mp4", "missing") in skipped
    assert ("conversion_dict.json", "unlabelled") in skipped


def test_faceforensics_options(tmp_path: Path) -> None:
    layout, root = get_layout("faceforensics"), faceforensics(tmp_path)
    found = said(layout.rows(root, compression="c40", methods="FaceSwap"))
    assert {row[2] for row in found.values()} == {"youtube", "FaceSwap"}
    assert all("/c40/" in path for path in found)
    assert {row[2] for row in said(layout.rows(root, methods="DeepFakeDetection")).values()} == {
        "actors", "DeepFakeDetection",
    }  # fmt: skip
    with pytest.raises(UsageError, match="did you mean 'c23'"):
        layout.rows(root, compression="c32")
    with pytest.raises(UsageError, match="did you mean 'methods'"):
        layout.rows(root, method="FaceSwap")
    with pytest.raises(DataError, match="compression=raw"):
        layout.rows(root, compression="raw")


def test_faceforensics_frames_without_lists(tmp_path: Path) -> None:
    for stem, part in (("071", "original_sequences/youtube"), ("071_054", "manipulated_sequences/Deepfakes")):
        write(tmp_path, f"{part}/c23/images/{stem}/0000.png", f"{part}/c23/images/{stem}/0001.png")
    write(tmp_path, "original_sequences/youtube/c23/images/who/0000.png")
    rows = get_layout("faceforensics").rows(tmp_path)
    assert set(said(rows).values()) == {(0, "054_071", "youtube", ""), (1, "054_071", "Deepfakes", "")}
    assert left_out(rows) == {("original_sequences/youtube/c23/images/who/0000.png", "unlabelled")}


def test_faceforensics_lists_that_are_wrong(tmp_path: Path) -> None:
    layout, root = get_layout("faceforensics"), faceforensics(tmp_path)
    write_json(root / "splits/test.json", [["071", "700"]])
    with pytest.raises(LeakError):
        said(layout.rows(root))
    write_json(root / "splits/test.json", [["071"]])
    with pytest.raises(DataError, match=r"test\.json: entry 1 is not a pair"):
        layout.rows(root)
    (root / "splits/test.json").write_text("[")
    with pytest.raises(DataError, match="is not JSON"):
        layout.rows(root)
    (root / "splits/test.json").unlink()
    with pytest.raises(DataError, match=r"holds train\.json and val\.json but not test\.json"):
        layout.rows(root)


def test_celebdf(tmp_path: Path) -> None:
    rows = get_layout("celebdf").rows(celebdf(tmp_path))
    found = said(rows)
    assert found["Celeb-synthesis/id1_id2_0001.mp4"] == (1, "test/id1_id2", "Celeb-synthesis", "test")
    assert found["Celeb-real/id1_0001.mp4"] == (0, "test/id1_id2", "Celeb-real", "test")
    assert found["YouTube-real/00170.mp4"] == (0, "test/youtube00170", "YouTube-real", "test")
    assert found["YouTube-real/00000.mp4"] == (0, "youtube00000", "YouTube-real", "")
    assert found["Celeb-real/id1_0000.mp4"] == found["Celeb-real/id0_0001.mp4"] == (0, "id0_id1", "Celeb-real", "")
    assert found["Celeb-synthesis/id8_id7_0001.mp4"] == (1, "id7_id8", "Celeb-synthesis", "")
    assert "2 of the 3 people in the official test videos" in rows.notes[0]
    assert left_out(rows) == {
        ("Celeb-synthesis/odd.mp4", "unlabelled"), ("YouTube-real/notes.txt", "unlabelled"), ("readme.md", "unlabelled"),
        ("Celeb-real/id99_0000.mp4", "missing"),
    }  # fmt: skip
    made = assign(rows.labels, rows.groups, rows.sources, rows.splits, seed=0)
    check_groups(rows.groups, made)
    assert np.array_equal(made[rows.splits >= 0], rows.splits[rows.splits >= 0])


@pytest.mark.parametrize(
    ("line", "message"),
    [("0 YouTube-real/00170.mp4", "contradicts its folder"), ("YouTube-real/1.mp4", "line 1: cannot read"),
     ("1 Celeb-reel/id0_0000.mp4", "line 1: cannot read")],
)  # fmt: skip
def test_celebdf_list_that_is_wrong(line: str, message: str, tmp_path: Path) -> None:
    root = celebdf(tmp_path)
    (root / "List_of_testing_videos.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        get_layout("celebdf").rows(root)


def test_dfdc(tmp_path: Path) -> None:
    rows = get_layout("dfdc").rows(dfdc(tmp_path))
    assert said(rows) == {
        "dfdc_train_part_07/real.mp4": (0, "real", "dfdc", ""),
        "dfdc_train_part_07/fake1.mp4": (1, "real", "dfdc", ""),
        "dfdc_train_part_07/fake2.mp4": (1, "real", "dfdc", ""),
        "test/a.mp4": (1, "test/a", "dfdc", "test"),
        "test/b.mp4": (0, "test/b", "dfdc", "test"),
    }
    assert left_out(rows) == {
        ("dfdc_train_part_07/stray.mp4", "unlabelled"), ("dfdc_train_part_07/gone.mp4", "missing"),
        ("test/c.mp4", "missing"), ("sample_submission.csv", "unlabelled"),
    }  # fmt: skip
    assert rows.notes
    write_json(tmp_path / "dfdc_train_part_07/metadata.json", {"real.mp4": {"label": "MAYBE"}})
    with pytest.raises(DataError, match=r"real\.mp4 has no label REAL or FAKE"):
        get_layout("dfdc").rows(tmp_path)


def test_dfdc_splits_count_when_they_differ(tmp_path: Path) -> None:
    write(tmp_path / "dfdc_train_part_0", "a.mp4", "b.mp4")
    entries = {
        "a.mp4": {"label": "REAL", "split": "train"},
        "b.mp4": {"label": "FAKE", "split": "test", "original": "\ud800"},
    }
    write_json(tmp_path / "dfdc_train_part_0/metadata.json", entries)
    found = said(get_layout("dfdc").rows(tmp_path))
    assert {path[-5:]: row[1:] for path, row in found.items()} == {
        "a.mp4": ("a", "dfdc", "train"), "b.mp4": ("'\\ud800'", "dfdc", "test"),
    }  # fmt: skip


def test_dfdc_preview(tmp_path: Path) -> None:
    rows = get_layout("dfdc-preview").rows(dfdc_preview(tmp_path))
    assert said(rows) == {
        "original_videos/1/1_A_001.mp4": (0, "train/person1+2", "original_videos", "train"),
        "method_A/1/1_A/2_1_A_001.mp4": (1, "train/person1+2", "method_A", "train"),
        "method_B/2/2_A/3_2_A_001.mp4": (1, "train/person1+2", "method_B", "train"),
        "original_videos/3/3_A_001.mp4": (0, "test/person3", "original_videos", "test"),
    }
    assert left_out(rows) == {("method_A/unlisted.mp4", "unlabelled"), ("original_videos/9/9_A_001.mp4", "missing")}
    assert rows.notes == ["1 of the 2 people in the official test videos are in train too"]


def test_dffd(tmp_path: Path) -> None:
    rows = get_layout("dffd").rows(dffd(tmp_path))
    assert said(rows) == {
        "ffhq/train/1.png": (0, "ffhq/train/1", "ffhq", "train"),
        "ffhq/validation/2.png": (0, "ffhq/validation/2", "ffhq", "validation"),
        "ffhq/test/3.png": (0, "ffhq/test/3", "ffhq", "test"),
        "stylegan_ffhq/train/1.png": (1, "stylegan_ffhq/train/1", "stylegan_ffhq", "train"),
        "faceapp/valid/9.jpg": (1, "faceapp/valid/9", "faceapp", "validation"),
        "Deepfakes/test/5.png": (1, "Deepfakes/test/5", "Deepfakes", "test"),
    }
    assert left_out(rows) == {("faceapp/train_mask/", "unlabelled"), ("lists.zip", "unlabelled")}
    chosen = get_layout("dffd").rows(tmp_path, fakes="stylegan_ffhq,deepfakes")
    assert {source for _, _, source, _ in said(chosen).values()} == {"ffhq", "stylegan_ffhq", "Deepfakes"}


@pytest.mark.parametrize("inner", [False, True])
def test_140k(inner: bool, tmp_path: Path) -> None:
    root = faces140k(tmp_path) / ("real_vs_fake" if inner else "")
    prefix = "" if inner else "real_vs_fake/"
    rows = get_layout("140k").rows(root)
    found = said(rows)
    real, fake = f"{prefix}real-vs-fake/valid/real/valid1", f"{prefix}real-vs-fake/valid/fake/valid1"
    assert len(found) == 6
    assert found[f"{real}.jpg"] == (0, real, "ffhq", "validation")
    assert found[f"{fake}.jpg"] == (1, fake, "stylegan", "validation")
    missing = set() if inner else {(f"{prefix}real-vs-fake/train/fake/gone.jpg", "missing")}
    assert left_out(rows) == {(f"{prefix}real-vs-fake/train/real/about.txt", "unlabelled"), *missing}


def test_140k_list_that_contradicts(tmp_path: Path) -> None:
    root = faces140k(tmp_path)
    (root / "test.csv").write_text("label,label_str,path\n1,real,test/fake/test1.jpg\n")
    with pytest.raises(DataError, match=r"test\.csv, line 2: test/fake/test1\.jpg is called real"):
        get_layout("140k").rows(root)


def test_deepfakebench(tmp_path: Path) -> None:
    rows = get_layout("deepfakebench").rows(deepfakebench(tmp_path))
    found = {path.removeprefix("datasets/rgb/"): row for path, row in said(rows).items()}
    ff, celeb = "FaceForensics++/original_sequences/youtube/c23/frames", "Celeb-DF-v2"
    assert found[f"{ff}/071/000.png"] == found[f"{ff}/054/010.png"] == (0, "FF/054_071", "FF-real", "train")
    fake = "FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/071_054/000.png"
    assert found[fake] == (1, "FF/054_071", "FF-DF", "train")
    assert found[f"{celeb}/Celeb-real/frames/id0_0000/1.png"] == (0, "CelebDF/train/id0_id1", "CelebDFv2_real", "train")
    assert found[f"{celeb}/Celeb-real/frames/id0_0001/1.png"] == (0, "CelebDF/test/id0", "CelebDFv2_real", "test")
    assert len(found) == 6 + 3
    reasons = left_out(rows)
    assert (f"datasets/rgb/{ff}/054/020.png", "missing") in reasons
    assert (f"datasets/rgb/{ff}/054/999.png", "unlabelled") in reasons
    assert (f"D:/some where/rgb/{ff}/111/", "missing") in reasons
    assert ("training/", "unlabelled") in reasons
    assert rows.notes == [
        "1 of 6 videos are listed in several splits: they count as test if listed there, else as train",
        "CelebDF: 1 of the 1 people in test are in train too",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [([1], "is no list of DeepfakeBench"), ({"a": {"b": {"train": 3}}}, "is no list of DeepfakeBench"),
     ({"a": {"b": {"trian": {"v": {"label": "x_real", "frames": ["v/1.png"]}}}}}, "unknown split 'trian'"),
     ({"a": {"b": {"train": {"v": {"label": "odd", "frames": ["v/1.png"]}}}}}, "by the label 'odd'"),
     ({"a": {"b": {"train": {"v": {"label": "x_real", "frames": ["../../v/1.png"]}}}}}, "holds no pictures")],
)  # fmt: skip
def test_deepfakebench_lists_that_are_wrong(content: object, message: str, tmp_path: Path) -> None:
    write(tmp_path / "v", "1.png")
    write_json(tmp_path / "root" / "dataset_json" / "x.json", content)
    with pytest.raises(DataError, match=message):
        get_layout("deepfakebench").rows(tmp_path / "root")


def test_a_wrong_tree_is_shown_beside_the_right_one(tmp_path: Path) -> None:
    write(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb_synthesis/id0_id1_0000.mp4", "YouTube-real/00000.mp4")
    with pytest.raises(DataError) as caught:
        get_layout("celebdf").rows(tmp_path)
    lines = [line.split("  ") for line in str(caught.value).splitlines()[1:]]
    marks = {tuple(part.strip() for part in line if part.strip())[1]: line for line in lines}
    assert "found" in marks["Celeb-real/"]
    assert "MISSING" in marks["Celeb-synthesis/"]
    assert any("nearest: 'Celeb_synthesis'" in part for part in marks["Celeb-synthesis/"])
    assert "MISSING" in marks["List_of_testing_videos.txt"]
    with pytest.raises(DataError, match="is not a folder"):
        get_layout("celebdf").rows(tmp_path / "nowhere")


JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["071", "FAKE", "real", "x_real", "a.mp4", "train", "../v/1.png", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a.mp4", "label", "frames", "train", "set", "split", "original", "v"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.slow
@given(JSON)
@settings(max_examples=60, deadline=None)
def test_no_list_can_crash_a_layout(content: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, file in (
            ("faceforensics", "splits/train.json"), ("dfdc", "dfdc_train_part_07/metadata.json"),
            ("dfdc-preview", "dataset.json"), ("deepfakebench", "preprocessing/dataset_json/FF-DF.json"),
        ):  # fmt: skip
            root = MAKERS[name](Path(folder) / name)
            write_json(root / file, content)
            try:
                rows = get_layout(name).rows(root)
            except FacetellError:
                continue
            words = {word for row in said(rows).values() for word in row[1:3]} | {skip.path for skip in rows.skipped}
            assert all(word.isprintable() for word in words)


def test_names_tell_people() -> None:
    assert faceforensics_sequences("071_054") == ("071", "054")
    assert faceforensics_sequences("0071") == faceforensics_sequences("071_054_001") == ()
    assert dfd_actors("01_02__kitchen_pan__YVGY8LOK") == ("actor01", "actor02")
    assert dfd_actors("01__kitchen_pan") == ("actor01",)
    assert celebdf_people("id0_id16_0003") == ("id0", "id16")
    assert celebdf_people("00170") == ("youtube00170",)
    assert celebdf_people("video_id0") == ()


@given(st.lists(st.lists(st.integers(0, 12).map(str), min_size=1, max_size=3), max_size=12))
def test_circles_are_connected_components(videos: list[list[str]]) -> None:
    circles = Circles()
    for people in videos:
        circles.tie(people)
    reach = {person: {person} for people in videos for person in people}
    for _ in reach:  # the slow way: grow until nothing changes
        for people in videos:
            together = set().union(*(reach[person] for person in people))
            for person in together:
                reach[person] = reach[person] | together
    for one in reach:
        for other in reach:
            assert (circles.name(one) == circles.name(other)) == (other in reach[one])


def test_sources_verb_and_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert [layout.name for layout in facetell.sources()] == list(LAYOUTS)
    for arguments, code, word in (
        ([], 0, "Celeb-synthesis/"),
        (["140k"], 0, "groups: "),
        (["celebfd"], 2, "mean 'celebdf'"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["sources", *arguments])
        out, err = capsys.readouterr()
        assert (stop.value.code or 0, word in out + err) == (code, True)
    with pytest.raises(SystemExit):
        main(["sources", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == set(LAYOUTS)
    assert listed["faceforensics"]["options"]["compression"]["choices"] == ["raw", "c23", "c40"]


def test_the_page_shows_every_tree() -> None:
    page = (Path(__file__).parent.parent / "docs" / "sources.md").read_text(encoding="utf-8")
    for layout in LAYOUTS.values():
        assert f"`{layout.name}`" in page
        assert layout.tree.strip("\n") in page
