"""Content Credentials (C2PA), checked by c2pa-python: nothing is fetched, and nobody is trusted who was not named."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facetell.declared.declared import Claim, Credentials, Meaning
from facetell.declared.traces import generator_named, source_type
from facetell.pixels.opening import MAX_BYTES

__all__ = ["ANCHORS", "check", "elsewhere"]

ANCHORS = "FACETELL_TRUST_ANCHORS"
"""The environment variable that names a file of certificates (PEM) whose owners are trusted."""

_INSTALL = "there are Content Credentials; pip install 'facetell[credentials]' checks them"
_VIDEO_BYTES = 2**30
_MANIFESTS = 100
_LISTED = 50
_LONGEST = 200
_UNTRUSTED = "signingCredential.untrusted"
_ABSENT = "ManifestNotFound"


def elsewhere(address: str) -> Credentials:
    """What is said of credentials that are kept at an address: it is not opened."""
    return Credentials(None, note=f"Content Credentials are kept at {_text(address)}, which was not opened")


def check(path: Path, mime: str) -> tuple[Credentials | None, list[Claim]]:
    """Check the Content Credentials of a file, and bring home what they claim; None if it turns out to have none."""
    limit = _VIDEO_BYTES if mime.startswith("video") else MAX_BYTES
    if path.stat().st_size > limit:
        return Credentials(None, note=f"Content Credentials of more than {limit:,} bytes are not checked"), []
    try:
        import c2pa
    except ImportError:
        return Credentials(None, note=_INSTALL), []
    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
    anchors = os.environ.get(ANCHORS)
    if anchors:
        try:
            settings["trust"] = {"trust_anchors": Path(anchors).read_text("ascii")}
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "no PEM file"
            return Credentials(None, note=f"Content Credentials not checked: {ANCHORS}={anchors}: {why}"), []
    try:
        with (
            path.open("rb") as file,
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(mime, file, context=context) as reader,
        ):
            told = json.loads(reader.json())
    except Exception as error:  # a library in another language, fed with strangers' bytes: many kinds
        said = str(_text(" ".join(str(error).split())) or type(error).__name__)
        return (None if said.startswith(_ABSENT) else Credentials("invalid", problems=[said])), []
    return _told(told, trust=bool(anchors))


def _told(told: dict[str, Any], *, trust: bool) -> tuple[Credentials, list[Claim]]:
    active = told.get("manifests", {}).get(told.get("active_manifest"), {})
    problems = list(dict.fromkeys(_failures(told)))
    valid = told.get("validation_state") in ("Valid", "Trusted")
    signature = active.get("signature_info") or {}
    credentials = Credentials(
        "valid" if valid else "invalid",
        trusted=(told["validation_state"] == "Trusted") if trust else None,
        issuer=_text(signature.get("issuer")),
        signer=_text(signature.get("common_name")),
        signed_at=_text(signature.get("time")),
        claim_generator=_generator(active),
        actions=[str(_text(action.get("action"))) for action in _actions(active)][:_LISTED],
        problems=[problem for problem in problems if problem != _UNTRUSTED][:_LISTED],
    )
    claims: list[Claim] = []
    for number, (manifest, part) in enumerate(_chain(told)):
        where = f"Content Credentials{' of an ingredient' if number else ''}"
        claims.extend(_claims(manifest, where, part=part, signed=valid))
    return credentials, list(dict.fromkeys(claims))[:_LISTED]


def _failures(told: dict[str, Any]) -> Iterator[str]:
    results = told.get("validation_results", {})
    of_ingredients = [delta.get("validationDeltas", {}) for delta in results.get("ingredientDeltas", [])]
    for each in (results.get("activeManifest", {}), *of_ingredients):
        for failure in each.get("failure", []):
            yield str(_text(failure.get("code")))


def _chain(told: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """The active manifest, then those of what the file was made of, and whether each is of a part only."""
    manifests = told.get("manifests", {})
    waiting, seen = [(str(told.get("active_manifest")), False)], set[str]()
    while waiting and len(seen) < _MANIFESTS:
        label, part = waiting.pop(0)
        manifest = manifests.get(label)
        if manifest is None or label in seen:
            continue
        seen.add(label)
        yield manifest, part
        waiting.extend(
            (str(ingredient.get("active_manifest")), part or ingredient.get("relationship") != "parentOf")
            for ingredient in manifest.get("ingredients", [])
        )


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        action
        for assertion in manifest.get("assertions", [])
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in (assertion.get("data") or {}).get("actions", [])
    ]


def _claims(manifest: dict[str, Any], where: str, *, part: bool, signed: bool) -> Iterator[Claim]:
    for action in _actions(manifest):
        said = source_type(str(action.get("digitalSourceType", "")), where, signed=signed)
        if said is not None:
            yield Claim(said.kind, said.value, _of(said.means, part=part), where, signed)
        agent = action.get("softwareAgent")
        named = generator_named(str(agent.get("name", "") if isinstance(agent, dict) else agent or ""))
        if named is not None:
            whole = action.get("action") == "c2pa.created" and not part
            yield Claim("generator", named, "generated" if whole else "partly generated", where, signed)


def _of(means: Meaning | None, *, part: bool) -> Meaning | None:
    return ("partly generated" if means == "generated" else None) if part and means != "partly generated" else means


def _generator(manifest: dict[str, Any]) -> str | None:
    """Name and version: a list in claims of version 2, a text in older ones."""
    for info in manifest.get("claim_generator_info") or []:
        return _text(" ".join(str(info[key]) for key in ("name", "version") if info.get(key)))
    return _text(manifest.get("claim_generator"))


def _text(value: object) -> str | None:
    """For people, who read it on a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value)[:_LONGEST]) if value else None
