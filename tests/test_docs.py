"""The documentation does not point at what is not there, and shows no command that does not exist."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import docs_world
import pytest
from conftest import Shared
from faceclips import needs_media
from monday import Monday
from toy import tiny

from facetell.cli.main import VERBS, facetell
from facetell.methods import get_method
from facetell.settings import resolve

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def blocks(page: Path, language: str = "[a-z]*") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def documented() -> list[str]:
    """Every command of every page, once, without the remark after it."""
    lines = [line for page in PAGES for block in blocks(page) for line in block.splitlines()]
    commands = [re.split(r"\s{2,}|#|\|", line)[0].strip() for line in lines if line.startswith("facetell ")]
    return list(dict.fromkeys(commands))


NOT_RUN = {
    "facetell serve": "serves until it is told to end; tests/test_serve.py starts it",
    "facetell bench ": "fits a grid on real data for minutes; tests/test_bench.py runs one on drawn faces",
    "facetell demo": "minutes; tests/test_demo.py runs it",
    "FaceForensics++": "a data set as it is downloaded; tests/test_layouts.py reads drawn ones of its shape",
    "--pretrained library": "downloads weights",
    "squeezenet1_0-imagenet.safetensors": "downloaded weights",
    "FILE.safetensors": "downloaded weights",
    "convnext_tiny": "downloaded weights",
    "efficientnet_lite2": "downloaded weights",
    "fit depth dfdc stylegan": "several real face sets; tests/test_several.py joins drawn ones",
    "adapt starter": "half a minute a time; tests/test_starter.py does it",
    "adapted faces --vectors": "of a detector with experts; tests/test_replay_vectors.py makes one",
    "backbone=inception_v4": "a minute for a network of that size; tests/test_features.py fits a small one",
    "backbone=xception": "half a minute for a network of that size; tests/test_networks.py runs it",
    "--masks": "regions of real forgeries; tests/test_explanation.py plays the game on drawn ones",
    "--method isotonic": "needs 1,000 faces; tests/test_operating_points.py allows fewer",
    "PATH...": "a pattern of a command",
    ".pem": "of a key; tests/test_signature.py makes some",
    "--engine ray": "begins a cluster; tests/test_cluster.py has one of two nodes",
    "s3://": "asks a bucket; tests/test_buckets.py has a small one",
    "gs://": "the same",
    "hf://": "asks the hub; tests/test_hub.py has a small one",
    "facetell push": "the same",
}
"""What a command holds that is only parsed, and why."""


@pytest.mark.parametrize("line", documented())
def test_a_documented_command_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    assert words[0] in VERBS
    command = facetell.get_command(click.Context(facetell), words[0])
    assert command is not None
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.split("=")[0] for word in words[1:] if word.startswith("-") and word != "-"} <= known
    parser = command.make_parser(click.Context(command))
    parser.parse_args(words[1:])
    settings = dict(re.findall(r"--set (\w+)=(\S+)", line))
    if words[0] == "fit":
        resolve(get_method(words[1]).settings, settings)


@pytest.fixture(scope="session")
def world(shared: Shared, made: Monday) -> Path:
    needs_media()
    return shared("docs", lambda root: docs_world.build(root, made))


@pytest.fixture
def inside(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder is a copy of all that the pages name."""
    monkeypatch.chdir(shutil.copytree(world, tmp_path / "here"))
    return Path()


def remove(path: Path) -> None:
    """What a command writes must not be there yet."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in documented() if not any(part in line for part in NOT_RUN)])
def test_a_documented_command_runs(line: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = docs_world.smaller(shlex.split(line)[1:])
    if "-o" in words:
        remove(inside / words[words.index("-o") + 1])
    code = docs_world.facetell_main(*words)
    said = capsys.readouterr()
    assert code == 0 or (words[0] == "adapt" and code == 7), said.err  # whether toys pass is not asked here


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_documented_python_runs(page: Path, inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import facetell as package

    fit = package.fit

    def small(method: str, faceset: object, out: object, **options: Any) -> Any:
        return fit(method, faceset, out, **{**options, "settings": tiny(method, epochs=1, pair_epochs=1)})  # type: ignore[arg-type]

    for block in blocks(page, "python"):
        for call in ast.walk(ast.parse(block)):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("facetell."):
                verb = getattr(package, ast.unparse(call.func).split(".")[1])
                given = dict(zip(inspect.signature(verb).parameters, call.args, strict=False)) if callable(verb) else {}
                out = given.get("out")
                if isinstance(out, ast.Constant):
                    remove(inside / str(out.value))
        with monkeypatch.context() as patch:
            patch.setattr(package, "fit", small)
            exec(compile(block, page.name, "exec"), {})


def test_every_method_has_its_page() -> None:
    from facetell.methods import METHODS

    assert {page.stem for page in (ROOT / "docs" / "methods").glob("*.md")} == set(METHODS)


def test_defaults_named_on_the_page_of_fdftnet_are_those_of_the_code() -> None:
    from facetell.methods.fdftnet import FDFtNetSettings

    defaults = FDFtNetSettings()
    rows = [
        line.split("|")[1:3]
        for line in (ROOT / "docs" / "methods" / "fdftnet.md").read_text().splitlines()
        if "| `" in line
    ]
    checked = 0
    for names, values in rows:
        for name, value in zip(names.replace("`", "").split(","), values.split(","), strict=True):
            actual = getattr(defaults, name.strip())
            said = value.strip().lower()
            assert said in (str(actual).lower(), f"{actual:g}" if isinstance(actual, float) else "") or (
                isinstance(actual, float) and float(said) == actual
            ), name
            checked += 1
    assert checked >= 8
