"""Worker processes start whatever the caller is, and end with it; cores are those that may be used."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facetell.media.processes import start_process
from facetell.media.workers import guarded_map
from facetell.threads import usable_cores

SCRIPT = """
import multiprocessing, os, sys, threading
from facetell.media.workers import guarded_map
print("run", flush=True)
def go(_=None):
    return [found for _, found in guarded_map(os.path.basename, ["a/b", "c/d"], 2, seconds=lambda _: 20)]
def said():
    print(go(), flush=True)
"""
WAYS = {
    "plain": "said()",
    "thread": "t = threading.Thread(target=said); t.start(); t.join()",
    "daemon": "p = multiprocessing.get_context('fork').Process(target=said, daemon=True); p.start(); p.join()",
    "pool": "said(); print(multiprocessing.get_context('fork').Pool(1).map(go, [0])[0], flush=True)",
    "fork": "said(); sys.exit(said()) if not os.fork() else os.wait()",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_script_needs_no_main_guard(way: str, tmp_path: Path) -> None:
    """It is not run again, by name, on standard input or with ``-c``; sockets have no names that could be too long."""
    text = SCRIPT + WAYS[way]
    (script := tmp_path / "script.py").write_text(text)
    (deep := tmp_path / ("x" * 120)).mkdir()
    environment = {**os.environ, "TMPDIR": str(deep)}
    runs = [([str(script)], ""), (["-"], text), (["-c", text], "")][: 3 if way == "plain" else 1]
    for arguments, given in runs:
        found = subprocess.run(
            [sys.executable, *arguments], input=given, capture_output=True, text=True, env=environment, timeout=60
        )
        times = 2 if way in ("pool", "fork") else 1
        assert found.stdout.splitlines() == ["run"] + ["['b', 'd']"] * times
        assert (found.returncode, found.stderr) == (0, "")
    assert list(deep.iterdir()) == []


def test_where_no_process_can_be_started_it_works_here(tmp_path: Path) -> None:
    text = SCRIPT + f"multiprocessing.set_executable({str(tmp_path / 'nothing')!r}); said()"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert found.stdout.splitlines() == ["run", "['b', 'd']"]
    assert "cannot be started: No such file or directory: all is done in this one" in found.stderr


OURS = "from facetell.own_process import take; take()\n"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")
@pytest.mark.parametrize(
    ("before", "pythons"),
    [
        ("", 2),
        (OURS, 1),
        (OURS + "threading.Thread(target=threading.Event().wait, daemon=True).start()\n", 2),
        (OURS + "import pyarrow\n", 2),
    ],
    ids=["a script", "the command", "with a thread", "with a library of threads"],
)
def test_the_commands_own_process_is_copied(before: str, pythons: int, tmp_path: Path) -> None:
    """No second Python begins; what is not yet printed is printed once, and a crash costs its item as ever."""
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'begun')!r}, 'a').write('x')")
    text = f"""{SCRIPT}{before}
print("once")
print([str(found) for _, found in guarded_map(os._exit, [7, 8], 1, seconds=lambda _: 20)])
said()
"""
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    run, once, crashed, names = found.stdout.splitlines()
    assert (run, once, names) == ("run", "once", "['b', 'd']")
    assert "exit code 7" in crashed
    assert "exit code 8" in crashed
    assert (tmp_path / "begun").read_text() == "x" * pythons


@pytest.mark.parametrize("before", ["", OURS], ids=["fresh", "copied"])
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_the_caller(ending: int, before: str, tmp_path: Path) -> None:
    """As Ctrl-C does, the signal goes to all of them; a hanging item holds up nothing, and nobody else says a word."""
    text = SCRIPT + before + "list(guarded_map(time.sleep, [0.01, 600, 600, 600], 2, seconds=lambda _: 600))"
    caller = subprocess.Popen(
        [sys.executable, "-c", f"import time; {text.strip()}"],
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's job in the background ignores it
    )  # fmt: skip
    wait_for(lambda: len(group(caller.pid)) == 4)  # it, the server, two workers
    os.killpg(caller.pid, ending)
    _, err = caller.communicate(timeout=10)
    assert caller.returncode == -ending
    wait_for(lambda: group(caller.pid) == set())
    assert err.count(b"Traceback") == (ending == signal.SIGINT), "its own"


def test_they_have_the_callers_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("COLOUR", name)
        items = [*guarded_map(os.path.abspath, ["x"], 1, seconds=lambda _: 20)]
        assert items == [("x", str(tmp_path / name / "x"))]
        assert [*guarded_map(os.getenv, ["COLOUR"], 1, seconds=lambda _: 20)] == [("COLOUR", name)]


def test_how_a_process_ended(tmp_path: Path) -> None:
    for function, arguments, code in ((fail, (), 1), (leave, (7,), 7), (leave, (0,), 0)):
        process = start_process(function, *arguments)
        with contextlib.suppress(EOFError, ConnectionError):
            process.connection.recv()
        assert process.wait() == code
    process = start_process(hang)
    assert process.end() == -signal.SIGKILL


def fail(_connection: object) -> None:
    os.close(2)
    raise ValueError("no")


def leave(_connection: object, code: int) -> None:
    os._exit(code)


def hang(_connection: object) -> None:
    time.sleep(600)


def test_ctrl_c_during_imports_is_no_traceback(tmp_path: Path) -> None:
    """The first module that the command imports interrupts."""
    code = """
import runpy, sys
class Interrupts:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
runpy.run_module("facetell", run_name="__main__")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "error: interrupted\n")


def test_cores_are_those_of_the_affinity(tmp_path: Path) -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}]); from facetell.threads import usable_cores; print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "max 100000"}, 2),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000", "cpu.max": "300000 100000"}, 1),
        ("0::/../../else", {"cpu.max": "400000 100000"}, 4),  # within a container
        ("0::/", {}, 64),
        ("4:cpu,cpuacct:/a\n1:name=systemd:/b", {
            "cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        }, 3),
        ("nonsense", {"cpu.max": "nonsense"}, 64),
    ],
)  # fmt: skip
def test_cores_are_those_that_control_groups_allow(
    group: str, files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files as the kernel's documentation of control groups, version 1 and 2, describes them."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert usable_cores(tmp_path) == cores


def group(leader: int) -> set[int]:
    """Processes of a group that are no zombies."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == leader and state != "Z":
                found.add(int(entry.name))
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
