"""Pages of results as one HTML file that opens from disk: no script, no network, pictures inside.

Every result folder has a page in Markdown; this turns one or several of them into sections of a single page. What a
manager needs stands on top: the first paragraph of each section is its conclusion.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from facetell.reporting.pages import templates

__all__ = ["Card", "Section", "evaluation_cards", "html_page"]

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


@dataclass(frozen=True)
class Card:
    """One large number, what it is, and how sure."""

    value: str
    what: str
    detail: str


@dataclass(frozen=True)
class Section:
    """One result: its page in Markdown (one ``#`` heading, then its conclusion) and the folder its pictures lie in."""

    markdown: str
    folder: Path
    cards: Sequence[Card] = field(default_factory=tuple)

    @property
    def title(self) -> str:
        """The page's own heading."""
        return self._tokens()[1].content

    def _tokens(self) -> list[Token]:
        return _parser().parse(self.markdown)


def html_page(sections: Sequence[Section], title: str) -> str:
    """Return the whole page. A picture that is not in the section's folder is left out."""
    page = templates().get_template("page.html")
    several = len(sections) > 1
    filled = [{"title": one.title, "cards": one.cards, **_rendered(one, several)} for one in sections]
    return page.render(sections=filled, title=title) + "\n"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="scroll"><table>')
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    return parser


def _rendered(section: Section, several: bool) -> dict[str, Markup]:
    """HTML of the ``conclusion`` (the first paragraph) and the ``rest``; headings go down by one where there are several."""
    parser, tokens = _parser(), section._tokens()
    first = next((i for i, token in enumerate(tokens) if token.type == "paragraph_open"), len(tokens))
    parts = {"conclusion": tokens[first : first + 3], "rest": tokens[3:first] + tokens[first + 3 :]}
    for token in parts["rest"]:
        if token.type in ("heading_open", "heading_close") and several:
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        for child in token.children or ():
            if child.type == "image":
                child.attrs["src"] = _inside(section.folder, str(child.attrs["src"]))
    # The parser has raw HTML off, so what it makes is safe.
    return {name: Markup(parser.renderer.render(part, parser.options, {})) for name, part in parts.items()}  # noqa: S704


def _inside(folder: Path, source: str) -> str:
    """A picture of the folder as a data address; an empty one for anything else."""
    path = folder / source
    kind = KINDS.get(path.suffix.lower())
    if re.match(r"[a-z]+:|/", source) or ".." in Path(source).parts or kind is None or not path.is_file():
        return "data:,"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def evaluation_cards(report: Mapping[str, Any]) -> list[Card]:
    """The numbers that people ask for first, of a report as ``write_report`` returns it."""
    titles = {
        "auroc": ("AUROC", "{:.3f}"),
        "recall": ("fakes found", "{:.1%}"),
        "fpr": ("real faces called fake", "{:.1%}"),
        "ece": ("calibration error (ECE)", "{:.3f}"),
    }
    cards = []
    for name, (what, form) in titles.items():
        found = report["metrics"][name]
        if found["value"] is None:
            continue
        known = found["low"] is not None
        detail = f"95% interval {form.format(found['low'])} to {form.format(found['high'])}" if known else "no interval"
        cards.append(Card(form.format(found["value"]), what, detail))
    counts = report["counts"]
    return [*cards, Card(f"{counts['n']:,}", "faces", f"of {counts['groups']:,} people or videos")]
