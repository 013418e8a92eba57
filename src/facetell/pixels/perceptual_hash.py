"""A perceptual hash and thumbnail of a picture, 280 bytes: found again in another file, size or compression.

Two stages. A 64-bit hash of the signs of 64 low frequencies (Zauner 2010, pHash, but without the lowest ones, in which
all aligned faces are alike) gives candidates; a grey thumbnail of 16×16 decides. Measured in `docs/audit.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

__all__ = ["ALIKE", "RADIUS", "THUMBNAIL_BYTES", "close_pairs", "difference", "near_twins", "perceptual_hash"]

RADIUS = 7
"""Bits in which the hashes of two candidates may differ; `close_pairs` finds all of these."""

ALIKE = 0.2
"""`difference` up to which two pictures count as one."""

THUMBNAIL_BYTES = 256

_SIDE, _THUMB = 32, 16
_FLAT = 3.0  # grey levels: below this spread a thumbnail is one colour, and noise decides its hash
_BANDS = 4
_PAIRS = 1_000_000  # candidates held at once
_BITS = np.array([bin(value).count("1") for value in range(65536)], np.uint8)


_ZIGZAG = tuple(
    np.array(sorted(((u, v) for u in range(16) for v in range(16) if u + v >= 2), key=lambda at: (sum(at), at))[:64]).T
)


def perceptual_hash(pixels: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
    """Hash (64 bits), thumbnail (256,) uint8 and digest (16,) uint8 of the pixels, uint8 (H, W, 3)."""
    grey = Image.fromarray(pixels).convert("L")
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float64)
    bits = dctn(small)[_ZIGZAG] > 0
    thumb = np.asarray(grey.resize((_THUMB, _THUMB), Image.Resampling.BOX)).ravel()
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return int(np.packbits(bits).view(">u8")[0]), thumb, np.frombuffer(digest.digest(), np.uint8)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Root mean square difference (P,) of thumbnails (P, 256) brought to mean 0 and spread 1: 0 = alike, 1.4 = unrelated.

    A changed brightness or contrast makes no difference. It is sqrt(2 - 2 r) with r their correlation.
    """
    a, b = (
        thumbnail - thumbnail.mean(axis=1, keepdims=True)
        for thumbnail in (one.astype(np.float64), other.astype(np.float64))
    )
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.sqrt(np.maximum(2 - 2 * (a * b).sum(axis=1) / np.maximum(norm, 1e-9), 0))


def close_pairs(
    hashes: NDArray[np.uint64], parts: NDArray[np.int8]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every pair of rows of different parts whose hashes differ in at most `RADIUS` bits, once, in blocks.

    Multi-index hashing (Norouzi et al. 2012): of 4 bands of 16 bits one differs in at most 1 bit, so rows are looked up by
    each band and its 16 neighbours. Memory grows with the rows, not with their square.

    Args:
        hashes: (N,) 64-bit hashes.
        parts: (N,) what a row belongs to; pairs within one part are passed over.

    Yields:
        Rows i and j (P,), i < j.
    """
    bands = [((hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)).astype(np.int64) for band in range(_BANDS)]
    for band, keys in enumerate(bands):
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(65537))
        for mask in (0, *(1 << bit for bit in range(16))):
            first = starts[keys ^ mask]
            counts = starts[(keys ^ mask) + 1] - first
            ends = np.cumsum(counts)
            at = 0
            while at < len(keys):
                begun = int(ends[at - 1]) if at else 0
                stop = max(int(np.searchsorted(ends, begun + _PAIRS, "right")), at + 1)
                number = counts[at:stop]
                one = np.repeat(np.arange(at, stop), number)
                inside = np.arange(len(one)) - np.repeat(np.cumsum(number) - number, number)
                other = order[np.repeat(first[at:stop], number) + inside]
                keep = (one < other) & (parts[one] != parts[other])
                one, other = one[keep], other[keep]
                apart = [_BITS[keys_[one] ^ keys_[other]] for keys_ in bands]
                near = np.sum(apart, axis=0, dtype=np.int64) <= RADIUS
                for earlier in apart[:band]:  # an earlier band has found the pair already
                    near &= earlier > 1
                if near.any():
                    yield one[near], other[near]
                at = stop


def near_twins(
    hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], digests: NDArray[np.uint8], parts: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each row the row of another part that looks most alike, within `ALIKE`, and is not the very same picture.

    Args:
        hashes: (N,).
        thumbnails: (N, 256).
        digests: (N, 16); pairs with equal ones are identical, not near.
        parts: (N,), as a rule the code of the split.

    Returns:
        Twin (N,), -1 for none, and its `difference` (N,), inf for none. Pictures of one flat colour have none.
    """
    twin = np.full(len(hashes), -1, np.int64)
    least = np.full(len(hashes), np.inf, np.float32)
    flat = np.empty(len(hashes), np.bool_)
    for at in range(0, len(thumbnails), 65536):
        flat[at : at + 65536] = thumbnails[at : at + 65536].std(axis=1) < _FLAT
    usable = np.flatnonzero(~flat)
    for found_one, found_other in close_pairs(hashes[usable], parts[usable]):
        for at in range(0, len(found_one), 16384):
            one, other = usable[found_one[at : at + 16384]], usable[found_other[at : at + 16384]]
            apart = difference(thumbnails[one], thumbnails[other])
            alike = (apart <= ALIKE) & (digests[one] != digests[other]).any(axis=1)
            for a, b in ((one[alike], other[alike]), (other[alike], one[alike])):
                far_first = np.argsort(-apart[alike], kind="stable")  # of one row's twins the nearest comes last
                a, b, gap = a[far_first], b[far_first], apart[alike][far_first].astype(np.float32)
                better = gap < least[a]
                twin[a[better]] = b[better]
                least[a[better]] = gap[better]
    return twin, least
