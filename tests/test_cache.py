"""The cache: all of it counts, is listed and cleared, and what somebody uses stays."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tiny_folder

import facetell
from facetell.cli.main import main
from facetell.faceset.cache import facesets_dir, prune
from facetell.faceset.decoded import decoded
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import open_or_prepare


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACETELL_CACHE_GB", raising=False)
    return tmp_path / "cache"


def made(root: Path, name: str, age: float) -> Path:
    """A face set in the cache, used ``age`` s ago."""
    path = open_or_prepare(tiny_folder(root / name, 4)).path
    gc.collect()
    used = path.stat().st_mtime - age
    os.utime(path, (used, used))
    return path


def size(path: Path) -> int:
    """As ``du`` counts the bytes."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


@pytest.mark.slow
def test_face_sets_count_against_the_limit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = made(tmp_path, "old", 200), made(tmp_path, "young", 100)
    monkeypatch.setenv("FACETELL_CACHE_GB", str((size(young) + size(old) - 1) / 1e9))
    newest = made(tmp_path, "newest", 0)
    assert not old.exists()
    assert not young.exists(), "only one fits, and that is the one just made"
    assert len(FaceSet.open(newest)) == 8


@pytest.mark.slow
def test_what_a_process_has_open_stays(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = made(tmp_path, "here", 200), made(tmp_path, "there", 100)
    code = f"faces = facetell.FaceSet.open({str(there)!r}); print(len(faces)); sys.stdin.read()"
    code = f"import sys, facetell; {code}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"8\n"
        faces = FaceSet.open(here)
        monkeypatch.setenv("FACETELL_CACHE_GB", "0")
        assert prune() == []
        assert len(faces.image(7)) > 0
        del faces
        gc.collect()
        assert prune() == [here]
        assert facetell.cache(clear_all=True).removed == []
    assert facetell.cache(clear_all=True).removed == [f"facesets/{there.name}"]
    assert not there.exists()


def test_it_is_listed_and_cleared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["cache", *arguments])
        assert not stop.value.code
        return capsys.readouterr().out

    monkeypatch.setenv("FACETELL_CACHE_GB", "2.5")
    assert json.loads(run("--json")) == {
        "path": str(folder), "bytes": 0, "limit": 2_500_000_000, "entries": [], "removed": [],
    }  # fmt: skip
    faces = made(tmp_path, "faces", 100)
    pictures = decoded(FaceSet.open(faces), "train", 8).path
    (folder / "mine.txt").write_text("not ours")
    found = json.loads(run("--json"))
    entries = {entry["name"]: (entry["kind"], entry["bytes"]) for entry in found["entries"]}
    assert entries == {
        f"facesets/{faces.name}": ("face set", size(faces)),
        pictures.name: ("decoded pictures", size(pictures)),
    }
    assert found["bytes"] == size(faces) + size(pictures)
    assert "of 2.5 GB in" in run()
    gc.collect()
    assert "2 removed" in run("--clear")
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["mine.txt"]
    assert list((folder / "facesets").iterdir()) == []


MAKES = """
import sys, time
from pathlib import Path
from facetell.faceset.kept import kept
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare

def make(out):
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    time.sleep(0.5)
    return prepare(Path(sys.argv[1]), out)

print(kept("mine", make).fingerprint)
"""


def test_two_processes_that_need_a_face_set_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    tiny_folder(tmp_path / "faces")
    log = tmp_path / "log"
    command = [sys.executable, "-c", MAKES, str(tmp_path / "faces"), str(log)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert said[0] == said[1] != ""
    assert log.read_text() == "made\n"
    assert [path.name for path in facesets_dir().iterdir() if path.is_dir() and path.name[0] != "."] == ["mine"]
