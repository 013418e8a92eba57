"""The documentation does not point at what is not there, and shows no command that does not exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from facetell.cli.main import VERBS, facetell

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_exist(page: Path) -> None:
    blocks = re.findall(r"```[a-z]*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("facetell ")]
    for line in lines:
        words = shlex.split(re.split(r"\s{2,}|#|\|", line)[0])[1:]
        assert words[0] in VERBS, line
        command = facetell.get_command(click.Context(facetell), words[0])
        assert command is not None
        known = {name for parameter in command.params for name in parameter.opts}
        unknown = {word for word in words[1:] if word.startswith("-")} - known
        assert not unknown, line


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
