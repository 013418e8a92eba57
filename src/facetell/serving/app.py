"""The service: its routes, put together from what the other files do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp

from facetell.errors import FacetellError
from facetell.serving.access import Access
from facetell.serving.answers import answer
from facetell.serving.engine import Engine
from facetell.serving.middleware import Around, fault
from facetell.serving.openapi import ITEMS, PROBLEMS, describe
from facetell.serving.page import page_routes
from facetell.serving.problems import Problem, away
from facetell.serving.service import Service
from facetell.serving.settings import ServeSettings

if TYPE_CHECKING:
    from facetell.serving.recorder import Recorder

__all__ = ["service"]


def service(
    engine: Engine, access: Access, settings: ServeSettings, folder: Path, recorder: Recorder | None = None
) -> ASGIApp:
    """The app that a server of ASGI runs. ``folder``: for uploads, empty; ``recorder``: where there is a store."""
    shared = Service(engine, access, settings, folder, recorder)

    app = FastAPI(title="facetell", docs_url=None, redoc_url=None, separate_input_output_schemas=False)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)
    _routes(app, shared)
    page_routes(app, shared)
    if recorder is not None:
        from facetell.serving.review import review_routes  # the database is imported where there is a store

        review_routes(app, recorder.store, access)
    describe(app, needs_key=access.needs_key, files=settings.files, fetches=bool(settings.fetch_from))
    return Around(app, settings, shared.metrics.request)


def _routes(app: FastAPI, shared: Service) -> None:
    answers = partial(PROBLEMS, 401, 403, 503)

    @app.post(
        "/v1/verdicts",
        response_class=Response,
        responses={
            200: {"description": "Judged.", "content": ITEMS["items"]},
            202: {"description": "Accepted: one is a video, ask for it by its id.", "content": ITEMS["items"]},
            **answers(400, 408, 413, 415, 422, 429),
        },
    )
    async def judge(request: Request) -> Response:
        """Judge photos, face crops and videos."""
        return await shared.judge(request)

    @app.get(
        "/v1/verdicts/{id}",
        response_class=Response,
        responses={200: {"description": "How it stands.", "content": ITEMS["item"]}, **answers(404)},
    )
    async def verdict(id: str, request: Request) -> Response:  # noqa: A002  its name in the address
        """Ask for what came of a file."""
        return Response((await shared.found(id, request)).as_json(), media_type="application/json")

    @app.delete(
        "/v1/verdicts/{id}",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "Gone."}, **answers(404)},
    )
    async def forget(id: str, request: Request) -> Response:  # noqa: A002
        """Forget what came of a file, and give it up if it is not judged yet."""
        await shared.forget(id, request)
        return Response(status_code=204)

    @app.get(
        "/v1/detectors",
        response_class=JSONResponse,
        responses={200: {"description": "In use.", "content": ITEMS["detectors"]}, **answers()},
    )
    async def detectors(request: Request) -> Any:
        """The detector that judges."""
        shared.access.check(request, "judge")
        return JSONResponse({"detectors": [shared.engine.current.as_dict(shared.engine.name)]})

    @app.post(
        "/v1/detectors/reload",
        response_class=JSONResponse,
        responses={200: {"description": "In use now.", "content": ITEMS["detectors"]}, **answers(422)},
    )
    async def reload(request: Request) -> Any:
        """Judge with what the detector is on disk now; a bad one is refused, and the old goes on."""
        shared.access.check(request, "admin")
        try:
            fresh = await run_in_threadpool(shared.engine.reload)
        except FacetellError as error:
            raise Problem(
                422, f"the old detector goes on: {error.message}", error.hint or "mend it, then again"
            ) from None
        return JSONResponse({"detectors": [fresh.as_dict(shared.engine.name)]})

    @app.get("/metrics", response_class=Response, responses=answers())
    async def metrics(request: Request) -> Response:
        """Numbers for Prometheus."""
        shared.access.check(request, "admin")
        return Response(shared.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get(
        "/health", response_class=JSONResponse, responses={200: {"description": "Alive.", "content": ITEMS["state"]}}
    )
    async def health() -> Any:
        """Whether the server is alive."""
        return JSONResponse({"status": "alive"})

    @app.get(
        "/ready",
        response_class=JSONResponse,
        responses={200: {"description": "Ready.", "content": ITEMS["state"]}, **PROBLEMS(503)},
    )
    async def ready() -> Any:
        """Whether files may be sent."""
        if shared.engine.current.pool.waiting >= shared.settings.queue:
            raise Problem(503, "too many files wait", "ask again in a few seconds", retry=5)
        if shared.recorder is not None and shared.recorder.away:
            raise away()
        return JSONResponse({"status": "ready"})


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return answer(request.scope, problem)


async def _fault(request: Request, _: Exception) -> Response:
    return answer(request.scope, fault(request.scope))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "see /openapi.json for what there is" if error.status_code in (404, 405) else "see the documentation"
    said = answer(request.scope, Problem(error.status_code, str(error.detail), hint))
    said.headers.update(error.headers or {})
    if error.status_code == 405:  # the router knows the methods of the first route alone
        routes = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
        said.headers["Allow"] = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
    return said
