"""The description of the service: what FastAPI knows of it, with the schema of a verdict as ``detect --json`` has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from facetell.detector import verdict
from facetell.store.records import REASONS, WORDS

__all__ = ["ITEMS", "LABEL", "PROBLEMS", "describe"]

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_WORDS = {
    400: "The body cannot be read.",
    401: "The key is missing or unknown.",
    403: "The key has not the scope.",
    404: "There is no such thing, or it is another key's.",
    408: "No byte came for too long.",
    413: "More bytes than the limit.",
    415: "No picture or video in a format that is read, or no multipart/form-data.",
    422: "No file, too many files, or a file beyond a limit of pixels or seconds.",
    429: "More files a minute than the key may bring.",
    503: "Too many files wait, the server is going down, or its store or keys cannot be read.",
}


def PROBLEMS(*statuses: int) -> dict[int | str, dict[str, Any]]:  # noqa: N802  a table with a choice
    """What a route may answer beside what it is for."""
    return {status: {"description": _WORDS[status], "content": _PROBLEM} for status in statuses}


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


ITEMS = {
    "items": _content("Items"),
    "item": _content("Item"),
    "detectors": _content("Detectors"),
    "state": _content("State"),
    "reviews": _content("Reviews"),
    "labelled": _content("Labelled"),
    "promotion": _content("Promotion"),
    "trail": _content("Trail"),
}
"""Contents of answers."""

LABEL = {"requestBody": {"required": True, "content": _content("Label")}}
"""What is sent to label a face."""


def _upload(files: int, *, fetches: bool) -> dict[str, Any]:
    """What a request with files is made of; ``fetches``: or with addresses of files."""

    def many(**said: str) -> dict[str, Any]:
        return {"type": "array", "maxItems": files, "items": {"type": "string", **said}}

    file = many(format="binary")
    needed = {**file, "minItems": 1}
    schema: dict[str, Any] = {"type": "object", "required": ["file"], "properties": {"file": needed}}
    if fetches:  # any text, for a bad address costs itself and not the request
        url = many(description="an address of http or https; one that gives no file has its own problem")
        schema = {"type": "object", "minProperties": 1, "properties": {"file": file, "url": url}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_STATES = ["queued", "running", "done", "failed", "cancelled"]


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


def _schemas(*, reviews: bool) -> dict[str, Any]:
    text = (Path(verdict.__file__).parent / "verdict.schema.json").read_text("utf-8")
    said = json.loads(text.replace("#/$defs/", "#/components/schemas/"))
    said.pop("$schema")
    parts = said.pop("$defs")
    word, number = {"type": "string"}, {"type": "integer"}
    return {
        **parts,
        "Verdict": said,
        "Problem": _object(type=word, title=word, status=number, detail=word, hint=word),
        "Item": _object(
            id=word,
            name={**word, "description": "as the client calls the file"},
            state={"enum": _STATES},
            shots={"type": ["integer", "null"], "description": "pictures or frames looked at so far"},
            verdict={"anyOf": [{"$ref": "#/components/schemas/Verdict"}, {"type": "null"}]},
            problem={"anyOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "null"}]},
        ),
        "Items": _object(items={"type": "array", "items": {"$ref": "#/components/schemas/Item"}}),
        "Detector": _object(
            name=word, identity=word, settings=word, since=word, method={"type": ["string", "null"]},
            runtime={"type": ["string", "null"]}, input={"type": ["integer", "null"]}, calibrated={"type": "boolean"},
        ),
        "Detectors": _object(detectors={"type": "array", "items": {"$ref": "#/components/schemas/Detector"}}),
        "State": _object(status=word),
        **(_of_reviews() if reviews else {}),
    }  # fmt: skip


def _of_reviews() -> dict[str, Any]:
    word, number, share = {"type": "string"}, {"type": "integer"}, {"type": ["number", "null"]}
    face = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
    spoken = {"enum": list(WORDS)}
    kind, why = ({"type": ["string", "null"], "maxLength": most} for most in (64, 2000))
    rate = _object(hits=number, n=number, value=share, low=share, high=share)
    return {
        "Label": {
            "type": "object", "required": ["face", "label"],
            "properties": {"face": face, "label": spoken, "kind": kind, "why": why},
        },
        "Labelled": _object(
            face=face, label=spoken, kind=kind, why=why, decision=word, score={"type": "number"},
            detector={"type": ["string", "null"]},
        ),
        "Case": _object(
            face=face, reason={"enum": list(REASONS)}, video={"type": "boolean"},
            crops={"type": "array", "items": {**word, "description": "a PNG as data: address"}},
        ),
        "Estimate": _object(
            detector=word, error=rate, missed=rate, false_alarms=rate, unsure=rate, disagreed=number,
        ),
        "Agreement": _object(
            reviewers={"type": "array", "items": word, "minItems": 2, "maxItems": 2}, n=number,
            agreed={"type": "number"}, kappa=share,
        ),
        "Use": _object(
            identity=word, name=word, since={"type": "number", "description": "s since 1970"}, who=word,
            refused={"type": ["string", "null"], "description": "why a server does not judge by it, if one does not"},
        ),
        "Differences": _object(
            files=number, different=number, changes={"type": "object", "additionalProperties": number}, labelled=number,
            old_right=number, new_right=number, examples={"type": "array", "items": {"type": "object"}},
        ),
        "Promotion": _object(**{name: _or_null(what) for name, what in (
            ("current", "Use"), ("shadow", "Use"), ("differences", "Differences"))}),
        "Trail": _object(steps=_list("Step")),
        "Step": _object(at={"type": "number", "description": "s since 1970"}, who=word, what=word, about=word),
        "Reviews": _object(
            next=_list("Case"), left=_object(**dict.fromkeys(REASONS, number)), estimates=_list("Estimate"),
            agreements=_list("Agreement"), kinds={"type": "array", "items": word},
        ),
    }  # fmt: skip


def _or_null(name: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": f"#/components/schemas/{name}"}, {"type": "null"}]}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def describe(app: FastAPI, *, needs_key: bool, files: int, fetches: bool) -> None:
    """Have the app describe itself in full. ``files``: that a request may have at most; ``fetches``: or addresses of them."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            said = made()
            components = said.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas.update(_schemas(reviews="/v1/reviews" in said["paths"]))
            if needs_key:
                components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            said["paths"]["/v1/verdicts"]["post"] |= _upload(files, fetches=fetches)
            for path, routes in said["paths"].items():
                for route in routes.values():
                    if "422" in route["responses"] and "HTTPValidationError" in json.dumps(route["responses"]["422"]):
                        del route["responses"]["422"]
                    if needs_key and path not in ("/health", "/ready"):
                        route["security"] = [{"key": []}]
        return made()

    app.openapi = openapi  # type: ignore[method-assign]
