"""What is said of licences and of how to cite is true of what is installed, and in the form that others read."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def rows(text: str) -> list[str]:
    return re.findall(r"^\| [a-z0-9-]+ \| (?:core|`serve`) \| .+ \|$", text, re.MULTILINE)


def test_the_page_lists_what_is_installed() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "licences.py"], capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    assert rows(page) == rows(made.stdout), "run benchmarks/licences.py and put its table on the page"
    for requirement in PROJECT["dependencies"]:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert f"| {name[0]} | core |" in page


def test_the_citation_has_the_fields_that_its_schema_asks_for() -> None:
    """Of the Citation File Format 1.2.0; ``cffconvert --validate`` checks the rest, see docs/release.md."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert {"message", "title", "authors"} <= set(citation)
    assert " AND ".join(citation["license"]) == PROJECT["license"]
    assert len(citation["references"]) == 4
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
