"""How the pages here become a site: ``make site``. Sphinx for links that are checked and a search without internet."""

from __future__ import annotations

import re
from importlib import metadata

project = "facetell"
author = "the founders of facetell"
project_copyright = f"2026, {author}"
release = version = metadata.version("facetell")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_click"]

nb_execution_mode = "force"  # pictures and numbers are those of the code beside them, and a fault ends the build
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_output_stderr = "remove"  # progress

html_theme = "furo"
html_title = f"facetell {release}"
html_show_sphinx = False

man_pages = [
    ("reference/command", "facetell", "detect fake face images, and learn a new kind from few examples", "", 1)
]

nitpicky = False  # docstrings name types of libraries whose pages are elsewhere
default_role = "code"  # docstrings say `name`, as Markdown does
myst_heading_anchors = 4  # pages link to headings as a repository shows them
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "none"  # the signature shows them
autodoc_member_order = "bysource"


def show_examples(_app: object, _context: object, lines: list[str]) -> None:
    """Show the examples of a verb's help as they are typed: blocks whose lines click was told to keep come with a bar."""
    plain = [line.removeprefix("| ") for line in lines]
    lines[:] = "\n".join("Example::\n" if line == "Example:" else line for line in plain).split("\n")


def keep_stars(_app: object, _context: object, lines: list[str]) -> None:
    """Show a star in the help of an option as it is, and not as the begin of emphasis."""
    lines[:] = [re.sub(r"(?<![*\\])\*(?!\*)", r"\\*", line) for line in lines]


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("sphinx-click-process-options", keep_stars)  # type: ignore[attr-defined]
    for part in ("description", "epilog"):
        app.connect(f"sphinx-click-process-{part}", show_examples)  # type: ignore[attr-defined]
