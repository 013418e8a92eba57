"""Around every request: its number, the limit of its body, its time without a byte, one line of log, and numbers."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facetell.serving.answers import answer
from facetell.serving.problems import Problem, going_down
from facetell.serving.settings import ServeSettings

__all__ = ["Around", "fault"]

log = logging.getLogger("facetell.serve")

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # without any, browsers call the origin of a form "null"
    (b"cache-control", b"no-store"),
]


class Around:
    """``seen`` is told of each request that is over: method, route, status, seconds."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, seen: Callable[[str, str, int, float], None]) -> None:
        self._app, self._settings, self._seen = app, settings, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, begin, status, taken = uuid.uuid4().hex, time.monotonic(), 500, 0
        said = dict[str, Any]()
        scope.setdefault("state", {}).update(said=said, request=number)
        started = False

        async def bounded() -> Message:
            nonlocal taken
            try:
                message = await asyncio.wait_for(receive(), self._settings.idle_seconds)
            except TimeoutError:
                raise Problem(408, "no byte came for too long", "send it again over a faster line") from None
            taken += len(message.get("body", b""))
            if taken > self._settings.request_bytes:
                raise self._too_large()
            return message

        async def marked(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                message = {**message, "headers": [*message["headers"], *_HEADERS, (b"x-request-id", number.encode())]}
            await send(message)

        try:
            if _stated(scope) > self._settings.request_bytes:
                raise self._too_large()
            await self._app(scope, bounded, marked)
        except Problem as problem:
            if not started:
                await answer(scope, problem)(scope, receive, marked)
        except asyncio.CancelledError:  # the time in which it might have ended is over; uvicorn would call it a fault
            if not started:
                await answer(scope, going_down())(scope, receive, marked)
        except Exception:
            log.exception("a fault of the server", extra={"said": {"request": number}})
            if not started:
                await answer(scope, fault(scope))(scope, receive, marked)
        finally:
            spent = time.monotonic() - begin
            route = getattr(scope.get("route"), "path", "none")
            self._seen(scope["method"], route, status, spent)
            log.info(
                "request",
                extra={
                    "said": {
                        "request": number, "method": scope["method"], "route": route, "status": status,
                        "seconds": round(spent, 4), "bytes": taken, **said,
                    }
                },
            )  # fmt: skip

    def _too_large(self) -> Problem:
        return Problem(
            413, f"more than {self._settings.request_bytes:,} bytes, the limit of a request", "send fewer or smaller"
        )


def fault(scope: Scope) -> Problem:
    """What a client is told of a fault of ours."""
    return Problem(500, "a fault of the server", f"its log says more; request {scope['state']['request']}")


def _stated(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
