"""How a request that is not done is answered: problem+json, and to people who look at the page, a page."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from facetell.serving.page import html_response, templates
from facetell.serving.problems import Problem, as_response

__all__ = ["answer"]


def answer(scope: Scope, problem: Problem) -> Response:
    """The answer to the request of that scope. Browsers get a page, but from the addresses that are for programs."""
    said = as_response(problem)
    if scope["path"].startswith("/v1/") or "text/html" not in Headers(scope=scope).get("accept", ""):
        return said
    told = problem.as_dict()
    if problem.status == 401:  # a browser has no way to send a header
        told["hint"] = "go to the page and give the key there"
    page = html_response(templates().get_template("problem.html").render(problem=told), problem.status)
    for name in ("Retry-After", "WWW-Authenticate"):
        if name in said.headers:
            page.headers[name] = said.headers[name]
    return page
