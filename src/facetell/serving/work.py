"""What worker processes of a server do: judge files that were uploaded."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from facetell.detector.judge import Judge
from facetell.detector.many import judged
from facetell.detector.verdict import Verdict
from facetell.errors import MediaError
from facetell.media.limits import Limits, read_bytes
from facetell.pixels.decode import probe
from facetell.pixels.opening import MAX_BYTES
from facetell.serving.crops import faces_of
from facetell.serving.look import Look, look_of
from facetell.serving.views import View, views_of
from facetell.store.records import Face

__all__ = ["Done", "Order", "Refused", "do_orders"]


@dataclass(frozen=True)
class Order:
    """A file to judge: where it is, what it was called, whether it is a video, and where to say how many of its shots were
    looked at, and whether pictures of it, and crops of its faces, are wanted. Videos come alone."""

    path: str
    name: str
    video: bool
    limits: Limits
    progress: str | None = None
    views: bool = False
    crops: bool = False


@dataclass(frozen=True)
class Done:
    """A file that was judged; pictures of it with a map of its most fake face, and its faces, where they were asked for."""

    verdict: Verdict
    views: tuple[View, ...] = ()
    look: Look | None = None
    faces: tuple[Face, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A file beyond a limit, with the reason."""

    detail: str


def do_orders(judge: Judge, orders: list[Order]) -> list[Done | Refused]:
    """In a worker: what comes of each file. No orders: all is loaded that they will need."""
    if not orders:
        judge.detector.logits(np.zeros((1, judge.detector.size, judge.detector.size, 3), np.uint8))
        if judge.faces != "crops":
            judge.finder  # noqa: B018  loaded
        return []
    beyond = [_beyond(order) for order in orders]
    sent = [order for order, why in zip(orders, beyond, strict=True) if why is None]
    if sent and sent[0].video:
        judge.finder.limits = sent[0].limits
        judge.looked_at = partial(_tell, sent[0].progress)
    verdicts = iter(judged(judge, [Path(order.path) for order in sent]))
    return [
        Refused(why) if why else _done(judge, next(verdicts), order) for order, why in zip(orders, beyond, strict=True)
    ]


def _beyond(order: Order) -> str | None:
    """Why a picture is not looked at. A video's limits are its reader's."""
    if not order.video:
        with contextlib.suppress(MediaError):  # the verdict says it
            info = probe(read_bytes(Path(order.path), MAX_BYTES))
            if info.width * info.height > order.limits.max_pixels:
                return f"{info.width}x{info.height} is more than {order.limits.max_pixels:,} pixels, the limit"
    return None


def _done(judge: Judge, verdict: Verdict, order: Order) -> Done | Refused:
    if order.video and verdict.status == "unsupported" and "the limit" in (verdict.reason or ""):
        return Refused(str(verdict.reason))
    path = Path(order.path)
    views = views_of(judge, path, verdict, order.limits) if order.views else []
    look = look_of(judge, path, verdict, order.limits) if order.views else None
    faces = faces_of(judge, path, verdict, order.limits) if order.crops else []
    return Done(replace(verdict, path=order.name), tuple(views), look, tuple(faces))


def _tell(progress: str | None, shots: int) -> None:
    if progress is not None:
        with contextlib.suppress(OSError):
            Path(progress).write_text(str(shots), "ascii")
