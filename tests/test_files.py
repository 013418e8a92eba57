"""Whole or not at all, one process at a time, nothing left behind."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from facetell import files
from facetell.detector.bundle import detectors_folder
from facetell.errors import DataError
from facetell.faceset.cache import cache_dir
from facetell.files import (
    check_space,
    clear_leftovers,
    locked,
    sha256_of,
    whole_file,
    whole_folder,
    write_csv,
    write_text,
)

HOLDER = """
import sys, time
from pathlib import Path
from facetell.files import locked, whole_file, whole_folder

path = Path(sys.argv[2])
if sys.argv[1] == "lock":
    with locked(path):
        print("held", flush=True)
        sys.stdin.read()
elif sys.argv[1] == "file":
    with whole_file(path) as partial:
        partial.write_text("half")
        print("held", flush=True)
        sys.stdin.read()
elif sys.argv[1] == "folder":
    with whole_folder(path) as partial:
        (partial / "half").touch()
        print("held", flush=True)
        sys.stdin.read()
else:
    for _ in range(50):
        with locked(path):
            number = int(path.read_text())
            time.sleep(0.0005)
            path.write_text(str(number + 1))
"""


def another(what: str, path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock of ``path`` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, what, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if what != "count":
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old\r\nfile\n")
    assert path.read_bytes() == b"old\r\nfile\n"
    with pytest.raises(ZeroDivisionError), whole_file(path) as partial:
        partial.write_text(str(len(path.read_bytes()) // 0))
    assert path.read_bytes() == b"old\r\nfile\n"
    write_csv(path, ["a", "b"], [(1, "x,y"), (None, "é")])
    assert path.read_bytes() == 'a,b\r\n1,"x,y"\r\n,é\r\n'.encode()
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_the_old_or_the_new_one(
    there: bool, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if steps == 2:
        monkeypatch.setattr(files, "_exchange", lambda _one, _other: False)
    path = tmp_path / "a"
    if there:
        path.mkdir()
        (path / "old").touch()
    with pytest.raises(ZeroDivisionError), whole_folder(path) as partial:
        (partial / "new").write_text(str(1 // 0))
    assert names(tmp_path) == (["a"] if there else [])
    with whole_folder(path) as partial:
        (partial / "in").mkdir()
        (partial / "in" / "new").write_text("x")
        assert not path.exists() or names(path) == ["old"]
    assert names(path) == ["in"]
    assert names(tmp_path) == ["a"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    for name in ("file", "folder"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    write_text(tmp_path / "file", "x")
    with whole_folder(tmp_path / "folder") as partial:
        (partial / "new").touch()
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "folder").is_symlink()
    assert names(tmp_path / "disk") == ["file", "folder"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (whole_file, whole_folder, locked):
        with (
            pytest.raises(DataError, match=r"cannot write .*file.inside") as caught,
            write(tmp_path / "file" / "inside"),
        ):
            pass
        assert caught.value.hint is None
    with (
        pytest.raises(DataError, match=r"^the disk is full: cannot write .*new$") as caught,
        whole_file(tmp_path / "new"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "free some space" in str(caught.value.hint)
    with pytest.raises(DataError, match=r"cannot write .*new: ") as caught, whole_file(tmp_path / "new", hint="go on"):
        pass  # nothing was written
    assert caught.value.hint == "go on"
    with pytest.raises(DataError, match=r"a task needs 1000000.0 GB in .* are free"):
        check_space(tmp_path, 10**15, "a task", "another disk")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [whole_file, whole_folder])
def test_a_pipe_or_device_stays_what_it_is(
    write: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path
) -> None:
    """Renamed onto it, a file would take the place of /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(DataError, match="device or a pipe"), write(tmp_path / name):
            pass
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == ["link", "pipe"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which nobody can make a file")
def test_where_there_can_be_no_file_nobody_waits() -> None:
    with pytest.raises(DataError, match=r"cannot write /proc/self/x"), locked(Path("/proc/self/x")):
        pass


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10**6)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"x" * 10**6).hexdigest()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    processes = [another("count", tmp_path / "count") for _ in range(3)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "150"
    assert names(tmp_path) == ["count"]


def test_one_thread_at_a_time_which_may_lock_again(tmp_path: Path) -> None:
    count = 0

    def work() -> None:
        nonlocal count
        for _ in range(20):
            with locked(tmp_path / "a"), locked(tmp_path / "a"), whole_file(tmp_path / "a") as partial:
                before = count
                partial.touch()
                count = before + 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == 60
    assert names(tmp_path) == ["a"]


def test_who_waits_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    with another("lock", tmp_path / "faces") as holder:
        assert holder.stdin is not None
        threading.Timer(0.5, holder.stdin.close).start()
        began = time.monotonic()
        with caplog.at_level(logging.WARNING, "facetell"), locked(tmp_path / "faces"):
            assert time.monotonic() - began > 0.3
    assert [record.message for record in caplog.records] == [
        f"waiting for another process that writes {tmp_path / 'faces'}"
    ]
    assert names(tmp_path) == []


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_killed_process_holds_nobody_up_and_leaves_nothing(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with another(what, path) as process:
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [".a.lock", ".a.partial"]
    with locked(path):
        assert names(tmp_path) == [".a.lock"]
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="no such function")
def test_two_folders_change_places_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert files._exchange(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path / "a") == ["b"]
    assert not files._exchange(tmp_path / "a", tmp_path / "none")
    assert names(tmp_path) == ["a", "b"]


def test_what_was_moved_away_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".a.old").mkdir()  # a kill came between the two renames
    (tmp_path / ".a.old" / "mine").touch()
    (tmp_path / ".a.partial").mkdir()
    with locked(tmp_path / "a"):
        assert names(tmp_path / "a") == ["mine"]
    assert names(tmp_path) == ["a"]


def test_leftovers_are_cleared_and_living_ones_stay(tmp_path: Path) -> None:
    with another("file", tmp_path / "dead") as dead, another("file", tmp_path / "alive") as alive:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        (tmp_path / "mine.txt").touch()
        clear_leftovers(tmp_path)
        assert names(tmp_path) == [".alive.lock", ".alive.partial", "mine.txt"]
        alive.communicate()
    assert names(tmp_path) == ["alive", "mine.txt"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at open files by their number")
def test_all_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def flushed(opened: int) -> None:
        done.append(Path(f"/proc/self/fd/{opened}").readlink().name + ("!" if (tmp_path / "a").exists() else ""))

    monkeypatch.setattr(os, "fsync", flushed)
    with whole_folder(tmp_path / "a") as partial:
        (partial / "one").touch()
    assert done == ["one", ".a.partial", f"{tmp_path.name}!"]


def test_a_user_without_a_home_folder_has_the_root_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that runs as a number that the system does not know: engines say HOME=/ then."""
    for name in ("HOME", "FACETELL_CACHE", "FACETELL_DETECTORS", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 5)
    assert detectors_folder() == Path("/.local/share/facetell/detectors")
    assert cache_dir() == Path("/.cache/facetell")
