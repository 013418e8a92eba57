"""The service: its routes, put together from what the other files do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp

from facetell.errors import FacetellError, MediaError
from facetell.media.kind import Kind, kind_of
from facetell.serving.access import Access
from facetell.serving.engine import Engine
from facetell.serving.items import Item, Items
from facetell.serving.keys import Key
from facetell.serving.metrics import Metrics
from facetell.serving.middleware import Around
from facetell.serving.openapi import ITEMS, PROBLEMS, describe
from facetell.serving.page import page_routes
from facetell.serving.pool import Outcome, Task
from facetell.serving.problems import Problem, as_response, problem_response
from facetell.serving.recorder import Recorder, away
from facetell.serving.review import review_routes
from facetell.serving.settings import ServeSettings
from facetell.serving.uploads import Upload, receive
from facetell.serving.work import Done, Order

__all__ = ["service"]

_KIND = "neither a picture nor a video in a format we read"
_WRITING = 5.0  # s that an answer waits for the store at most
_KINDS = "send a JPEG, PNG, WebP, HEIC, AVIF, MP4, MOV or the like"


class _Service:
    """What the routes share."""

    def __init__(
        self, engine: Engine, access: Access, settings: ServeSettings, folder: Path, recorder: Recorder | None
    ) -> None:
        self.engine, self.access, self.settings, self.folder = engine, access, settings, folder
        self.recorder = recorder
        self.items = Items(settings.kept, settings.kept_seconds)
        self.metrics = Metrics(engine, lambda: len(self.items), recorder)

    async def judge(self, request: Request) -> Response:
        """Files to verdicts, or to the numbers of jobs where one is a video."""
        items = await self.accepted(request, views=False)
        await self.settled(items)
        if len(items) == 1 and items[0].problem is not None:
            raise items[0].problem
        if any(item.video for item in items):
            headers = {"Location": f"/v1/verdicts/{items[0].id}"} if len(items) == 1 else {}
            return _of_items(items, 202, headers)
        return _of_items(items, 200)

    async def accepted(self, request: Request, *, views: bool) -> list[Item]:
        """The files of a request, on their way to the workers."""
        key = self.access.check(request, "judge")
        self.access.take(key, 1)
        uploads = await receive(request, self.folder, self.settings)
        begun = False
        try:
            if len(uploads) > 1:
                self.access.take(key, len(uploads) - 1)
            kinds = [await run_in_threadpool(_kind, upload.path) for upload in uploads]
            items = [self._item(key, upload, kind, views) for upload, kind in zip(uploads, kinds, strict=True)]
            if self.recorder is not None:
                await run_in_threadpool(self.recorder.accept, items, key)
            self._begin(items, uploads)
            begun = True
        finally:
            if not begun:
                for upload in uploads:
                    upload.remove()
        request.state.said.update(key=key.name, files=len(items))
        return items

    async def settled(self, items: list[Item]) -> None:
        """Wait for pictures; where one is a video, for nothing."""
        if not any(item.video for item in items):
            tasks = [item.task for item in items]
            waits = [asyncio.wrap_future(task.future) for task in tasks if task is not None]
            await asyncio.gather(*waits, return_exceptions=True)
            written = [asyncio.wrap_future(item.written) for item in items if item.written is not None]
            if written:
                await asyncio.wait(written, timeout=_WRITING)

    async def found(self, name: str, request: Request) -> Item:
        """A file that this key has sent before. Raises ``Problem``."""
        owner = self.access.check(request, "judge").sha256
        item = self.items.find(name, owner)
        if item is None and self.recorder is not None:
            return await run_in_threadpool(self.recorder.find, name, owner)
        if item is None:
            raise Problem(404, "there is no such verdict", "verdicts are kept for an hour; send the file again")
        return item

    async def forget(self, name: str, request: Request) -> None:
        """Forget a file that this key has sent, here and in the store. Raises ``Problem``."""
        item = await self.found(name, request)
        if self.recorder is not None:
            await run_in_threadpool(self.recorder.forget, item, self.access.check(request, "judge").name)
        self.items.drop(item)

    def asks(self) -> tuple[bool, str, bool]:
        """Whether a key is needed, the name of the detector, and whether crops are kept."""
        return self.access.needs_key, self.engine.name, self._keeps

    @property
    def _keeps(self) -> bool:
        return self.recorder is not None and self.recorder.keep_days is not None

    def _item(self, key: Key, upload: Upload, kind: Kind | None, views: bool) -> Item:
        item = Item(key.sha256, upload.name, kind == "video")
        if kind is None:
            item.problem = Problem(415, _KIND, _KINDS)
        else:
            progress = str(upload.progress) if kind == "video" else None
            order = Order(
                str(upload.path), upload.name, kind == "video", self.settings.media, progress, views, self._keeps
            )
            item.task = Task(order)
        return item

    def _begin(self, items: list[Item], uploads: list[Upload]) -> None:
        tasks = [item.task for item in items if item.task is not None]
        item_of = {id(item.task): (item, upload) for item, upload in zip(items, uploads, strict=True) if item.task}
        try:
            generation = self.engine.submit(tasks) if tasks else None
        except Problem:
            if self.recorder is not None:
                self.recorder.withdraw(items)
            raise
        for item, upload in zip(items, uploads, strict=True):
            item.generation = generation
            self.items.add(item)
            if item.task is None:
                upload.remove()
                self._record(item, None)
        for task in tasks:
            task.future.add_done_callback(partial(self._over, *item_of[id(task)]))

    def _over(self, item: Item, upload: Upload, _: Future[Outcome]) -> None:
        done = item.settle()
        upload.remove()
        self._record(item, done)
        if done is not None:
            self.metrics.verdict(done.verdict.status, done.verdict.detector)

    def _record(self, item: Item, done: Done | None) -> None:
        if self.recorder is not None:
            item.written = self.recorder.ended(item, done)


def service(
    engine: Engine, access: Access, settings: ServeSettings, folder: Path, recorder: Recorder | None = None
) -> ASGIApp:
    """The app that a server of ASGI runs. ``folder``: for uploads, empty; ``recorder``: where there is a store."""
    shared = _Service(engine, access, settings, folder, recorder)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(engine.close)

    app = FastAPI(title="facetell", docs_url=None, redoc_url=None, lifespan=life, separate_input_output_schemas=False)
    app.add_exception_handler(Problem, problem_response)
    app.add_exception_handler(HTTPException, _http)
    _routes(app, shared)
    page_routes(app, shared)
    if recorder is not None:
        review_routes(app, recorder.store, access)
    describe(app, needs_key=access.needs_key, files=settings.files)
    return Around(app, settings, shared.metrics.request)


def _routes(app: FastAPI, shared: _Service) -> None:
    answers = partial(PROBLEMS, 401, 403)

    @app.post(
        "/v1/verdicts",
        response_class=Response,
        responses={
            200: {"description": "Judged.", "content": ITEMS["items"]},
            202: {"description": "Accepted: one is a video, ask for it by its id.", "content": ITEMS["items"]},
            **answers(400, 408, 413, 415, 422, 429, 503),
        },
    )
    async def judge(request: Request) -> Response:
        """Judge photos, face crops and videos."""
        return await shared.judge(request)

    @app.get(
        "/v1/verdicts/{id}",
        response_class=Response,
        responses={200: {"description": "How it stands.", "content": ITEMS["item"]}, **answers(404, 503)},
    )
    async def verdict(id: str, request: Request) -> Response:  # noqa: A002  its name in the address
        """Ask for what came of a file."""
        return Response((await shared.found(id, request)).as_json(), media_type="application/json")

    @app.delete(
        "/v1/verdicts/{id}",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "Gone."}, **answers(404, 503)},
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


def _kind(path: Path) -> Kind | None:
    try:
        return kind_of(path)
    except MediaError:
        return None


def _of_items(items: list[Item], status: int, headers: dict[str, str] | None = None) -> Response:
    body = b'{"items": [' + b", ".join(item.as_json() for item in items) + b"]}"
    return Response(body, status, headers, "application/json")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "see /openapi.json for what there is" if error.status_code in (404, 405) else "see the documentation"
    answer = as_response(Problem(error.status_code, str(error.detail), hint))
    answer.headers.update(error.headers or {})
    if error.status_code == 405:  # the router knows the methods of the first route alone
        routes = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
        answer.headers["Allow"] = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
    return answer
