"""What folders and indexes say, and what is told when they say it wrongly."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from conftest import write_picture

from facetell.errors import DataError, UsageError
from facetell.faceset.rows import Rows
from facetell.faceset.splits import SPLITS
from facetell.ingest.sources import find_rows
from facetell.ingest.spellings import label_of, split_of

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make(*paths: str) -> Path:
        for path in paths:
            file = tmp_path / "celebs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
        return tmp_path / "celebs"

    return make


def table(rows: Rows) -> dict[str, tuple[int, str, str, str]]:
    """path → (label, group, source, split or "")."""
    return {
        rows.path(i): (
            int(rows.labels[i]),
            rows.group_name(int(rows.groups[i])),
            rows.source_names[rows.sources[i]],
            SPLITS[rows.splits[i]] if rows.splits[i] >= 0 else "",
        )
        for i in range(len(rows))
    }


@pytest.mark.parametrize(
    "name", ["real", "Real", "REALS", "0_real", "training_real", "original", "real_images", "Celeb-real"]
)
def test_spellings_of_real(name: str) -> None:
    assert label_of(name) == 0


@pytest.mark.parametrize(
    "name", ["fake", "1_fake", "training_fake", "DeepFake", "deep_fakes", "Manipulated", "AI-generated", "fake faces"]
)
def test_spellings_of_fake(name: str) -> None:
    assert label_of(name) == 1


@pytest.mark.parametrize(
    "name", ["0", "1", "real_vs_fake", "Real-ESRGAN", "not_real", "faces", "unreal", "", "train", "surreal"]
)
def test_names_that_say_nothing(name: str) -> None:
    assert label_of(name) is None


def test_split_words() -> None:
    assert [split_of(word) for word in ("Train", "valid", "fine-tune", "testing")] == [
        "train",
        "validation",
        "finetune",
        "test",
    ]
    assert split_of("test1") is None
    assert split_of("vid1") is None


def test_flat_folder(tree: Tree) -> None:
    root = tree("real/1.png", "fake/1.png", "fake/2.png", "fake/2.jpg")
    assert table(find_rows(root)) == {
        "real/1.png": (0, "real/1", "celebs", ""),
        "fake/1.png": (1, "fake/1", "celebs", ""),
        "fake/2.png": (1, "fake/2", "celebs", ""),
        "fake/2.jpg": (1, "fake/2", "celebs", ""),
    }


def test_videos_share_a_group_over_labels(tree: Tree) -> None:
    found = table(find_rows(tree("train/0_real/vid1/a.png", "train/1_fake/vid1/b.png", "valid/real/vid2/x/a.png")))
    assert found["train/0_real/vid1/a.png"] == (0, "vid1", "celebs", "train")
    assert found["train/1_fake/vid1/b.png"] == (1, "vid1", "celebs", "train")
    assert found["valid/real/vid2/x/a.png"] == (0, "vid2/x", "celebs", "validation")


def test_sub_folders_as_sources(tree: Tree) -> None:
    found = table(find_rows(tree("real/ffhq/a.png", "fake/gan/p1/b.png", "fake/c.png"), subfolders="source"))
    assert found["real/ffhq/a.png"] == (0, "real/ffhq/a", "ffhq", "")
    assert found["fake/gan/p1/b.png"] == (1, "gan/p1", "gan", "")
    assert found["fake/c.png"] == (1, "fake/c", "celebs", "")


def test_split_below_or_in_the_label(tree: Tree) -> None:
    assert table(find_rows(tree("real/train/a.png", "fake/test/v/b.png"))) == {
        "real/train/a.png": (0, "real/train/a", "celebs", "train"),
        "fake/test/v/b.png": (1, "v", "celebs", "test"),
    }


def test_split_prefixes_count_only_when_they_differ(tree: Tree, tmp_path: Path) -> None:
    assert {row[3] for row in table(find_rows(tree("training_real/a.png", "training_fake/a.png"))).values()} == {""}
    found = table(find_rows(tree("test_real/a.png", "test_fake/a.png")))
    assert {path.split("/")[0]: row[3] for path, row in found.items()} == {
        "training_real": "train", "training_fake": "train", "test_real": "test", "test_fake": "test",
    }  # fmt: skip


def test_unknown_folder_is_named_with_how_to_say_it(tree: Tree) -> None:
    with pytest.raises(
        DataError, match=r"cannot tell real from fake by the folder 'faek'; did you mean 'fake'"
    ) as caught:
        find_rows(tree("real/a.png", "faek/b.png"))
    assert "path,label" in str(caught.value.hint)
    with pytest.raises(DataError, match="no folders"):
        find_rows(tree("x").parent / "celebs" / "real")


def test_deeper_root_is_pointed_at(tree: Tree) -> None:
    with pytest.raises(DataError) as caught:
        find_rows(tree("unpacked/data/train/real/a.png"))
    assert str(caught.value.hint).endswith("unpacked/data")


def test_what_is_not_taken_is_listed(tree: Tree) -> None:
    root = tree(
        "real/a.png", "fake/b.png", "notes.txt", "real/.hidden.png", "real/Thumbs.db", "fake/._b.png", ".DS_Store"
    )
    os.mkfifo(root / "real" / "pipe")
    (root / "real" / "broken.png").symlink_to(root / "nowhere")
    (root / "real" / "loop").symlink_to(root / "real")
    with (root / "real" / os.fsdecode(b"bad\xff.png")).open("wb"):
        pass
    rows = find_rows(root)
    assert sorted(table(rows)) == ["fake/b.png", "real/a.png"]
    assert sorted((skip.path, skip.reason) for skip in rows.skipped) == [
        ("'real/bad\\udcff.png'", "unreadable"),
        ("notes.txt", "unlabelled"),
        ("real/.hidden.png", "hidden"),
        ("real/broken.png", "unreadable"),
        ("real/loop", "unreadable"),
        ("real/pipe", "unreadable"),
    ]


def test_missing_and_odd_sources(tree: Tree) -> None:
    root = tree("real/a.png", "fake/b.png")
    with pytest.raises(DataError, match="did you mean 'celebs'"):
        find_rows(root.parent / "celeb")
    with pytest.raises(DataError, match="neither a folder nor an index"):
        find_rows(root / "real" / "a.png")
    with pytest.raises(UsageError, match="did you mean 'source'"):
        find_rows(root, subfolders="sources")
    (root / "faceset.json").write_text("{}")
    with pytest.raises(DataError, match="face set already"):
        find_rows(root)


def index(folder: Path, text: str, name: str = "index.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_index(tree: Tree) -> None:
    root = tree("a.png", "sub/b,1.png", "c.png")
    file = index(
        root,
        '\ufeffPath, Label ,group,source,split\na.png,real,p1,ffhq,train\n"sub/b,1.png",1,,,\n./c.png,Fake,p1,,dev\n',
    )
    expected = {
        "a.png": (0, "p1", "ffhq", "train"),
        "sub/b,1.png": (1, "sub/b,1", "celebs", ""),
        "c.png": (1, "p1", "celebs", "validation"),
    }
    assert table(find_rows(file)) == expected
    assert table(find_rows(root)) == expected, "a folder's index.csv is used"


def test_index_wins_over_label_folders(tree: Tree) -> None:
    root = tree("real/a.png", "fake/b.png", "real/c.png")
    index(root, "path,label\nreal/a.png,fake\n")
    assert table(find_rows(root)) == {"real/a.png": (1, "real/a", "celebs", "")}


@pytest.mark.parametrize(
    "content", [b"id,age\n1,2\n", "path,label\n\u00e4.png,real\n".encode("latin-1"), b"", b"\x00\xff"]
)
def test_an_index_csv_that_is_none_is_never_passed_over(tree: Tree, content: bytes) -> None:
    root = tree("real/a.png", "fake/b.png")
    (root / "index.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"index\.csv"):
        find_rows(root)


ROWS = [
    ["path", "label", "group", "split"],
    ["real/a.png", "real", "Ana; 1", "train"],
    ["fake/b, c.png", "fake", "Zo\u00eb | 2", "test"],
    ["fake/d.png", "fake", "\u5f20", "validation"],
]
HEADERS = [
    ROWS[0],
    ["Image Path", "Class", "Person_ID", "subset"],
    ["FILENAME", "ground-truth", "identity", "Partition"],
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("named", [False, True])
def test_an_index_as_programs_write_it(
    tree: Tree, header: list[str], delimiter: str, encoding: str, named: bool
) -> None:
    """All are the same table as the plain one: of commas, in UTF-8, with our own words."""
    root = tree("real/a.png", "fake/b, c.png", "fake/d.png")

    def written(name: str, rows: list[list[str]], mark: str, to: str, first: str) -> Path:
        with (root / name).open("w", encoding=to, newline="") as file:
            file.write(first)
            csv.writer(file, delimiter=mark).writerows(rows)
        return root / name

    plain = table(find_rows(written("plain.csv", ROWS, ",", "utf-8", "")))
    assert len(plain) == 3
    first = f"sep={delimiter}\r\n" if named else ""
    assert table(find_rows(written("index.csv", [header, *ROWS[1:]], delimiter, encoding, first))) == plain
    assert table(find_rows(root)) == plain


def test_backslashes_of_windows(tree: Tree) -> None:
    root = tree("real/a.png", "fake/sub/b.png")
    rows = find_rows(index(root, "path,label\nreal\\a.png,real\nfake\\sub\\b.png,fake\n"))
    assert sorted(table(rows)) == ["fake/sub/b.png", "real/a.png"]
    with pytest.raises(DataError, match="listed 2 times"):
        find_rows(index(root, "path,label\nreal\\a.png,real\nreal/a.png,real\n"))


def test_numbers_are_labels_where_the_column_says_so(tree: Tree) -> None:
    root = tree("a.png", "b.png")
    assert table(find_rows(index(root, "file;label\na.png;0\nb.png;1\n")))["b.png"][0] == 1
    with pytest.raises(DataError, match="'1' in the column 'target' may be real or fake"):
        find_rows(index(root, "path,target\na.png,1\n"))
    pd.DataFrame({"path": ["a.png"], "target": [1]}).to_parquet(root / "i.parquet")
    with pytest.raises(DataError, match="may be real or fake"):
        find_rows(root / "i.parquet")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("is_fake", "01"),
        ("isFake", ["False", "TRUE"]),
        ("fake", ["no", "yes"]),
        ("is_real", "10"),
        ("label", ["0.0", "1.0"]),
    ],
)
def test_labels_as_yes_or_no(tree: Tree, column: str, words: Sequence[str]) -> None:
    root = tree("a.png", "b.png")
    rows = find_rows(index(root, f"file,{column}\na.png,{words[0]}\nb.png,{words[1]}\n"))
    assert {path: row[0] for path, row in table(rows).items()} == {"a.png": 0, "b.png": 1}
    with pytest.raises(DataError, match="'perhaps'"):
        find_rows(index(root, f"file,{column}\na.png,perhaps\n"))
    with pytest.raises(DataError, match="'True' in the column 'label' may be real or fake"):
        find_rows(index(root, "file,label\na.png,True\n"))


def test_videos_are_groups_where_no_column_names_persons(tree: Tree) -> None:
    root = tree("a.png", "b.png")
    rows = table(find_rows(index(root, "path,label,video_id\na.png,real,v1\nb.png,fake,v1\n")))
    assert [row[1] for row in rows.values()] == ["v1", "v1"]
    rows = table(find_rows(index(root, "path,label,video_id,person\na.png,real,v1,p\nb.png,fake,v2,p\n")))
    assert [row[1] for row in rows.values()] == ["p", "p"]


def test_a_column_that_may_name_persons_is_not_passed_over(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    root = tree("a.png", "b.png")
    find_rows(index(root, "path,label,celebrity\na.png,real,p\nb.png,fake,p\n"))
    assert "unused: 'celebrity'; call one 'group'" in caplog.text
    caplog.clear()
    find_rows(index(root, "path,label,celebrity,group\na.png,real,p,1\nb.png,fake,p,1\n"))
    find_rows(index(root, "path,label\na.png,real\nb.png,fake\n"))
    assert not caplog.text


@pytest.mark.parametrize("name", ["index.tsv", "INDEX.CSV", "index.parquet"])
def test_an_index_of_another_name_is_read(tree: Tree, name: str) -> None:
    root = tree("real/a.png", "fake/b.png")
    rows = pd.DataFrame({"path": ["real/a.png", "fake/b.png"], "label": ["real", "fake"], "group": ["p", "p"]})
    rows.to_parquet(root / name) if name.endswith("parquet") else rows.to_csv(root / name, sep="\t", index=False)
    assert [row[1] for row in table(find_rows(root)).values()] == ["p", "p"]
    (root / "index.csv").write_text("path,label\nreal/a.png,real\n")
    with pytest.raises(DataError, match=r"holds .*index\.csv"):
        find_rows(root)


@pytest.mark.parametrize("name", ["labels.csv", "metadata.tsv", "index.jsonl", "index.csv.gz"])
def test_what_may_be_the_index_is_never_passed_over(tree: Tree, name: str) -> None:
    root = tree("real/a.png", "fake/b.png", "notes.csv", "real/labels.csv")
    (root / "notes.csv").write_text("camera,date\n1,2\n")
    assert len(find_rows(root)) == 3
    (root / name).write_text("file_name,label,person\nreal/a.png,real,p\n")
    with pytest.raises(DataError, match=name):
        find_rows(root)


def test_rows_as_spreadsheets_end_them_and_accents_as_macos_writes_them(tree: Tree) -> None:
    """U+00E9 is one letter in an index, and a letter and an accent in the name on the disk."""
    root = tree("real/cafe\u0301.png", "fake/b.png")
    rows = find_rows(index(root, "path,label,group\nreal/caf\u00e9.png,real,p,,\nfake/b.png,fake,p,\n"))
    assert {path: row[1] for path, row in table(rows).items()} == {"real/cafe\u0301.png": "p", "fake/b.png": "p"}
    with pytest.raises(DataError, match="4 cells where the header has 3"):
        find_rows(index(root, "path,label,group\nfake/b.png,fake,p,q\n"))
    with pytest.raises(DataError, match=r"https://x\.org/b\.png"):
        find_rows(index(root, "path,label\nhttps://x.org/b.png,fake\n"))


def test_parquet_index_with_numbers(tree: Tree) -> None:
    root = tree("a.png", "b.png")
    pd.DataFrame({"label": [0, 1], "path": ["a.png", "b.png"], "group": [7, 8], "age": [1, 2]}).to_parquet(
        root / "i.parquet"
    )
    assert table(find_rows(root / "i.parquet")) == {"a.png": (0, "7", "celebs", ""), "b.png": (1, "8", "celebs", "")}
    (root / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot read"):
        find_rows(root / "bad.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'path' in nothing"),
        ("path,lable\na.png,real\n", "line 1: no column 'label'.*is 'lable' meant"),
        ("path,label,groups\na.png,real,x\n", "no column 'group'; is 'groups' meant"),
        ("path,label,label\na.png,real,x\n", "'label' and 'label' are both the column 'label'"),
        ("path,label\na.png,reel\n", "line 2: unknown label 'reel'; did you mean 'real'"),
        ("path,label\na.png,2\n", "line 2: unknown label '2'"),
        ("path,label\na.png,\n", "line 2: the label is empty"),
        ("path,label\n\n,real\n", "line 3: the path is empty"),
        ("path,label,split\na.png,real,tset\n", "line 2: unknown split 'tset'; did you mean 'test'"),
        ("path,label\na.png,real\naa.png,real\n", "line 3: aa.png does not exist; did you mean 'a.png'"),
        ("path,label\na.png,real\nb.png,fake\n./a.png,fake\n", "a.png is listed 2 times, in lines 2, 4"),
        ("path,label\na.png,b.png,real\n", "line 2: 3 cells where the header has 2"),
    ],
)
def test_index_errors_name_the_line(tree: Tree, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_rows(index(tree("a.png", "b.png"), text, "list.csv"))


def test_index_in_another_encoding(tree: Tree) -> None:
    root = tree("a.png")
    (root / "l.csv").write_bytes("path,label\nä.png,real\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        find_rows(root / "l.csv")


def test_order_is_by_name_whatever_the_disk_says(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_picture(tmp_path / "real" / f"{name}.png")
        write_picture(tmp_path / "fake" / name / "1.png")
    assert list(table(find_rows(tmp_path))) == [
        "fake/a/1.png", "fake/b/1.png", "fake/c/1.png", "real/a.png", "real/b.png", "real/c.png",
    ]  # fmt: skip
