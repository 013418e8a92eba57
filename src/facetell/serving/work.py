"""What worker processes of a server do: judge files that were uploaded."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from facetell.detector.judge import Judge
from facetell.detector.many import judged
from facetell.detector.verdict import Verdict
from facetell.errors import MediaError
from facetell.media.limits import Limits, read_bytes
from facetell.pixels.decode import probe
from facetell.pixels.opening import MAX_BYTES

__all__ = ["Order", "Refused", "do_orders"]


@dataclass(frozen=True)
class Order:
    """A file to judge: where it is, what it was called, whether it is a video, and where to say how many shots were
    looked at."""

    path: str
    name: str
    video: bool
    limits: Limits
    progress: str | None = None


@dataclass(frozen=True)
class Refused:
    """A file beyond a limit, with the reason."""

    detail: str


def do_orders(judge: Judge, orders: list[Order]) -> list[Verdict | Refused]:
    """In a worker: what comes of each file. No orders: only the detector and the face detector are loaded."""
    if not orders and judge.faces != "crops":
        judge.finder  # noqa: B018  loaded
    return [_do(judge, order) for order in orders]


def _do(judge: Judge, order: Order) -> Verdict | Refused:
    path = Path(order.path)
    if order.video:
        judge.finder.limits = order.limits
    else:
        with contextlib.suppress(MediaError):  # the verdict says it
            info = probe(read_bytes(path, MAX_BYTES))
            if info.width * info.height > order.limits.max_pixels:
                return Refused(f"{info.width}x{info.height} is more than {order.limits.max_pixels:,} pixels, the limit")
    judge.looked_at = lambda shots: _tell(order.progress, shots)
    verdict = judged(judge, path)
    if verdict.status == "unsupported" and "the limit" in (verdict.reason or ""):
        return Refused(str(verdict.reason))
    return replace(verdict, path=order.name)


def _tell(progress: str | None, shots: int) -> None:
    if progress is not None:
        with contextlib.suppress(OSError):
            Path(progress).write_text(str(shots), "ascii")
