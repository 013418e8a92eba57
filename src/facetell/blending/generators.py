"""Trains the small generators that draw real faces again, on those faces."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.blending.pairs import Regenerate, shrunk
from facetell.faceset.decoded import map_pictures
from facetell.faceset.table import FaceSet
from facetell.networks.regenerator import DOWN, UPSAMPLING, Regenerator
from facetell.pixels.decode import decode
from facetell.progress import Progress, Step, silent

__all__ = ["fit_generators"]

FACES = 512
"""Most faces that are learned from."""
PATCHES = 4
"""Patches of each."""
SIDE = 64
STEPS = 400
KEPT = (250, 400)
"""Steps after which a network is kept: generators differ in how well they draw."""
BATCH = 16
LR = 3e-3


def fit_generators(
    faces: FaceSet, rows: NDArray[np.int64], size: int | None, seed: int, progress: Progress = silent
) -> Regenerate:
    """Train a network of each kind of up-sampling to draw real faces again, half a minute each or more on one core.

    Args:
        faces: whose ``rows``, or 512 of them drawn by ``seed``, are learned from, shrunk to ``size`` as they will be.
        rows: real faces, ascending.
        size: see `blending.pairs.shrunk`.
        seed: of faces, patches, weights and order.
        progress: told of every training step.

    Returns:
        What draws a picture again by one of the networks, which the dice choose. Threads may call it at once.

    Raises:
        DataError: a picture that does not decode.
    """
    rng = np.random.default_rng([seed, 1])
    if len(rows) > FACES:
        rows = np.sort(rng.choice(rows, FACES, replace=False))
    patches = torch.from_numpy(_patches(faces, rows, size, rng)).permute(0, 3, 1, 2)
    kept: list[Regenerator] = []
    for number, upsampling in enumerate(UPSAMPLING):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Regenerator(upsampling)
        for step in _train(network, patches, rng):
            if step in KEPT:
                kept.append(copy.deepcopy(network).eval())
            progress(Step("training generators", number * STEPS + step, len(UPSAMPLING) * STEPS, "steps"))

    def regenerate(pixels: NDArray[np.uint8], dice: np.random.Generator) -> NDArray[np.float32]:
        which, (down, right) = int(dice.integers(len(kept))), dice.integers(DOWN, size=2).tolist()
        return _drawn(kept[which], pixels, (down, right))

    return regenerate


def _train(network: nn.Module, patches: Tensor, rng: np.random.Generator) -> Iterator[int]:
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=STEPS)
    for step in range(1, STEPS + 1):
        chosen = torch.from_numpy(rng.integers(0, len(patches), BATCH))
        images = patches[chosen].float().div_(255)
        optimizer.zero_grad()
        F.l1_loss(network(images), images).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield step


@torch.inference_mode()
def _drawn(network: nn.Module, pixels: NDArray[np.uint8], shift: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, 3) drawn again, in grey levels."""
    images = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float().div_(255)
    return network(images, shift)[0].permute(1, 2, 0).mul(255).numpy()


def _patches(faces: FaceSet, rows: NDArray[np.int64], size: int | None, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(N, SIDE, SIDE, 3) of some rows; smaller crops are mirrored at their edges."""
    found = []
    for pixels in map_pictures(lambda _, data: shrunk(decode(data), size), faces, faces.pick(rows, 16)):
        more = [max(0, SIDE - side) for side in pixels.shape[:2]]
        padded = np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="symmetric")
        for _ in range(PATCHES):
            top, left = (int(rng.integers(side - SIDE + 1)) for side in padded.shape[:2])
            found.append(padded[top : top + SIDE, left : left + SIDE])
    return np.stack(found)
