"""Pages of results as one HTML file that opens from disk: no script, no network, pictures inside.

Every result folder has a page in Markdown; this turns one or several of them into sections of a single page. What a
manager needs stands on top: the first paragraph of each section is its conclusion.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["FOOT", "Card", "Section", "evaluation_cards", "html_page"]

STYLE = """
:root{color-scheme:light;--ink:#1b2733;--soft:#5b6b7a;--line:#dfe5ea;--tint:#f4f7f9;--accent:#0b63a5}
*{box-sizing:border-box}
body{margin:0;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:#fff}
main,header,footer{max-width:62rem;margin:0 auto;padding:0 1.1rem}
header{padding-top:2rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem}
h2{font-size:1.35rem;margin:2.6rem 0 .6rem;padding-top:.9rem;border-top:3px solid var(--ink)}
h3{font-size:1.08rem;margin:1.8rem 0 .5rem}
h4{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.6rem 0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.4rem 1rem;margin:.8rem 0;font-size:.95rem}
a{color:var(--accent)}
.short{background:var(--tint);border-left:4px solid var(--accent);padding:.5rem 1.1rem;margin:1rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.7rem;margin:1rem 0}
.card{border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.card b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.card span{color:var(--soft);font-size:.86rem;display:block}
blockquote{margin:1rem 0;padding:.2rem 1rem;border-left:4px solid #d08a00;background:#fff8ea}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums;min-width:50%}
th,td{padding:.35rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;color:var(--soft);white-space:nowrap}
td[style]{white-space:nowrap}
td img{height:7.5rem;width:auto;max-width:none;display:block}
img{max-width:100%;height:auto}
code{background:var(--tint);padding:.05rem .3rem;border-radius:.2rem;font-size:.92em}
footer{color:var(--soft);font-size:.88rem;padding:2.5rem 1.1rem 2rem}
main>p>img{max-width:min(100%,44rem)}
@media (max-width:40rem){body{font-size:15px}h1{font-size:1.4rem}}
@media print{.scroll{overflow:visible}h2{break-after:avoid}img,table{break-inside:avoid}}
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The page may load nothing and run nothing: names of files and sources in it are other people's."""
FOOT = "Made by facetell. A score is evidence, not proof."
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


def html_page(sections: Sequence[Section], title: str, foot: str) -> str:
    """Return the whole page. A picture that is not in the section's folder is left out."""
    names = [f"part-{number}" for number in range(1, len(sections) + 1)]
    several = len(sections) > 1
    head = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title><style>{STYLE}</style></head><body>',
        f"<header><h1>{html.escape(title)}</h1>",
    ]
    if several:
        links = "".join(
            f'<a href="#{name}">{html.escape(section.title)}</a>' for name, section in zip(names, sections, strict=True)
        )
        head.append(f"<nav>{links}</nav>")
    short, bodies = [], []
    for name, section in zip(names, sections, strict=True):
        conclusion, body = _rendered(section, name, several)
        short.append(conclusion)
        bodies.append(body)
    head.append(f'<div class="short">{"".join(short)}</div></header><main>')
    return "\n".join([*head, *bodies, f"</main><footer>{html.escape(foot)}</footer></body></html>"]) + "\n"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="scroll"><table>')
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    return parser


def _rendered(section: Section, name: str, several: bool) -> tuple[str, str]:
    """The conclusion and the rest of a section; headings go down by one where there are several."""
    parser, tokens = _parser(), section._tokens()
    first = next((i for i, token in enumerate(tokens) if token.type == "paragraph_open"), len(tokens))
    conclusion, rest = tokens[first : first + 3], tokens[3:first] + tokens[first + 3 :]
    for token in rest:
        if token.type in ("heading_open", "heading_close") and several:
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        for child in token.children or ():
            if child.type == "image":
                child.attrs["src"] = _inside(section.folder, str(child.attrs["src"]))
    heading = f'<h2 id="{name}">{html.escape(section.title)}</h2>' if several else f'<div id="{name}"></div>'
    cards = "".join(
        f'<div class="card"><span>{html.escape(card.what)}</span><b>{html.escape(card.value)}</b>'
        f"<span>{html.escape(card.detail)}</span></div>"
        for card in section.cards
    )
    cards = f'<div class="cards">{cards}</div>' if cards else ""
    said = parser.renderer.render(conclusion, parser.options, {})
    return said, f"{heading}{cards}{parser.renderer.render(rest, parser.options, {})}"


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
