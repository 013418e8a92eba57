"""Our short ways to torchvision's results, against torchvision itself."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode
from torchvision.io import decode_jpeg as library_decode
from torchvision.ops import nms
from torchvision.transforms.v2 import functional as tvf

from facetell.faces import scales
from facetell.pixels import vision

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (37, 51), (90, 160), (720, 1280)])
@pytest.mark.parametrize("size", [(1, 1), (64, 64), (90, 160), (3, 200)])
@pytest.mark.parametrize("floats", [False, True])
def test_resizing(shape: tuple[int, int], size: tuple[int, int], floats: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    capability = "DEFAULT" if floats else "AVX2"
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    vision._resizes_bytes.cache_clear()
    expected = tvf.resize(torch.from_numpy(pixels).permute(2, 0, 1)[None], list(size), antialias=True)
    np.testing.assert_array_equal(vision.antialiased(pixels, *size), expected[0].permute(1, 2, 0).numpy())
    vision._resizes_bytes.cache_clear()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg(mode: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (48, 33, 3), dtype=np.uint8)).convert(mode).save(buffer, "JPEG")
    data = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    expected = library_decode(data, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(vision.decode_jpeg(buffer.getvalue()), expected)
    with pytest.raises(RuntimeError):
        vision.decode_jpeg(b"no picture")


@pytest.mark.parametrize("count", [0, 1, 2, 30, 500])
def test_overlaps(count: int) -> None:
    for _ in range(20):
        start = RNG.uniform(-20, 200, (count, 2))
        boxes = np.concatenate([start, start + RNG.uniform(0, 60, (count, 2))], axis=1).astype(np.float32)
        scores = RNG.integers(0, 20, count).astype(np.float32) / 20  # many are equal: then the first goes first
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), scales.OVERLAP).numpy()
        np.testing.assert_array_equal(scales._without_overlaps(boxes, scores), expected)


def test_boxes_without_an_area_do_not_overlap() -> None:
    boxes, scores = np.zeros((3, 4), np.float32), np.ones(3, np.float32)
    assert scales._without_overlaps(boxes, scores).tolist() == [0, 1, 2]


def test_finding_faces_and_decoding_need_no_torchvision() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    code = (
        "import sys; from facetell.ingest import extract; from facetell.pixels import decode;"
        f"images.resize(images.decode({buffer.getvalue()!r}), 4);"
        "sys.exit('torchvision' in sys.modules or 'torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("method", ["fdftnet", "features", "finetune", "siamese"])
def test_judging_imports_neither_torchs_compiler_nor_what_only_training_needs(method: str) -> None:
    """Each of them takes longer to import than torch, and every ``detect`` would wait for it."""
    code = (
        f"import sys, facetell.detector.detector, facetell.faces.finding, facetell.methods.{method}; "
        "print([m for m in ('torch._dynamo', 'torchvision', 'lightning_fabric', 'timm', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
