"""What the routes of the service share: how a file is accepted, judged, answered, recorded and forgotten."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from facetell.errors import MediaError
from facetell.media.kind import Kind, kind_of
from facetell.serving.access import Access
from facetell.serving.drifting import Drifting
from facetell.serving.engine import Engine
from facetell.serving.items import Item, Items
from facetell.serving.keys import Key
from facetell.serving.metrics import Metrics
from facetell.serving.pool import Outcome, Task
from facetell.serving.problems import Problem
from facetell.serving.settings import ServeSettings
from facetell.serving.shadow import Shadow
from facetell.serving.uploads import Upload, receive
from facetell.serving.work import Done, Order

if TYPE_CHECKING:
    from facetell.serving.recorder import Recorder

__all__ = ["Service"]

_KIND = "neither a picture nor a video in a format we read"
_WRITING = 5.0  # s that an answer waits for the store at most
_KINDS = "send a JPEG, PNG, WebP, HEIC, AVIF, MP4, MOV or the like"


class Service:
    """What the routes share."""

    def __init__(
        self, engine: Engine, access: Access, settings: ServeSettings, folder: Path, recorder: Recorder | None
    ) -> None:
        self.engine, self.access, self.settings, self.folder = engine, access, settings, folder
        self.recorder, self._fetching = recorder, BoundedSemaphore(settings.fetching)
        self.shadow = None if recorder is None else Shadow(engine, recorder)
        self.items = Items(settings.kept, settings.kept_seconds)
        self.drifting = Drifting()
        self.metrics = Metrics(engine, lambda: len(self.items), recorder, self.shadow, self.drifting)

    async def judge(self, request: Request) -> Response:
        """Files to verdicts, or to the numbers of jobs where one is a video."""
        items = await self.accepted(request, views=False)
        await self.settled(items)
        if len(items) == 1 and items[0].problem is not None:
            raise items[0].problem
        if any(item.video for item in items):
            headers = {"Location": f"/v1/verdicts/{items[0].id}"} if len(items) == 1 else {}
            return of_items(items, 202, headers)
        return of_items(items, 200)

    async def accepted(self, request: Request, *, views: bool) -> list[Item]:
        """The files of a request, on their way to the workers."""
        key = self.access.check(request, "judge")
        self.access.take(key, 1)
        uploads = await receive(request, self.folder, self.settings, self._fetching)
        begun = False
        try:
            if len(uploads) > 1:
                self.access.take(key, len(uploads) - 1)
            kinds = [None if upload.problem else await run_in_threadpool(_kind, upload.path) for upload in uploads]
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
        if self.recorder is not None and (item is None or not self.recorder.away):
            try:
                kept = await run_in_threadpool(self.recorder.find, name, owner)
            except Problem as problem:
                if item is None:
                    raise
                if problem.status == 404:  # another server on the store was told to delete it
                    self.items.drop(item)
                    raise
                kept = item  # the store is away
            return item or kept
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
        return self.recorder is not None and self.recorder.keep_crops is not None

    def _item(self, key: Key, upload: Upload, kind: Kind | None, views: bool) -> Item:
        item = Item(key.sha256, upload.name, kind == "video")
        if kind is None:
            item.problem = upload.problem or Problem(415, _KIND, _KINDS)
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
        order, generation = item.task.order if item.task is not None else None, item.generation
        done = item.settle()
        self._record(item, done)
        taken = False
        if self.shadow is not None and order is not None and done is not None:
            taken = self.shadow.judge(item.id, order, done.verdict, upload)
        if not taken:
            upload.remove()
        if done is not None:
            self.metrics.verdict(done.verdict.status, done.verdict.detector)
            if generation is not None:
                self.drifting.add(done.verdict, generation)

    def _record(self, item: Item, done: Done | None) -> None:
        if self.recorder is not None:
            item.written = self.recorder.ended(item, done)


def _kind(path: Path) -> Kind | None:
    try:
        return kind_of(path)
    except MediaError:
        return None


def of_items(items: list[Item], status: int, headers: dict[str, str] | None = None) -> Response:
    body = b'{"items": [' + b", ".join(item.as_json() for item in items) + b"]}"
    return Response(body, status, headers, "application/json")
