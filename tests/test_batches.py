"""Batches: every row once, the same on every run, nothing left running."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facetell.errors import DataError
from facetell.faceset.decoded import DecodedImages
from facetell.faceset.samples import draw_shots
from facetell.training.batches import epoch_order, iterate


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (23, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def images(tmp_path: Path, pixels: np.ndarray) -> DecodedImages:
    np.save(tmp_path / "p.npy", pixels)
    return DecodedImages(tmp_path / "p.npy")


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "facetell-batches" in thread.name]


@given(st.integers(1, 60), st.integers(1, 7), st.integers(0, 3))
def test_ranks_share_one_permutation(n: int, world: int, epoch: int) -> None:
    parts = [epoch_order(n, 5, epoch, rank, world) for rank in range(world)]
    assert {len(part) for part in parts} == {-(-n // world)}
    woven = np.stack(parts, axis=1).reshape(-1)
    np.testing.assert_array_equal(np.sort(woven[:n]), np.arange(n))
    np.testing.assert_array_equal(
        woven[n:], woven[: len(woven) - n] if len(woven) <= 2 * n else np.resize(woven[:n], len(woven))[n:]
    )
    np.testing.assert_array_equal(woven[:n], epoch_order(n, 5, epoch))


def test_order_depends_on_seed_and_epoch() -> None:
    orders = [tuple(epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert tuple(epoch_order(50, 1, 1)) == orders[3]
    assert len(epoch_order(0, 0, 0, 1, 2)) == 0


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_every_row_in_order(images: DecodedImages, pixels: np.ndarray, batch_size: int) -> None:
    order = epoch_order(23, 0, 0)
    seen = []
    for batch, rows in iterate(images, order, batch_size, "cpu"):
        assert batch.dtype == torch.uint8
        assert batch.shape == (len(rows), 3, 4, 4)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), pixels[rows])
        seen.extend(rows.tolist())
    assert seen == order.tolist()
    assert readers() == []


def test_no_rows(images: DecodedImages) -> None:
    assert list(iterate(images, np.array([], dtype=np.int64), 4, "cpu")) == []


def test_stopping_early_ends_the_thread(images: DecodedImages) -> None:
    batches = iterate(images, np.arange(23), 4, "cpu")
    next(batches)
    assert readers()
    batches.close()
    assert readers() == []
    with pytest.raises(KeyboardInterrupt):
        stop_in_the_middle(images)
    assert readers() == []


def stop_in_the_middle(images: DecodedImages) -> None:
    for _ in iterate(images, np.arange(23), 4, "cpu"):
        raise KeyboardInterrupt


def test_errors_of_the_thread_are_raised_here(images: DecodedImages) -> None:
    batches = iterate(images, np.array([0, 1, 99, 2]), 2, "cpu")
    next(batches)
    with pytest.raises(IndexError):
        next(batches)
    assert readers() == []


def test_the_next_batch_is_read_ahead(images: DecodedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    read = threading.Semaphore(0)
    gather = DecodedImages.gather

    def noticed(self: DecodedImages, rows: np.ndarray) -> np.ndarray:
        read.release()
        return gather(self, rows)

    monkeypatch.setattr(DecodedImages, "gather", noticed)
    batches = iterate(images, np.arange(23), 4, "cpu")
    next(batches)
    assert read.acquire(timeout=5)
    assert read.acquire(timeout=5), "the second is read while the first is used"
    assert not read.acquire(timeout=0.05), "and no more than that"
    batches.close()


def test_shots_are_balanced_and_nested() -> None:
    labels = np.random.default_rng(0).integers(0, 2, 400)
    large = draw_shots(labels, 100, 3)
    assert len(set(large.tolist())) == 200
    assert labels[large].sum() == 100
    for shots in (1, 25, 99):
        np.testing.assert_array_equal(draw_shots(labels, shots, 3), large[: 2 * shots])
    assert (draw_shots(labels, 25, 4) != large[:50]).any()


def test_too_few_for_the_shots() -> None:
    with pytest.raises(DataError, match=r"5 shots .* there are 2 fake ones") as caught:
        draw_shots(np.array([0] * 9 + [1] * 2), 5, 0)
    assert "at most 2" in str(caught.value.hint)
    with pytest.raises(DataError, match="at least 1"):
        draw_shots(np.array([0, 1]), 0, 0)
