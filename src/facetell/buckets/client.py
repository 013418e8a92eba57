"""What speaks with a bucket: the file systems of pyarrow, imported where they are used, and their errors in our words."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from facetell.errors import DataError, UsageError

__all__ = ["ADDRESS", "answered", "check_address", "client", "is_bucket"]

ADDRESS = re.compile(r"(s3|gs):/{1,2}(?!/)")
"""How an address begins. One slash, too: a ``Path`` of it has lost the other."""
_OTHERS = re.compile(r"(hf|https?|ftp|gcs|s3a|az|abfss?|file):/{1,2}(?!/)")
_INSTEAD = {
    "gcs": "write gs://",
    "s3a": "write s3://",
    "hf": "fetch the repository first: hf download OWNER/NAME --repo-type dataset --local-dir FOLDER",
}
_SECONDS, _ATTEMPTS = 20, 4
"""To reach a bucket, again and again: a line may be slow, or away for a moment."""
_FIRST_SECONDS, _FIRST_ATTEMPTS = 3, 1
"""The same for the first question, so that who has no connection is told at once."""
_FIRST_ANSWER = 10
"""Seconds until its answer must be there."""
_AWAY = re.compile(r"NETWORK_CONNECTION|REQUEST_TIMEOUT|Status\(UNAVAILABLE")
_LOGIN = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; see what it may: aws s3 ls",
    "gs": "log in: gcloud auth application-default login; or set GOOGLE_APPLICATION_CREDENTIALS",
}
_CONNECTION = {
    "s3": "check the connection, AWS_REGION and AWS_ENDPOINT_URL, then run it again",
    "gs": "check the connection, and that you are logged in: gcloud auth application-default login",
}
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NOT_FOUND.*function=ListObjects")
_NO_ENTRY = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT|INVALID_CLIENT_TOKEN|MISSING_AUTH"
    r"|EXPIRED_?TOKEN|HTTP status 40[013]\b|PERMISSION_DENIED|UNAUTHENTICATED|credentials|status code:? 40[13]\b",
    re.IGNORECASE,
)


def is_bucket(path: str | Path) -> bool:
    """Whether a path is the address of a bucket, or of what is in one."""
    return ADDRESS.match(str(path)) is not None


def check_address(path: str | Path) -> None:
    """Raise ``UsageError`` for an address of another kind, which would be taken for a path."""
    words = str(path)
    other = _OTHERS.match(words)
    if other is not None and not Path(words).exists():
        raise UsageError(
            f"files are not read from {other[1]}://",
            hint=_INSTEAD.get(other[1], "fetch them to a folder first, or to a bucket: s3://, gs://"),
        )


@functools.cache
def client(scheme: str, bucket: str) -> Any:
    """A ``pyarrow.fs.FileSystem`` that sees the bucket. Raises ``DataError`` where nothing of the kind can be reached."""
    made = _google if scheme == "gs" else _amazon
    with answered(f"{scheme}://{bucket}"):
        _ask_first(lambda: made(None, _FIRST_SECONDS, _FIRST_ATTEMPTS).get_file_info([bucket]))
        return made(bucket, _SECONDS, _ATTEMPTS)


def _ask_first(question: Callable[[], object]) -> None:
    """Raise what says that nobody answers. Not so another refusal: the bucket may be in another region, or not ours to look
    at as a whole, and what is in it still be."""
    said: list[Exception] = []

    def ask() -> None:
        try:
            question()
        except Exception as error:
            said.append(error)

    asking = threading.Thread(target=ask, daemon=True)  # Google's library waits two minutes for a server that is silent
    asking.start()
    asking.join(_FIRST_ANSWER)
    if asking.is_alive():
        raise TimeoutError(f"no answer within {_FIRST_ANSWER} s")
    for error in said:
        if not isinstance(error, OSError) or _AWAY.search(str(error)):
            raise error


def _google(_: str | None, seconds: int, __: int) -> Any:
    from pyarrow import fs

    local = os.environ.get("STORAGE_EMULATOR_HOST", "")  # as Google's own libraries read it
    there = {"endpoint_override": re.sub("^https?://", "", local), "scheme": "http", "anonymous": True} if local else {}
    return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=seconds), **there)


def _amazon(bucket: str | None, seconds: int, attempts: int) -> Any:
    """In the region of ``bucket``, which is asked for if nobody says; None: in any."""
    from pyarrow import fs

    # As boto3 and aws read them; pyarrow itself reads the credentials alone.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None and bucket is not None:
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        connect_timeout=seconds,
        request_timeout=3 * seconds,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
    )


@contextlib.contextmanager
def answered(address: str) -> Iterator[None]:
    """Raise ``DataError``, with the next step, for what a bucket answers where it does not give what is at ``address``.

    ``FileNotFoundError`` passes: that there is no such file is for the caller to say.
    """
    scheme, _, rest = address.partition("://")
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        said = " ".join(str(error).split())
        if _NO_BUCKET.search(said):
            raise DataError(
                f"there is no bucket {scheme}://{rest.partition('/')[0]}",
                hint="check its name, and AWS_ENDPOINT_URL if it is set",
            ) from None
        if isinstance(error, FileNotFoundError):
            raise
        if isinstance(error, ImportError):
            raise DataError(
                f"this build of pyarrow reads no {scheme}://", hint="pip install --upgrade pyarrow"
            ) from None
        if _NO_ENTRY.search(said):
            raise DataError(f"{address} may not be read by you: {_brief(said)}", hint=_LOGIN[scheme]) from None
        raise DataError(f"{address} cannot be reached: {_brief(said)}", hint=_CONNECTION[scheme]) from None


def _brief(said: str) -> str:
    """What is of use of an error of the cloud's libraries."""
    found = re.search(r"(?:AWS Error|google::cloud::Status\()\s*(.+)", said)
    return re.split(r"; Details|error_info=|\(Request ID", found[1] if found else said)[0].strip()[:200]
