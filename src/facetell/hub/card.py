"""A card with the metadata that the hub reads: YAML above the text for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["with_metadata"]


def with_metadata(card: str, metadata: Mapping[str, Any], licence: str | None) -> str:
    """The text of a card under ``metadata``; what it says beside that stays, tags of both count.

    ``licence``: a name of the hub's list, such as ``apache-2.0``; any other text is given as a licence of its own.
    """
    from huggingface_hub import CardData, RepoCard

    found, text = CardData(), card
    if card.startswith("---"):
        parsed = RepoCard(card, ignore_metadata_errors=True)
        found, text = parsed.data, parsed.text
    old = found.to_dict()  # type: ignore[no-untyped-call]
    tags = list(dict.fromkeys([*metadata["tags"], *(old.get("tags") or ())]))
    for name, value in {**metadata, **_terms(licence), "tags": tags}.items():
        setattr(found, name, value)
    return f"---\n{found.to_yaml()}\n---\n\n{text.lstrip()}"


def _terms(licence: str | None) -> dict[str, str]:
    """As the hub takes it: small letters, and a text of one's own as one word."""
    if licence is None:
        return {}
    if " " not in licence:
        return {"license": licence.lower()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.")}
