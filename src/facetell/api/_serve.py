"""``serve``: a detector behind an address."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from facetell.detector.calibration import DEFAULT
from facetell.detector.many import Judging
from facetell.detector.places import DetectorLike, bundle_path
from facetell.errors import MissingExtraError, SettingsError
from facetell.media.frame_choice import parse
from facetell.settings import check_counts

__all__ = ["serve"]

_HOST = re.compile(r"[A-Za-z0-9_.*?!\[\]-]+")
"""A name or pattern that the host of an address can match."""


def serve(
    detector: DetectorLike = "starter",
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: str | Path | None = None,
    at: str | None = None,
    prevalence: float | None = None,
    unlike: float | None = None,
    faces: str = "auto",
    frames: str = "32",
    face_model: str | None = None,
    device: str = "auto",
    runtime: str | None = None,
    workers: int | None = None,
    max_mb: int = 64,
    max_seconds: float = 600.0,
    queue: int = 256,
    rate: int = 0,
    certificate: str | Path | None = None,
    private_key: str | Path | None = None,
    store: str | Path | None = None,
    keep_crops: float | None = None,
    keep_verdicts: float | None = None,
    fetch_from: str | Sequence[str] = (),
) -> None:
    """Serve verdicts over HTTP until a signal ends it; see ``docs/serve.md``.

    Args:
        detector: a detector bundle or its name; SIGHUP and an admin's request read it anew.
        host: the address to listen on. Others than this machine's own need ``keys``.
        port: 0 takes a free one, which the log says.
        keys: a file of `facetell.keys`; every request then needs one.
        at: as of `facetell.detect`, as are ``prevalence``, ``unlike``, ``faces``, ``frames``, ``face_model``, ``device``,
            ``runtime``.
        prevalence: see ``at``.
        unlike: see ``at``.
        faces: see ``at``.
        frames: see ``at``.
        face_model: see ``at``.
        device: see ``at``.
        runtime: see ``at``.
        workers: processes that judge; default one per core.
        max_mb: megabytes of a request.
        max_seconds: of a video.
        queue: files that may wait.
        rate: files a minute for each key; 0: as many as come.
        certificate: PEM, for TLS.
        private_key: of the certificate.
        store: where verdicts are kept beyond a restart: a file (SQLite), or ``postgresql://USER@HOST/DATABASE``.
        keep_crops: days that crops of judged faces are kept in the store, so that people can label them; None: none are.
        keep_verdicts: days after which what came of a file is removed from the store; None: it is kept until its sender
            deletes it. Labels stay, without the name of the file and of who sent it.
        fetch_from: hosts, names or patterns such as ``*.example.org``, from which files are fetched where a client sends
            their addresses; never from within the network.

    Raises:
        MissingExtraError: the extra ``serve`` is not installed.
        BundleError, UsageError: it cannot judge so, others reach ``host`` and no keys are given, or crops are to be kept
            nowhere, or for longer than their verdicts.
        DataError: the store cannot be used.
    """
    check_counts(workers=workers, max_mb=max_mb, queue=queue)
    for what, days in (("crops", keep_crops), ("verdicts", keep_verdicts)):
        if days is not None and not 0 < days <= 3650:
            raise SettingsError(f"{what} are kept for at most 3,650 days, and not for {days:g}", hint="for example 30")
    if not max_seconds >= 0:  # nor what is no number
        raise SettingsError(f"a video has at most 0 seconds or more, and not {max_seconds:g}", hint="for example 600")
    hosts = (fetch_from,) if isinstance(fetch_from, str) else tuple(fetch_from)
    for each in hosts:
        if not _HOST.fullmatch(each) and not _is_address(each):
            raise SettingsError(
                f"{each!r} is no name of a host",
                hint="as in cdn.example.org or *.example.org: no https://, port or path",
            )
    try:
        if store is not None:
            import sqlalchemy  # noqa: F401
        from facetell.serving.run import run
        from facetell.serving.settings import ServeSettings
    except ImportError:
        raise MissingExtraError("serving", "serve") from None
    path = bundle_path(detector)
    how = Judging(str(path), device, at or DEFAULT, prevalence, faces, parse(frames), face_model, unlike, runtime)
    settings = ServeSettings(
        workers=workers,
        request_bytes=max_mb * 2**20,
        seconds=max_seconds,
        queue=queue,
        rate=rate,
        fetch_from=hosts,
    )
    run(
        how,
        settings,
        host=host,
        port=port,
        keys=None if keys is None else Path(keys),
        certificate=None if certificate is None else Path(certificate),
        private_key=None if private_key is None else Path(private_key),
        store=None if store is None else str(store),
        keep_crops=keep_crops,
        keep_verdicts=keep_verdicts,
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
