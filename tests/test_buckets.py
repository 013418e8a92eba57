"""Files in buckets: the same names, verdicts, face set and account as of the same folder on a disk."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from bucket_servers import CREDENTIALS, copy_to, gs, s3
from conftest import Shared, write_picture
from faceclips import needs_media, portrait, save_clip, save_photo, walk
from pyarrow import fs

import facetell
from facetell.buckets.client import client
from facetell.errors import DataError, UsageError
from facetell.media.walk import find_files


@pytest.fixture(scope="module")
def folder(shared: Shared) -> Path:
    """Photos and a clip in label folders; what is broken, empty, hidden, litter and no picture beside them."""
    needs_media()

    def draw(root: Path) -> None:
        for i in range(8):
            save_photo(root / ("real", "fake")[i % 2] / ("", "deep")[i > 5] / f"{i:02d}.png", portrait(50 + i))
        save_clip(root / "real" / "clip.mp4", walk(3))
        (root / "fake" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
        (root / "fake" / "empty.png").touch()
        (root / "fake" / "notes ümlaut.txt").write_text("not a picture")
        (root / "fake" / "large.bin").write_bytes(b"no kind that is known " * 2**18)
        (root / "real" / ".hidden.png").write_bytes(b"")
        (root / "real" / "Thumbs.db").write_bytes(b"litter")
        (root / "readme.txt").write_text("outside")

    return shared("photos-in-a-bucket", draw)


@pytest.fixture(scope="module")
def endpoint(folder: Path) -> Iterator[str]:
    """Of an S3 server whose bucket ``ours`` holds the folder."""
    client.cache_clear()
    with s3() as address:
        boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="ours")
        copy_to(fs.S3FileSystem(endpoint_override=address, region="us-east-1"), folder, f"ours/{folder.name}")
        yield address
    client.cache_clear()


def facetell_says(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "facetell", *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        capture_output=True, text=True,
    )  # fmt: skip


def relative(path: str, root: object) -> str:
    assert path.startswith(f"{root}/")
    return path[len(f"{root}/") :]


def test_the_same_files_in_the_same_order(endpoint: str, folder: Path) -> None:
    here = [relative(str(path), folder) for path in find_files([folder])]
    there = [
        relative(str(path), "s3://ours/photos-in-a-bucket") for path in find_files(["s3://ours/photos-in-a-bucket"])
    ]
    assert there == here
    assert "fake/notes ümlaut.txt" in there
    assert [str(path) for path in find_files([Path("s3://ours/photos-in-a-bucket/readme.txt")])] == [
        "s3://ours/photos-in-a-bucket/readme.txt"
    ]


def test_the_same_verdicts_and_nothing_stays_on_the_disk(
    endpoint: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    here = {relative(each.path, folder): each for each in facetell.detect("starter", [folder], workers=2)}
    found = list(
        facetell.detect("starter", ["s3://ours/photos-in-a-bucket", "s3://ours/photos-in-a-bucket/gone.png"], workers=2)
    )
    assert list(tmp_path.iterdir()) == []
    there = {relative(each.path, "s3://ours/photos-in-a-bucket"): each for each in found}
    assert (there["gone.png"].status, there.pop("gone.png").reason) == ("missing", "no such file")
    assert list(there) == list(here)
    for name, verdict in there.items():
        mine = here[name]
        assert replace(verdict, path="", file=None) == replace(mine, path="", file=None), name
        if mine.file:
            assert (verdict.file.bytes, verdict.file.sha256) == (mine.file.bytes, mine.file.sha256)


@pytest.mark.slow
def test_a_second_run_goes_on_and_judges_what_changed(endpoint: str, folder: Path, tmp_path: Path) -> None:
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    for name in ("a.png", "b.png"):
        s3.upload_file(str(folder / "real" / "00.png"), "ours", f"inbox/{name}")
    out = tmp_path / "verdicts.jsonl"
    words = ("detect", "starter", "s3://ours/inbox", "-o", out, "--annotate", tmp_path / "drawn")
    first = facetell_says(*words)
    assert first.returncode == 0, first.stderr
    assert len(list((tmp_path / "drawn").iterdir())) == 2
    assert "2 were judged before" in facetell_says(*words).stderr
    s3.upload_file(str(folder / "fake" / "01.png"), "ours", "inbox/b.png")
    assert "1 were judged before" in facetell_says(*words).stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["path"] for line in lines] == ["s3://ours/inbox/a.png", "s3://ours/inbox/b.png"]
    assert lines[0]["file"]["sha256"] != lines[1]["file"]["sha256"]


def test_the_same_face_set_of_photos_and_videos(endpoint: str, folder: Path, tmp_path: Path) -> None:
    here = facetell.prepare(folder, tmp_path / "here")
    there = facetell.prepare("s3://ours/photos-in-a-bucket", tmp_path / "there", workers=2)
    assert there.fingerprint == here.fingerprint
    assert there.columns(["path"]) == here.columns(["path"])
    assert (there.path / "skipped.csv").read_bytes() == (here.path / "skipped.csv").read_bytes()
    assert not facetell.prepare("s3://ours/photos-in-a-bucket", tmp_path / "there").created


@pytest.mark.parametrize("indexed", [False, True])
def test_the_same_face_set_of_ready_crops(endpoint: str, tmp_path: Path, indexed: bool) -> None:
    crops = tmp_path / f"crops-{indexed}"
    for i in range(24):
        write_picture(crops / ("real", "fake")[i % 2] / f"{i:02d}.png", i)
    if indexed:
        rows = "".join(f"{label}/{i:02d}.png,{label}\n" for i in range(24) for label in [("real", "fake")[i % 2]])
        (crops / "index.csv").write_text(f"path,label\n{rows}")
    copy_to(fs.S3FileSystem(endpoint_override=endpoint, region="us-east-1"), crops, f"ours/{crops.name}")
    here = facetell.prepare(crops, tmp_path / "here", faces="crops")
    there = facetell.prepare(f"s3://ours/{crops.name}", tmp_path / "there", faces="crops")
    assert there.fingerprint == here.fingerprint
    assert len(there) == 24


@pytest.mark.slow
def test_what_a_bucket_refuses_is_said_with_the_next_step(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*words: object, **environment: str) -> list[str]:
        done = facetell_says(*words, **environment)
        assert done.returncode in (2, 3), done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-2:]

    out = tmp_path / "faces"
    assert error("prepare", "s3://nobody/photos", "-o", out) == [
        "error: there is no bucket s3://nobody",
        "hint: check its name, and AWS_ENDPOINT_URL if it is set",
    ]
    assert error("prepare", "s3://ours/nothing", "-o", out)[0] == "error: s3://ours/nothing does not exist"
    dead = error("detect", "starter", "s3://ours/photos-in-a-bucket", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert dead[0].startswith("error: s3://ours cannot be reached: NETWORK_CONNECTION")
    assert dead[1].startswith("hint: check the connection")
    assert error("detect", "starter", "hf://someone/photos")[1].startswith("hint: fetch the repository first")
    assert error("evaluate", "starter", "s3://ours/faces", "-o", tmp_path / "report")[0].endswith("not from a bucket")
    assert (
        "results go to a disk"
        in error("detect", "starter", "s3://ours/photos-in-a-bucket", "-o", "s3://ours/v.jsonl")[0]
    )


def test_wrong_credentials_are_said(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server asks for them after as many requests as it is told."""
    request = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(request).close()
    try:
        client.cache_clear()
        with pytest.raises(DataError, match="may not be read by you") as error:
            list(find_files(["s3://ours/photos-in-a-bucket"]))
        assert "AWS_ACCESS_KEY_ID" in str(error.value.hint)
    finally:
        request = urllib.request.Request(
            f"{endpoint}/moto-api/reset-auth", b"inf", {"Content-Type": "text/plain"}, method="POST"
        )
        urllib.request.urlopen(request).close()


