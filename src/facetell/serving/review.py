"""Reviews: which face to look at next, and what people say of it; how a detector in shadow does. For programs at
``/v1/reviews`` and ``/v1/promotion``, for people at ``/review``.

The detector's verdict on a face is told after it was labelled, not before: who knows it agrees with it.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import asdict
from typing import Any, Protocol
from unicodedata import category

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse, Response

from facetell.errors import DataError
from facetell.serving.keys import Key
from facetell.serving.openapi import ITEMS, LABEL, PROBLEMS
from facetell.serving.page import html_response, is_fragment, templates
from facetell.serving.problems import Problem, away
from facetell.store.labels import agreements, label
from facetell.store.promotions import differences, uses
from facetell.store.records import WORDS
from facetell.store.reviews import COUNTED, Case, case, estimates, kinds, left, next_cases
from facetell.store.store import Store, StoreError
from facetell.store.trail import steps

__all__ = ["review_routes"]

MOST = 20
"""Faces in one answer, which has their crops."""
STEPS = 100
"""Of the audit trail in one answer."""
_FRESH = 7 * 86_400.0  # s that an alarm is shown
_KIND, _WHY = 64, 2000
_FACES = 2**31
_NO_TEXT = ("Cc", "Cs")
"""Control characters, and halves of characters; not what joins letters and emoji, nor a space that does not break."""
_REASONS = {
    "random": "drawn by chance, for the honest estimate",
    "disagreement": "reviewers disagree on it",
    "novel": "unlike all the detector knows",
    "unsure": "near the detector's threshold",
    "again": "once more",
}


class Checks(Protocol):
    """Who asks."""

    needs_key: bool

    def check(self, request: Request, scope: str) -> Key:
        """The key of a request. Raises ``Problem``."""


def review_routes(app: FastAPI, store: Store, access: Checks) -> None:
    """Add the routes of reviews to the app, for a server with a store."""

    @app.get(
        "/v1/reviews",
        response_class=JSONResponse,
        responses={
            200: {"description": "What to look at next.", "content": ITEMS["reviews"]},
            **PROBLEMS(401, 403, 422, 503),
        },
        openapi_extra={"parameters": [_counted(MOST)]},
    )
    async def reviews(request: Request) -> Any:
        """The faces to label next, how many wait, what the labels say of the detector, and how far reviewers agree."""
        reviewer = access.check(request, "review").name
        return JSONResponse(await _asked(_standing, store, reviewer, _count(request, MOST)))

    @app.post(
        "/v1/reviews",
        status_code=201,
        response_class=JSONResponse,
        responses={
            201: {"description": "Written down.", "content": ITEMS["labelled"]},
            **PROBLEMS(400, 401, 403, 404, 408, 413, 422, 503),
        },
        openapi_extra=LABEL,
    )
    async def labelled(request: Request) -> Any:
        """Label a face; the answer says what the detector had said."""
        reviewer = access.check(request, "review").name
        said = _said(await _body(request))
        return JSONResponse({**said, **await _asked(label, store, reviewer, *said.values())}, 201)

    @app.get(
        "/v1/promotion",
        response_class=JSONResponse,
        responses={
            200: {"description": "What was promoted.", "content": ITEMS["promotion"]}, **PROBLEMS(401, 403, 503),
        },
    )  # fmt: skip
    async def promotion(request: Request) -> Any:
        """The detector in use and the one in shadow, if they were promoted, and how far the two differ."""
        access.check(request, "admin")
        return JSONResponse(await _asked(_promotion, store))

    @app.get(
        "/v1/trail",
        response_class=JSONResponse,
        responses={
            200: {"description": "The latest first.", "content": ITEMS["trail"]},
            **PROBLEMS(401, 403, 422, 503),
        },
        openapi_extra={"parameters": [_counted(STEPS)]},
    )
    async def trail(request: Request) -> Any:
        """Who did what: labels, deletions, alarms, promotions."""
        access.check(request, "admin")
        return JSONResponse({"steps": [asdict(step) for step in await _asked(steps, store, _count(request, STEPS))]})

    @app.get("/review", include_in_schema=False)
    async def page(request: Request) -> Response:
        if access.needs_key and not is_fragment(request):
            return html_response(_rendered("review.html", needs_key=True, shown=None))
        reviewer = access.check(request, "review").name
        again = _number(request.query_params.get("face", ""))
        shown = await _asked(_shown, store, reviewer, again)
        name = "review_part.html" if is_fragment(request) else "review.html"
        return html_response(_rendered(name, needs_key=access.needs_key, shown=shown))

    @app.post("/review", include_in_schema=False)
    async def told(request: Request) -> Response:
        reviewer = access.check(request, "review").name
        form = await request.form(max_files=0, max_fields=8)
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        said = _said({**fields, "face": _number(fields.get("face", ""))})
        judged = await _asked(label, store, reviewer, *said.values())
        if not is_fragment(request):
            return RedirectResponse("/review", 303)
        shown = await _asked(_shown, store, reviewer, None)
        shown["said"] = {**said, **judged}
        return html_response(_rendered("review_part.html", needs_key=access.needs_key, shown=shown))


def _counted(most: int) -> dict[str, Any]:
    """How the description says ``count``."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": 1}
    return {"name": "count", "in": "query", "required": False, "description": "how many at most", "schema": schema}


