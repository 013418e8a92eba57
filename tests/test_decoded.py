"""The decoded cache: right pixels, made once, whole or not at all, and never larger than allowed."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_folder

from facetell.errors import DataError, UsageError
from facetell.faceset import decoded as cache
from facetell.faceset.cache import cache_dir, prune
from facetell.faceset.decoded import DecodedImages, batches, decoded
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare
from facetell.pixels.decode import decode_resized
from facetell.progress import Step


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    root = tmp_path_factory.mktemp("cache")
    return prepare(tiny_folder(root / "pictures", 60), root / "faces")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACETELL_CACHE_GB", raising=False)
    return tmp_path / "cache"


def expected(faceset: FaceSet, split: str, size: int) -> np.ndarray:
    return np.stack([decode_resized(faceset.image(row), size) for row in faceset.rows(split)])


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    assert cache_dir() == folder
    monkeypatch.delenv("FACETELL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "facetell"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "facetell"


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels(faceset: FaceSet, split: str) -> None:
    calls: list[tuple[int, int]] = []
    with contextlib.closing(decoded(faceset, split, 16, lambda step: calls.append((step.done, step.total)))) as images:
        n = len(faceset.rows(split))
        assert (len(images), images.size) == (n, 16)
        assert calls == [(i, n) for i in range(1, n + 1)]
        truth = expected(faceset, split, 16)
        np.testing.assert_array_equal(images.gather(np.arange(n)), truth)
        np.testing.assert_array_equal(np.load(images.path), truth)
        some = np.array([5, 6, 7, 2, 2, n - 1, 0, 1])
        np.testing.assert_array_equal(images.gather(some), truth[some])
        assert images.gather(np.array([], dtype=np.int64)).shape == (0, 16, 16, 3)


def test_wrong_indices(faceset: FaceSet) -> None:
    images = decoded(faceset, "test", 8)
    for bad in (-1, len(images)):
        with pytest.raises(IndexError):
            images.gather([0, bad])
    images.close()
    images.close()
    with pytest.raises(DataError, match="closed"):
        images.gather([0])


def test_decoded_once(faceset: FaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded(faceset, "test", 8).close()
    monkeypatch.setattr(cache, "decode_resized", lambda data, size: pytest.fail("decoded again"))
    decoded(faceset, "test", 8).close()


def test_other_sizes_splits_and_versions_lie_apart(faceset: FaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {decoded(faceset, split, size).path for split in ("train", "test") for size in (8, 9)}
    monkeypatch.setattr(cache, "PREPROCESSING", 999)
    paths.add(decoded(faceset, "test", 8).path)
    assert len(paths) == 5


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"x" * len(data), lambda data: data + b"x"]
)
def test_a_damaged_file_is_made_again(faceset: FaceSet, damage: object) -> None:
    path = decoded(faceset, "test", 8).path
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(decoded(faceset, "test", 8).gather(np.arange(18)), expected(faceset, "test", 8))


def test_a_stop_leaves_no_file(faceset: FaceSet, folder: Path) -> None:
    def stop(step: Step) -> None:
        if step.done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded(faceset, "train", 8, stop)
    assert not list(folder.glob("*.npy"))
    assert not list(folder.glob("*partial*"))


def test_full_disk_is_said_before(faceset: FaceSet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(DataError, match=r"needs 0.0 GB in .* 0.0 GB are free") as caught:
        decoded(faceset, "test", 8)
    assert "FACETELL_CACHE" in str(caught.value.hint)
    assert not list(folder.glob("*.npy"))
    assert not list(folder.glob("*partial*"))


def test_unusable_place(faceset: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot write"):
        decoded(faceset, "test", 8)
    with pytest.raises(UsageError, match="positive"):
        decoded(faceset, "test", 0)
    with pytest.raises(DataError, match="no split"):
        decoded(faceset, "finetune", 8)


def test_least_recently_used_go_first(faceset: FaceSet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [decoded(faceset, "test", size).path for size in (8, 9, 10)]
    for age, path in zip((300, 200, 100), paths, strict=True):
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    decoded(faceset, "test", 8).close()  # used again: now the youngest
    (folder / "mine.txt").write_text("not ours")
    total = sum(path.stat().st_size for path in paths)
    monkeypatch.setenv("FACETELL_CACHE_GB", str((total - 1) / 1e9))
    assert prune() == [paths[1]]
    monkeypatch.setenv("FACETELL_CACHE_GB", "0")
    assert prune(keep=paths[2]) == [paths[0]]
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == sorted(
        [paths[2].name, "mine.txt"]
    )
    monkeypatch.setenv("FACETELL_CACHE_GB", "lots")
    with pytest.raises(UsageError, match="not a number"):
        prune()


def test_file_in_use_survives_its_deletion(faceset: FaceSet) -> None:
    images = decoded(faceset, "test", 8)
    images.path.unlink()
    np.testing.assert_array_equal(images.gather([3]), expected(faceset, "test", 8)[[3]])


def test_many_threads(faceset: FaceSet) -> None:
    images = decoded(faceset, "train", 8)
    truth = expected(faceset, "train", 8)
    wrong: list[int] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            some = rng.integers(0, len(images), 16)
            if not np.array_equal(images.gather(some), truth[some]):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_foreign_array_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match="no decoded pictures"):
        DecodedImages(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        DecodedImages(tmp_path / "b.npy")


def test_two_at_once_decode_once(faceset: FaceSet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = cache._decode

    def slow(*arguments: object) -> object:
        calls.append(1)
        time.sleep(0.3)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "_decode", slow)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: decoded(faceset, "test", 8).gather(np.arange(18)), range(2)))
    np.testing.assert_array_equal(both[0], both[1])
    assert len(calls) == 1


@pytest.mark.parametrize("limit", ["1", "0.000001"])
def test_a_split_larger_than_the_cache_is_decoded_as_it_is_read(
    faceset: FaceSet, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("FACETELL_CACHE_GB", limit)
    found = list(batches(faceset, "train", 12, 5))
    assert {len(batch) for batch in found[:-1]} == {5}
    np.testing.assert_array_equal(np.concatenate(found), expected(faceset, "train", 12))
    assert folder.exists() == (limit == "1")
