"""Files of a request, written to a folder of the server's own until they are judged."""

from __future__ import annotations

import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import BoundedSemaphore

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from facetell.serving.fetching import Fetcher
from facetell.serving.problems import Problem
from facetell.serving.settings import ServeSettings

__all__ = ["Upload", "receive"]

_FIELDS = 16
_NAME = 255
_AT_ONCE = 4
"""Addresses of a request that are fetched at once at most: more would be a burden to the host that clients name."""


@dataclass(frozen=True)
class Upload:
    """A file that came: ``path`` where it is now, ``name`` as the client calls it, which opens nothing here; ``problem``: why
    it did not come from the address that the client named."""

    path: Path
    name: str
    problem: Problem | None = None

    def remove(self) -> None:
        """Away with it, and with what was said of its progress."""
        self.path.unlink(missing_ok=True)
        self.progress.unlink(missing_ok=True)

    @property
    def progress(self) -> Path:
        """Where its worker says how far it is."""
        return self.path.with_suffix(".shots")


async def receive(request: Request, folder: Path, settings: ServeSettings, fetching: BoundedSemaphore) -> list[Upload]:
    """The files of a request of type multipart/form-data, each in ``folder`` under a name of ours; those of the addresses in
    its fields ``url`` are fetched, of as many requests at once as ``fetching`` admits.

    Raises:
        Problem: 400 malformed, 415 of another type, 422 without a file or with too many, 503 where too many are fetched; 408
            and 413 as the body comes.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Problem(415, "files come as multipart/form-data", "curl -F file=@photo.jpg URL/v1/verdicts")
    try:
        async with request.form(max_files=settings.files, max_fields=_FIELDS) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            addresses = [value for name, value in form.multi_items() if name == "url" and isinstance(value, str)]
            if not files and not addresses:
                raise Problem(422, "the request holds no file", "curl -F file=@photo.jpg URL/v1/verdicts")
            if len(files) + len(addresses) > settings.files:
                raise Problem(422, f"more than {settings.files} files, the limit", "send several requests")
            uploads = await run_in_threadpool(_kept, files, folder)
            if not addresses:
                return uploads
            try:
                return uploads + await run_in_threadpool(_fetched, addresses, folder, settings, fetching)
            except BaseException:
                for upload in uploads:
                    upload.remove()
                raise
    except HTTPException as error:  # Starlette's word for a body that it cannot take apart
        if "Too many" in str(error.detail):
            raise Problem(422, f"more than {settings.files} files, the limit", "send several requests") from None
        raise Problem(400, f"the body cannot be read: {error.detail}", "send it as multipart/form-data") from None


def _kept(files: list[UploadFile], folder: Path) -> list[Upload]:
    uploads: list[Upload] = []
    try:
        for file in files:
            upload = Upload(folder / uuid.uuid4().hex, (file.filename or "file")[:_NAME])
            uploads.append(upload)
            with upload.path.open("xb") as kept:
                shutil.copyfileobj(file.file, kept)
    except OSError as error:
        for upload in uploads:
            upload.remove()
        raise Problem(503, f"the file cannot be kept: {error.strerror}", "send it again later", retry=60) from None
    return uploads


def _fetched(addresses: list[str], folder: Path, settings: ServeSettings, fetching: BoundedSemaphore) -> list[Upload]:
    if not fetching.acquire(blocking=False):  # where hosts hang, those who send files are served as before
        raise Problem(503, "too many addresses are fetched", "send it again in a minute, or the file itself", retry=30)
    fetcher = Fetcher(settings.fetch_from, settings.request_bytes)

    def fetched(address: str) -> Upload:
        upload = Upload(folder / uuid.uuid4().hex, address[:_NAME])
        try:
            fetcher.fetch(address, upload.path)
        except Problem as problem:
            return replace(upload, problem=problem)
        return upload

    try:
        with ThreadPoolExecutor(_AT_ONCE, "facetell-fetch") as threads:
            return list(threads.map(fetched, addresses))
    finally:
        fetching.release()
