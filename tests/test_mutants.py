"""Files of every format with a seeded damage: each gets one verdict or a reason, and none stops or outlasts the others.

``FACETELL_MUTANTS=600`` makes that many, and ``FACETELL_SEED=2`` others.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import mutants
import pytest
from faceclips import needs_media
from serving_world import crop, served

from facetell.detector.verdict import STATUSES

needs_media()
pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("FACETELL_MUTANTS", "100"))
SEED = int(os.environ.get("FACETELL_SEED", "0"))
SECONDS = 60 + COUNT
"""For all files together, on two busy cores; it takes a fifth of that."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mutants.write(tmp_path_factory.mktemp("mutants") / "media", COUNT, SEED)


def facetell(*arguments: object) -> tuple[int, str, str]:
    """The command in a process of its own: exit code, standard output, standard error."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "facetell", *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS
    )
    assert time.monotonic() - began < SECONDS
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("how", ["auto", "crops"])
def test_every_file_gets_one_verdict(folder: Path, fitted: Path, how: str) -> None:
    code, out, _ = facetell("detect", fitted, folder, "--json", "--frames", 4, "--faces", how)
    lines = [json.loads(line) for line in out.splitlines()]
    assert Counter(line["path"] for line in lines) == Counter(map(str, folder.rglob("*.*")))
    for line in lines:
        assert line["status"] in STATUSES
        assert (line["decision"] is None) == (line["score"] is None)
        assert line["decision"] or line["reason"], line
        assert not any(word in (line["reason"] or "") for word in ("crashed", "took too long")), line
    assert code == (6 if any(line["decision"] is None for line in lines) else 0)


@pytest.mark.parametrize("how", ["find", "crops"])
def test_every_file_is_in_the_account(folder: Path, tmp_path: Path, how: str) -> None:
    code, _, err = facetell("prepare", folder, "-o", tmp_path / "faces", "--faces", how, "--frames", 4)
    assert code == 0, err
    with (tmp_path / "faces" / "skipped.csv").open(newline="", encoding="utf-8") as file:
        said = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert not {"crashed", "timeout"} & set(said.values())
    from facetell.faceset.table import FaceSet

    used = set(FaceSet.open(tmp_path / "faces").columns(["path"])["path"].to_pylist())
    assert used | set(said) == {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}


def test_a_server_says_what_detect_says(folder: Path, fitted: Path, tmp_path: Path) -> None:
    """Of every file the same status and decision, or that it is none that can be judged; never a fault of the server."""
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    _, out, _ = facetell("detect", fitted, folder, "--json", "--frames", 4)
    expected = {line["path"]: (line["status"], line["decision"]) for line in map(json.loads, out.splitlines())}
    with served(tmp_path, fitted, "--frames", 4) as running, running.client() as client:
        for path, said in expected.items():
            answer = client.post("/v1/verdicts", files={"file": crop(Path(path))})
            item = answer.json()["items"][0] if answer.status_code in (200, 202) else {"problem": answer.json()}
            while item.get("state") in ("queued", "running"):
                time.sleep(0.05)
                item = client.get(f"/v1/verdicts/{item['id']}").json()
            if item["problem"] is None:
                assert (item["verdict"]["status"], item["verdict"]["decision"]) == said, path
            else:  # there is no verdict of it there either, or the server allows less
                known = said[0] in ("unsupported", "unreadable") or "limit" in item["problem"]["detail"]
                assert answer.status_code < 500, (path, item)
                assert known, (path, said, item)
        assert client.get("/health").status_code == 200
