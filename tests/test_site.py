"""The docs as a site: every page is in it, every notebook runs, no link is broken, every verb is there, and nothing is
loaded from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sphinx.application import Sphinx

import facetell
from facetell.cli.main import VERBS

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    site = tmp_path / "site"
    built = Sphinx(str(DOCS), str(DOCS), str(site), str(tmp_path / "kept"), "html", status=None, warningiserror=True)
    built.build()
    assert built.statuscode == 0
    for page in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]:
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file(), page
    command, python = ((site / "reference" / f"{name}.html").read_text("utf-8") for name in ("command", "python"))
    assert [verb for verb in VERBS if f'id="facetell-{verb}"' not in command] == []
    assert [name for name in facetell.__all__ if name[0] != "_" and f'id="facetell.{name}"' not in python] == []
    loads = r'<(?:script|img|link|iframe)[^>]*?(?:src|href)="([a-z]+:)?//'
    assert [page.name for page in site.rglob("*.html") if re.search(loads, page.read_text("utf-8"))] == []


@pytest.mark.slow
def test_the_page_for_man_has_every_verb(tmp_path: Path) -> None:
    built = Sphinx(
        str(DOCS), str(DOCS), str(tmp_path), str(tmp_path / "kept"), "man", {"nb_execution_mode": "off"},
        status=None, warningiserror=True,
    )  # fmt: skip
    built.build()
    page = (tmp_path / "facetell.1").read_text("utf-8")
    assert re.findall(r"^\.SS (\S+)$", page, re.MULTILINE) == sorted(VERBS)
    assert f'"{facetell.__version__}" "facetell"' in page.splitlines()[30]
