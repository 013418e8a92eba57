"""The page for people at ``/``: files in, verdicts in words out. Made on the server; works without script where no key is
asked for, and without a network beyond the server."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Protocol

from fastapi import FastAPI, Request
from starlette.responses import Response

from facetell.detector.verdict import FaceVerdict, Verdict
from facetell.serving.items import Item
from facetell.serving.problems import Problem
from facetell.serving.views import View
from facetell.serving.words import CANNOT, claim_words, credential_words, headline, meaning

__all__ = ["Shared", "html_response", "is_fragment", "page_routes", "templates"]

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_SCRIPT = "text/javascript; charset=utf-8"
_STATIC = {"style.css": "text/css; charset=utf-8", "page.js": _SCRIPT, "review.js": _SCRIPT}
_WIDTH, _HEIGHT = 640.0, 150.0


class Shared(Protocol):
    """What the page needs of the service."""

    async def accepted(self, request: Request, *, views: bool) -> list[Item]:
        """Files of a request on their way."""

    async def settled(self, items: list[Item]) -> None:
        """Wait for those that are no video."""

    async def found(self, name: str, request: Request) -> Item:
        """A file that was sent before."""

    def asks(self) -> tuple[bool, str, bool]:
        """Whether a key is needed, the name of the detector, and whether crops are kept."""


def page_routes(app: FastAPI, shared: Shared) -> None:
    """Add the page to the app; it is for people, and no part of the description for machines."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return html_response(_page(shared, []))

    @app.post("/", include_in_schema=False)
    async def judged(request: Request) -> Response:
        fragment = is_fragment(request)
        try:
            items = await shared.accepted(request, views=True)
        except Problem as problem:
            if fragment:
                raise
            return html_response(_page(shared, [], problem), problem.status)
        await shared.settled(items)
        return html_response(_items(items) if fragment else _page(shared, items))

    @app.get("/page/{id}", include_in_schema=False)
    async def again(id: str, request: Request) -> Response:  # noqa: A002
        item = await shared.found(id, request)
        return html_response(_items([item]) if is_fragment(request) else _page(shared, [item]))

    for name, kind in _STATIC.items():
        app.get(f"/static/{name}", include_in_schema=False)(_static(name, kind))


def _static(name: str, kind: str) -> Callable[[], Any]:
    content = resources.files("facetell.serving").joinpath("static", name).read_bytes()

    async def file() -> Response:
        return Response(content, media_type=kind)

    return file


def is_fragment(request: Request) -> bool:
    """Whether the script asks, for a part of the page."""
    return request.headers.get("x-fragment") == "1"


def html_response(text: str, status: int = 200) -> Response:
    """A page, or a part of one, that may load nothing but what is the server's."""
    return Response(text, status, {"Content-Security-Policy": _POLICY}, "text/html; charset=utf-8")


def _page(shared: Shared, items: list[Item], problem: Problem | None = None) -> str:
    needs_key, detector, keeps = shared.asks()
    shown = [_shown(item) for item in items]
    return str(
        templates()
        .get_template("page.html")
        .render(items=shown, problem=problem, needs_key=needs_key, detector=detector, keeps=keeps)
    )


def _items(items: list[Item]) -> str:
    return str(templates().get_template("items.html").render(items=[_shown(item) for item in items]))


@functools.cache
def templates() -> Any:
    """Where pages come from."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("facetell.serving"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["day"] = lambda at: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
    return made


def _shown(item: Item) -> dict[str, Any]:
    """What the template needs of an item."""
    said: dict[str, Any] = {
        "id": item.id, "name": _printable(item.name), "state": item.state, "problem": item.problem, "verdict": None,
        "shots": item.shots,
    }  # fmt: skip
    verdict = item.verdict
    if verdict is not None:
        declared = verdict.declared
        said |= {
            "verdict": verdict,
            "headline": headline(verdict),
            "meaning": [said for said in meaning(verdict) if said != f"{headline(verdict)}."],
            "uncounted": not all(face.used for face in verdict.faces),
            "faces": [_face(verdict, number, face) for number, face in enumerate(verdict.faces, start=1)],
            "views": [_view(verdict, view) for view in item.views],
            "look": item.look and {"number": item.look.number, "source": _data(item.look.jpeg)},
            "timeline": _timeline(verdict) if verdict.kind == "video" and verdict.faces else None,
            "credentials": credential_words(declared.credentials) if declared and declared.credentials else [],
            "claims": [claim_words(claim) for claim in declared.claims] if declared else [],
            "cannot": CANNOT,
            "json": "data:application/json;base64," + base64.b64encode(item.as_json()).decode(),
        }
    return said


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def _face(verdict: Verdict, number: int, face: FaceVerdict) -> dict[str, Any]:
    word = verdict.word(face) if face.used else None
    said = (face.reason or "").replace("_", " ") if not face.used else ""
    return {"number": number, "word": word or "not counted", "score": face.score, "time": face.time, "why": said}


def _view(verdict: Verdict, view: View) -> dict[str, Any]:
    """A picture with its boxes, numbered as in the table of faces."""
    boxes: list[dict[str, Any]] = []
    for number, face in enumerate(verdict.faces, start=1):
        if face.frame == view.frame:
            left, top, width, height = face.box or (0.0, 0.0, float(view.width), float(view.height))
            word = verdict.word(face) if face.used else None
            boxes.append(
                {"number": number, "word": word or "none", "x": left, "y": top, "width": width, "height": height}
            )
    where = f" at {view.time:.1f} s" if view.time is not None else ""
    words = (
        ", ".join(f"face {box['number']} {box['word'].replace('none', 'not counted')}" for box in boxes) or "no face"
    )
    return {
        "source": _data(view.jpeg), "width": view.width,
        "height": view.height, "boxes": boxes, "time": view.time, "text": f"The picture{where} with boxes: {words}",
        "line": max(view.width, view.height) / 240, "size": max(view.width, view.height) / 26,
    }  # fmt: skip


def _data(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _timeline(verdict: Verdict) -> dict[str, Any]:
    """Scores over time as points of a drawing, 640 by 150."""
    end = max(verdict.seconds or 0.0, max(face.time or 0.0 for face in verdict.faces)) or 1.0

    def at(time: float, score: float) -> str:
        return f"{_WIDTH * time / end:.1f},{_HEIGHT * (1 - score):.1f}"

    lines = [
        {
            "word": track.decision or "none",
            "points": " ".join(
                at(face.time or 0.0, face.score or 0.0)
                for face in verdict.faces
                if face.track == track.track and face.used
            ),
        }
        for track in verdict.tracks
    ]
    window = verdict.window or (0.0, 0.0)
    return {
        "lines": lines, "threshold": None if verdict.threshold is None else _HEIGHT * (1 - verdict.threshold),
        "from": _WIDTH * window[0] / end, "wide": max(2.0, _WIDTH * (window[1] - window[0]) / end), "end": end,
    }  # fmt: skip
