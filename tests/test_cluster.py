"""`--engine ray`: the same result as one process, on any number of workers, and where a node is lost meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bucket_servers import copy_to, s3
from conftest import Shared
from faceclips import needs_media, portrait, save_clip, save_photo, walk
from pyarrow import fs

import facetell
from facetell.errors import DataError, FacetellError, MissingExtraError, SettingsError
from facetell.faceset.table import FaceSet
from facetell.media.cluster import BLOCK, cluster_map
from facetell.media.workers import Failure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets that Ray leaves open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
STORE = 200 * 2**20


@pytest.fixture(scope="module")
def photos(shared: Shared) -> Path:
    """30 photos, a clip, and a file that is none."""
    needs_media()

    def draw(root: Path) -> None:
        for i in range(30):
            save_photo(root / ("real", "fake")[i % 2] / f"{i:02d}.png", portrait(50 + i))
        save_clip(root / "real" / "clip.mp4", walk(3))
        (root / "fake" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")

    return shared("photos", draw)


@pytest.fixture(scope="module")
def bucket(photos: Path) -> Iterator[str]:
    """The photos in a bucket."""
    with s3() as address:
        files = fs.S3FileSystem(endpoint_override=address, region="us-east-1", allow_bucket_creation=True)
        files.create_dir("ours")
        copy_to(files, photos, "ours/photos")
        yield "s3://ours/photos"


@pytest.fixture(scope="module")
def cluster(bucket: str) -> Iterator[Any]:
    """Two nodes with a core each, which may read the bucket; the first is the one we speak with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray reads this as it is imported; else nodes would build the environment anew where `uv run` runs the tests.
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else all other tests come first, and these wait for minutes
        ray = pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # nodes need what they are asked to do
        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE}
        made = Cluster()
        for attempt in range(3):  # each gives a node half a minute to begin
            try:
                made.add_node(**head)
                made.add_node(num_cpus=1, object_store_memory=STORE)
                ray.init(address=made.address, log_to_driver=False)
                break
            except Exception as error:
                ray.shutdown()
                made.shutdown()
                if attempt == 2:
                    pytest.skip(f"Ray does not begin on this machine: {error}")
                made = Cluster()
        yield made
        ray.shutdown()
        made.shutdown()


def lose_one(cluster: Any) -> None:
    """Kill the node that is not ours, with all its processes."""
    node = next(each for each in cluster.list_all_nodes() if each is not cluster.head_node)
    cluster.remove_node(node, allow_graceful=False)


def slowly(item: tuple[str, int]) -> int:
    """Say in a file that it was done, and take a while."""
    log, number = item
    with Path(log).open("a") as file:
        file.write(f"{number}\n")
    time.sleep(0.05)
    return number * number


def breaks(number: int) -> int:
    if number == 3:
        os._exit(9)
    if number == 12:
        raise FacetellError("a dozen", hint="less")
    return -number


def test_a_file_that_crashes_its_reader_costs_itself(cluster: Any) -> None:
    results = cluster_map(breaks, range(30), None, lambda _: 60.0)
    found = []
    with pytest.raises(FacetellError, match="a dozen") as error:
        found.extend(results)
    assert error.value.hint == "less"
    assert [number for number, _ in found] == list(range(12))
    for number, result in found:
        assert isinstance(result, Failure) if number == 3 else result == -number


