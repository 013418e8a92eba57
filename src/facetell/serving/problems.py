"""What went wrong with a request, as RFC 9457 says it (``application/problem+json``), with the next step in ``hint``."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

__all__ = ["Problem", "as_response", "away", "going_down"]


class Problem(Exception):  # noqa: N818  the word of the standard
    """A request that is not done. ``retry``: seconds after which it may be."""

    def __init__(self, status: int, detail: str, hint: str, *, retry: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.hint, self.retry = status, detail, hint, retry

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status,
            "detail": self.detail, "hint": self.hint,
        }  # fmt: skip


def away() -> Problem:
    """The store cannot be used."""
    return Problem(503, "the store of this server cannot be used", "send it again in a minute", retry=10)


def going_down() -> Problem:
    """The server ends."""
    return Problem(503, "the server is going down", "send it again in a minute", retry=60)


def as_response(problem: Problem) -> Response:
    """The answer that says it."""
    headers = {} if problem.retry is None else {"Retry-After": str(problem.retry)}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(problem.as_dict()), problem.status, headers, "application/problem+json")