def test_a_connection_that_ends_is_no_verdict(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run that is started again would take all that is left for judged."""
    files = list(find_files(["s3://ours/photos-in-a-bucket/real"]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="cannot be reached"):
        list(facetell.detect("starter", files, workers=1))


def test_google_too(folder: Path) -> None:
    client.cache_clear()
    with gs("ours") as address:
        files = fs.GcsFileSystem(anonymous=True, endpoint_override=address.partition("//")[2], scheme="http")
        copy_to(files, folder / "fake" / "deep", "ours/photos/deep")
        (found,) = facetell.detect("starter", ["gs://ours/photos"], workers=1)
        (alone,) = facetell.detect("starter", [folder / "fake" / "deep"], workers=1)
        assert found.path == "gs://ours/photos/deep/07.png"
        assert (found.status, found.score) == (alone.status, alone.score)
        with pytest.raises(DataError, match="there is no bucket gs://nobody"):
            list(find_files(["gs://nobody/photos"]))
    client.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize("silent", [False, True], ids=["no such host", "silent"])
def test_without_a_connection_it_is_said_soon(scheme: str, silent: bool) -> None:
    """By a name of a server that nobody has (RFC 2606), as every name is to who has no connection, and one that takes all
    that it is sent and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"http://127.0.0.1:{server.getsockname()[1]}" if silent else "http://nobody.invalid"
        where = {**CREDENTIALS, "AWS_ENDPOINT_URL": there, "STORAGE_EMULATOR_HOST": there}
        began = time.monotonic()
        done = facetell_says("detect", "starter", f"{scheme}://ours/photos", **where)
    assert f"error: {scheme}://ours cannot be reached" in done.stderr
    assert time.monotonic() - began < 20, "it took up to two minutes"


def test_other_addresses_are_no_paths() -> None:
    for address, hint in (("gcs://a/b", "gs://"), ("https://a/b", "fetch"), ("s3://", "no bucket")):
        with pytest.raises(UsageError) as error:
            list(find_files([address]))
        assert hint in f"{error.value.message} {error.value.hint}"
