"""``sources``: the data sets that are understood as downloaded. Apart, as it needs neither detectors nor methods."""

from __future__ import annotations

from facetell.ingest.layouts import LAYOUTS, get_layout
from facetell.ingest.layouts.layout import Layout

__all__ = ["sources"]


def sources(name: str | None = None) -> list[Layout]:
    """The data sets that are understood as downloaded, each with its tree; with ``name``, that one alone."""
    return [get_layout(name)] if name else list(LAYOUTS.values())