def test_the_same_verdicts_as_one_process_and_from_a_bucket(
    cluster: Any, photos: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    alone = list(facetell.detect("starter", ["real", "fake"], workers=1))
    assert Counter(verdict.judged for verdict in alone)[True] > 25
    for workers in (1, 2, 4):
        assert list(facetell.detect("starter", ["real", "fake"], engine="ray", workers=workers)) == alone
    found = list(facetell.detect("starter", [f"{bucket}/real", f"{bucket}/fake"], engine="ray"))
    assert [each.path for each in found] == [f"{bucket}/{each.path}" for each in alone]
    assert [replace(each, path="", file=None) for each in found] == [
        replace(each, path="", file=None) for each in alone
    ]


def test_the_same_face_set_as_one_process_and_where_a_node_is_lost(cluster: Any, photos: Path, tmp_path: Path) -> None:
    alone = facetell.prepare(photos, tmp_path / "alone", faces="find", workers=1)
    lost = []

    def tell(step: Any) -> None:
        if step.done >= BLOCK and not lost:
            lost.append(step.done)
            lose_one(cluster)

    for name, progress in (("both", None), ("one-lost", tell)):
        found = facetell.prepare(photos, tmp_path / name, faces="find", engine="ray", progress=progress)
        assert found.fingerprint == alone.fingerprint
        assert found.info["media"] == {**alone.info["media"], "key": found.info["media"]["key"]}
        assert (found.path / "skipped.csv").read_bytes() == (alone.path / "skipped.csv").read_bytes()
    assert lost
    cluster.add_node(num_cpus=1, object_store_memory=STORE)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 7 faces, so that a small face set has several, the last of them smaller."""
    monkeypatch.setattr("facetell.detector.on_cluster.BATCH", 7)


@pytest.mark.usefixtures("small_parts")
def test_the_same_report_as_one_process(cluster: Any, faces: FaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(faces.rows("test")) % 7
    alone, both = (facetell.evaluate("starter", faces, engine=engine) for engine in ("local", "ray"))
    assert json.dumps(both.as_dict()) == json.dumps(alone.as_dict())
    assert both.metrics["auroc"].value != 0.5
    assert both.unlike is not None
    monkeypatch.setattr(FaceSet, "fingerprint", "of another")
    with pytest.raises(DataError, match="has another face set at") as error:
        facetell.evaluate("starter", faces, engine="ray")
    assert error.value.hint == "put it on a disk that all nodes see"


@pytest.mark.usefixtures("small_parts")
def test_the_same_robustness_as_one_process(cluster: Any, faces: FaceSet) -> None:
    alone = facetell.stress("starter", faces, only=["jpeg", "noise"]).as_dict()
    both = facetell.stress("starter", faces, only=["jpeg", "noise"], engine="ray").as_dict()
    one, two = alone.pop("speed"), both.pop("speed")
    assert one["images"] == two["images"] == 11 * len(faces.rows("test"))
    assert json.dumps(both) == json.dumps(alone)


def test_a_lost_node_costs_its_blocks_once(cluster: Any, tmp_path: Path) -> None:
    cluster.wait_for_nodes()
    log = tmp_path / "done"
    items = [(str(log), number) for number in range(12 * BLOCK)]
    results = []
    for item, result in cluster_map(slowly, items, None, lambda _: 60.0):
        results.append(result)
        if item[1] == 2 * BLOCK:
            lose_one(cluster)
    assert results == [number * number for number in range(len(items))]
    times = Counter(map(int, log.read_text().split()))
    assert set(times) == set(range(len(items)))
    assert max(times.values()) <= 2
    assert len({number // BLOCK for number, count in times.items() if count > 1}) <= 3
    cluster.add_node(num_cpus=1, object_store_memory=STORE)


def test_a_cluster_that_is_not_there_is_said(photos: Path) -> None:
    words = ["-m", "facetell", "detect", "starter", str(photos), "--engine", "ray"]
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:9", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-2].startswith("error: the Ray cluster at 127.0.0.1:9 cannot be reached"), (
        done.stderr
    )
    assert done.stderr.splitlines()[-1] == "hint: is RAY_ADDRESS right?"


@pytest.mark.parametrize("given", ["file", "words", "nowhere"])
def test_who_has_a_token_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """Seen: Ray asks for a token wherever it has once made one, and refuses who does not say that he has it."""
    told = []

    def init(**_: Any) -> None:
        told.append(os.environ.get("RAY_AUTH_MODE"))
        raise RuntimeError("InvalidAuthToken: Authentication token is missing or incorrect")

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "")  # so that it is taken back, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    if given == "file":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret")
    if given == "words":
        monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    ray = SimpleNamespace(init=init, shutdown=lambda: None, is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(FacetellError, match="cannot be reached: InvalidAuthToken") as caught:
        list(cluster_map(breaks, [1], None, lambda _: 60.0))
    assert told == [None if given == "nowhere" else "token"]
    assert "auth_token" in (caught.value.hint or "")


def test_no_files_need_no_cluster_and_other_engines_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="did you mean 'ray'"):
        facetell.prepare(tmp_path / "a", tmp_path / "b", engine="rays")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert list(cluster_map(breaks, [], None, lambda _: 60.0)) == []
    with pytest.raises(MissingExtraError) as error:
        list(cluster_map(breaks, [1], None, lambda _: 60.0))
    assert error.value.hint == "pip install 'facetell[cluster]'"
