"""Names of files in all scripts and with all spaces, and text in and out in other encodings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_picture
from monday import Monday

import facetell
from facetell.ingest.sources import find_rows
from facetell.names import is_text, shown_name

NAMES = [
    "Screenshot 2024-05-10 at 5.41.00\u202fPM",  # macOS
    "Sn\u00edmek\u00a0obrazovky",
    "\u6771\u4eac\u3000\u5199\u771f",
    "cafe\u0301",  # an accent of its own
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u200eWhatsApp Image",
    "\ufeffmark",
    "soft\u00adhyphen",
]
BROKEN = ["line\nbreak", "tab\there", "next\u0085line", "line\u2028separator", os.fsdecode(b"bytes\xff")]


@pytest.mark.parametrize("name", NAMES)
def test_text_is_text(name: str) -> None:
    assert is_text(name)
    assert shown_name(name) == name


@pytest.mark.parametrize("name", BROKEN)
def test_what_would_break_a_line_is_none(name: str) -> None:
    assert not is_text(name)
    assert shown_name(name) == ascii(name)


def test_a_name_that_turns_the_line_is_shown_escaped() -> None:
    assert is_text("photo\u202egpj.exe")
    assert shown_name("photo\u202egpj.exe") == r"'photo\u202egpj.exe'"


def test_every_name_that_is_text_becomes_a_row(tmp_path: Path) -> None:
    for k, name in enumerate([*NAMES, *BROKEN]):
        for label in ("real", "fake"):
            write_picture(tmp_path / label / f"{name}.png", seed=2 * k + (label == "fake"))
    rows = find_rows(tmp_path)
    assert sorted(rows.path(k) for k in range(len(rows))) == sorted(
        f"{label}/{name}.png" for name in NAMES for label in ("real", "fake")
    )
    assert {skip.reason for skip in rows.skipped} == {"unreadable"}
    assert len(rows.skipped) == 2 * len(BROKEN)
    faces = facetell.prepare(tmp_path, tmp_path.with_name("faces"))
    assert len(faces) == 2 * len(NAMES)


@pytest.mark.slow
def test_adapt_takes_them_and_says_what_it_leaves_out(made: Monday, tmp_path: Path) -> None:
    for k, picture in enumerate(sorted(made["smooth"].iterdir())):
        name = NAMES[k] if k < len(NAMES) else str(k)
        (tmp_path / "found" / f"{name}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "found" / f"{name}.png").write_bytes(picture.read_bytes())
    (tmp_path / "found" / "line\nbreak.png").write_bytes(picture.read_bytes())
    (tmp_path / "found" / "half.png").write_bytes(picture.read_bytes()[:50])
    result = facetell.adapt(
        made.detector, tmp_path / "out", fake=tmp_path / "found", real=made["real"], strategy="linear-probe", margin=0.5,
        trust_labels=True,
    )  # fmt: skip
    assert result.new["counts"]["finetune"]["fake"] == {"found": 24}
    assert any("2 files of found are left out (2 unreadable)" in line for line in result.sentences)


LISTED = ["real/\u00e4.png", "\u6771\u4eac.png", "a b.png", "x.png"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_on_standard_input(
    encoding: str, end: str, fitted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from facetell.cli.main import main

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(end.join(["", *LISTED, ""]).encode(encoding))))
    with pytest.raises(SystemExit) as stop:
        main(["detect", str(fitted), "-", "--json"])
    assert stop.value.code == 6
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(verdict["path"], verdict["status"]) for verdict in verdicts] == [(name, "missing") for name in LISTED]


@pytest.mark.parametrize("names", [LISTED, [*LISTED, "a\rb.png"]])
def test_a_list_as_find_print0_gives_it(
    names: list[str], fitted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from facetell.cli.main import main

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(f"{name}\0" for name in names).encode())))
    with pytest.raises(SystemExit) as stop:
        main(["detect", str(fitted), "-", "--json"])
    assert stop.value.code == 6
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(verdict["path"], verdict["status"]) for verdict in verdicts] == [(name, "missing") for name in names]


def test_a_name_that_no_file_can_have_gets_its_verdict(fitted: Path) -> None:
    assert [verdict.status for verdict in facetell.detect(fitted, ["a\0b.png"])] == ["unreadable"]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["methods"], ["methods", "fdftnet"], ["detect", "DETECTOR", "\u00e4.png"]])
def test_a_terminal_of_another_encoding_costs_characters_alone(words: list[str], fitted: Path) -> None:
    command = [sys.executable, "-m", "facetell", *(str(fitted) if word == "DETECTOR" else word for word in words)]
    plain, narrow = (
        subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False)
        for encoding in ("utf-8", "latin-1")
    )
    assert narrow.returncode == plain.returncode
    assert narrow.stdout == plain.stdout.decode("utf-8").encode("latin-1", "replace")
    assert b"Traceback" not in narrow.stderr
