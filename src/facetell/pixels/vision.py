"""What we use of torchvision, without importing it: that takes longer than importing torch itself.

Its package pulls in torch's compiler (2.9 s become 6.8 s on two busy cores), which neither a resize nor a JPEG needs.
Results are those of ``torchvision.transforms.v2.functional.resize`` and ``torchvision.io.decode_jpeg`` to the bit.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

__all__ = ["antialiased", "decode_jpeg"]

_RGB = 3  # torchvision.io.ImageReadMode.RGB


def antialiased(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize uint8 (H, W, 3) to (height, width, 3), bilinear with antialiasing."""
    # A permuted view of NHWC is channels_last, which torch resizes as uint8 without a float copy.
    batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    if not _resizes_bytes():
        batch = batch.float()
    resized = interpolate(batch, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    if resized.dtype != torch.uint8:
        resized = resized.round_().to(torch.uint8)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


@functools.cache
def _resizes_bytes() -> bool:
    """Where torch has a kernel for bytes; elsewhere torchvision goes by floats, which may round otherwise."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in ("aarch64", "arm64")


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG to uint8 (H, W, 3) RGB, as stored (not turned). Raises ``RuntimeError`` if that fails."""
    # frombuffer wants writable memory, which nothing here writes to; a copy is cheaper than a global warning filter.
    buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    pixels: NDArray[np.uint8] = _jpeg_operator()(buffer, _RGB).permute(1, 2, 0).numpy()
    return pixels


@functools.cache
def _jpeg_operator() -> Any:
    """The operator in torchvision's compiled library, loaded as torchvision does; by torchvision if that fails."""
    if "torchvision" not in sys.modules:
        spec = importlib.util.find_spec("torchvision")
        for folder in (spec and spec.submodule_search_locations) or ():
            for library in Path(folder).glob("image*.so"):  # image.so, or image_stable.so since 0.29
                with contextlib.suppress(OSError):
                    torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    try:
        return torch.ops.image.decode_jpeg
    except AttributeError:
        importlib.import_module("torchvision.io")
        return torch.ops.image.decode_jpeg
