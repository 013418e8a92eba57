"""Pages for people: numbers in, Markdown out, by the Jinja2 templates in ``templates/``.

Whatever a template prints is escaped, since names of files and sources are other people's: a page shows them as they
are, without markup or HTML of theirs. A name that a template does not get is an error, never an empty place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["escaped", "markdown_page", "p_value", "shown", "templates"]

_NOTHING = "–"


def escaped(value: object) -> str:
    """Return ``value`` as Markdown that shows it as it is: no table cell broken, no markup, no HTML."""
    line = " ".join(str(value).split())
    for mark in ("\\", "`", "*", "_", "|", "[", "]", "#", "~"):
        line = line.replace(mark, "\\" + mark)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def formatted(value: float | None, form: str) -> str:
    """Return a number as an f-string formats it, a dash for None."""
    return _NOTHING if value is None else format(value, form)


def shown(metric: Mapping[str, float | None] | None, form: str = ".3f", *, to: str = "–") -> str:
    """Return a metric (value, low, high) as ``0.912 (0.890–0.931)``, or a dash for what is not defined."""
    if metric is None or metric["value"] is None:
        return _NOTHING
    value = format(metric["value"], form)
    if metric["low"] is None or metric["high"] is None:
        return value
    return f"{value} ({format(metric['low'], form)}{to}{format(metric['high'], form)})"


def p_value(p: float) -> str:
    """Return ``p = 0.021`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def flat(value: object) -> str:
    """Return nested plain values as one line, a dash for None."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {flat(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(flat(item) for item in value)
    return _NOTHING if value is None else str(value)


def templates(**options: Any) -> Environment:
    """The package's templates. They escape what they print and refuse a missing name."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("facetell.reporting"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, **options,
    )  # fmt: skip


@functools.cache
def _markdown_templates() -> Environment:
    from markupsafe import Markup

    def for_markdown(value: object) -> Any:
        """What a template prints, escaped for Markdown, so that Jinja2 need not escape it for HTML."""
        return value if hasattr(value, "__html__") else Markup(escaped(value))  # noqa: S704

    environment = templates(finalize=for_markdown)
    environment.filters |= {"f": formatted, "shown": shown, "p_value": p_value, "flat": flat}
    return environment


def markdown_page(template: str, values: Mapping[str, Any]) -> str:
    """Fill ``templates/{template}.md``; several empty lines become one, so a template may have as many as read well."""
    page = _markdown_templates().get_template(f"{template}.md").render(values)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"
