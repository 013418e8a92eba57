"""Where a detector comes from: what it was fitted on, and each kind of fake it has learned since."""

from __future__ import annotations

from typing import Any

__all__ = ["history_of"]


def history_of(description: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a detector's life, the fit first; an adapted one stores them, of a fitted one it is the only one."""
    stored = description.get("lineage", {}).get("history")
    if stored:
        return list(stored)
    data = description["data"]
    return [
        {
            "what": "fit",
            "facetell": description["versions"].get("facetell"),
            "seed": description["seed"],
            "method": description["method"],
            "start": description.get("lineage", {}).get("start"),
            "data": {key: data.get(key) for key in ("name", "fingerprint", "split", "shots", "images", "sources")},
        }
    ]