async def _asked(what: Any, *arguments: Any) -> Any:
    """Ask the store, in a thread. Raises ``Problem``: 503 where it is away, 404 where there is no such thing."""
    try:
        return await run_in_threadpool(what, *arguments)
    except StoreError:
        raise away() from None
    except DataError as error:
        raise Problem(404, error.message, error.hint or "label the next one") from None


def _count(request: Request, most: int) -> int:
    count = _number(request.query_params.get("count", "1"))
    if count is None or not 1 <= count <= most:
        raise Problem(422, f"count is a number from 1 to {most}", "leave it out for one")
    return count


def _number(text: str) -> int | None:
    """A number of at most ten digits; Python refuses to read one of thousands."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Problem(400, "the body is no JSON", 'send {"face": 1, "label": "fake"}') from None


def _said(given: Any) -> dict[str, Any]:
    """``face``, ``label``, ``kind`` and ``why`` of a label, checked. Raises ``Problem``: 422."""
    hint = 'send {"face": 1, "label": "fake"}'
    if not isinstance(given, dict):
        raise Problem(422, "a label is an object", hint)
    face, word = given.get("face"), given.get("label")
    if not isinstance(face, int) or isinstance(face, bool) or not 0 < face < _FACES:
        raise Problem(422, "face is the number of a face", "take it from GET /v1/reviews")
    if word not in WORDS:
        raise Problem(422, f"a label is one of {', '.join(WORDS)}", hint)
    kind, why = _text(given, "kind", _KIND), _text(given, "why", _WHY)
    return {"face": face, "label": word, "kind": kind if word == "fake" else None, "why": why}


def _text(given: dict[str, Any], name: str, most: int) -> str | None:
    text = given.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > most:
        raise Problem(422, f"{name} is a text of at most {most:,} characters", "make it shorter")
    if any(category(c) in _NO_TEXT and c not in "\r\n\t" for c in text):
        raise Problem(422, f"{name} holds a character that is no text", "leave out control characters")
    return text.strip() or None


def _standing(store: Store, reviewer: str, count: int) -> dict[str, Any]:
    return {
        "next": [_face(each) for each in next_cases(store, reviewer, count)],
        "left": left(store, reviewer),
        "estimates": [asdict(each) for each in estimates(store)],
        "agreements": [asdict(each) for each in agreements(store)],
        "kinds": kinds(store),
    }


def _face(one: Case) -> dict[str, Any]:
    crops = ["data:image/png;base64," + base64.b64encode(png).decode() for png in one.crops]
    return {"face": one.face, "reason": one.reason, "video": one.video, "crops": crops}


def _promotion(store: Store) -> dict[str, Any]:
    said = uses(store)
    found = None if said.shadow is None else asdict(differences(store, said.shadow.identity))
    return {**asdict(said), "differences": found}


def _shown(store: Store, reviewer: str, again: int | None) -> dict[str, Any]:
    """What the page needs: the face to label, or ``again`` if that is still there, and how all stands."""
    standing = _standing(store, reviewer, 1)
    once_more = case(store, again) if again is not None and again < _FACES else None
    face = _face(once_more) if once_more is not None else next(iter(standing.pop("next")), None)
    if face is not None:
        face["why"] = _REASONS[face["reason"]]
    standing["alarm"] = next((step for step in steps(store, 1, "alarm") if step.at > time.time() - _FRESH), None)
    waiting = standing["left"].values()
    standing |= {"total": sum(waiting), "more": COUNTED in waiting}
    return {**standing, **_promotion(store), "face": face, "said": None}


def _rendered(name: str, **more: Any) -> str:
    return str(templates().get_template(name).render(**more))
