"""The command as a person types it: output, errors, exit codes, and a quick --help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy import TINY, toy_source

import facetell
from facetell.cli.main import VERBS, main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_from_pictures_to_a_verdict(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_source(Path("pictures"))
    Path("pictures/broken.png").write_bytes(b"")
    with Path("pictures/index.csv").open("a") as file:
        file.write("broken.png,real,x,camera,train\n")
    code, out, err = run(capsys, "prepare", "pictures", "-o", "faces")
    assert (code, "116 faces" in out) == (0, True)
    assert "left out 1 files (1 empty)" in err
    assert "broken.png,empty" in Path("faces/skipped.csv").read_text()

    code, out, _ = run(capsys, "inspect", "faces", "--json")
    assert code == 0
    assert json.loads(out)["rows"] == 116
    assert Path("faces-sheet.png").is_file()

    settings = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    code, out, err = run(capsys, "fit", "finetune", "faces", "-o", "detector", *settings)
    assert (code, out.startswith("detector: a detector")) == (0, True)
    assert err.count("validation loss") == TINY["epochs"]

    code, out, _ = run(capsys, "evaluate", "detector", "faces", "-o", "report")
    assert code == 0
    assert "24 faces (12 real, 12 fake) of 12 groups" in out
    assert "auroc" in out
    assert Path("report/report.md").is_file()

    code, out, _ = run(capsys, "verify", "detector")
    assert (code, "whole" in out) == (0, True)

    Path("bad.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    code, out, err = run(
        capsys, "detect", "detector", "pictures/test-0-real.png", "bad.jpg", "--json", "--faces", "crops"
    )
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 6
    assert [line["path"] for line in lines] == ["pictures/test-0-real.png", "bad.jpg"]
    assert lines[0]["decision"] in ("real", "fake")
    assert (lines[1]["status"], lines[1]["decision"], lines[1]["score"]) == ("unreadable", None, None)
    assert lines[1]["reason"]
    assert "1 could not be judged" in err
    code, out, _ = run(capsys, "detect", "detector", "pictures/test-0-real.png", "--faces", "crops")
    assert (code, len(out.splitlines())) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepair", "x"], 2, "did you mean 'prepare'"),
        (["fit", "fdft", "faces", "-o", "x"], 2, "did you mean 'fdftnet'"),
        (["fit", "finetune", "nowhere", "-o", "x", "--set", "epochs"], 2, "cannot read 'epochs'"),
        (["prepare", "nowhere", "-o", "x"], 3, "nowhere"),
        (["verify", "nowhere"], 4, "there is no detector"),
        (["detect", "nowhere", "a.png"], 4, "there is no detector"),
        (["methods", "magic"], 2, "unknown method"),
    ],
)
def test_errors_say_what_and_end_with_their_code(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_methods_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "methods", "--json")
    listed = json.loads(out)
    assert code == 0
    assert set(listed) == {"depth", "fdftnet", "features", "finetune", "siamese"}
    assert {"ftt_stages", "mb_blocks", "cutout_holes", "cutout_size", "train_backbone"} <= set(
        listed["fdftnet"]["settings"]
    )
    assert all(entry["doc"] for method in listed.values() for entry in method["settings"].values())
    assert "paper" in listed["fdftnet"]["presets"]


def test_help_names_every_verb_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)
    for verb in VERBS:
        code, out, _ = run(capsys, verb, "--help")
        assert (code, "Example:" in out) == (0, True), verb


def test_help_is_light() -> None:
    """``facetell --help`` must answer at once: nothing heavy is imported for it."""
    code = (
        "import sys\nfrom facetell.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'pyarrow', 'numpy', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'heavy: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's disk that is always full")
@pytest.mark.parametrize(("closed", "code"), [("> /dev/full", 3), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_output_that_goes_nowhere_is_no_traceback(closed: str, code: int) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m facetell sources {closed}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("disk is full" in done.stderr) == (code == 3)


@pytest.mark.parametrize("seed", ["-1", str(2**64)])
def test_a_seed_that_draws_nothing_is_wrong_usage(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "prepare", "photos", "-o", "faces", "--seed", seed)
    assert (code, seed in err) == (2, True)


@pytest.mark.parametrize(
    ("asked", "words", "found"),
    [
        ("bash_source", "", "complete -o nosort -F _facetell_completion facetell"),
        ("bash_complete", "facetell det", "plain,detectors"),
        ("zsh_complete", "facetell verif", "verify"),
        ("fish_complete", "facetell detect --prev", "--prevalence"),
    ],
)
def test_a_shell_completes_verbs_and_options(asked: str, words: str, found: str) -> None:
    """By Click, which looks at the name that the command was called by."""
    said = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_FACETELL_COMPLETE": asked}
    if asked.startswith("fish"):
        said["COMP_CWORD"] = words.split()[-1]
    code = "import sys; sys.argv = ['facetell']; from facetell.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **said}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert found in done.stdout


def test_public_names() -> None:
    assert set(facetell.__all__) == {
        "Detector", "FaceSet", "Verdict", "__version__", "adapt", "audit", "bench", "blend", "cache", "calibrate",
        "compare", "demo", "detect", "detectors", "evaluate", "explain", "export", "fit", "history", "inspect", "join",
        "keys", "list_methods", "prepare", "promote", "pull", "push", "remember", "report", "serve", "sign", "sources",
        "stress", "threshold", "verify", "watch",
    }  # fmt: skip
    for name in facetell.__all__:
        assert getattr(facetell, name) is not None
        assert name == "__version__" or callable(getattr(facetell, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = facetell.nothing
