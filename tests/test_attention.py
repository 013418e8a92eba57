from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from facetell.networks import attention
from facetell.networks.attention import SelfAttention, attend


def by_loops(f: torch.Tensor, g: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Equations 1 and 2, one number at a time."""
    batch, positions, narrow = f.shape
    out = torch.zeros_like(h)
    for n in range(batch):
        for i in range(positions):
            s = [sum(float(f[n, i, c]) * float(g[n, j, c]) for c in range(narrow)) for j in range(positions)]
            top = max(s)
            e = [math.exp(v - top) for v in s]
            for c in range(h.shape[2]):
                out[n, i, c] = sum(e[j] * float(h[n, j, c]) for j in range(positions)) / sum(e)
    return out


def whole_map(f: torch.Tensor, g: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    return torch.softmax(f @ g.transpose(1, 2), dim=2) @ h


def tensors(batch: int, positions: int, narrow: int, wide: int, scale: float = 1.0, dtype=torch.double):
    generator = torch.Generator().manual_seed(7)
    sizes = (narrow, narrow, wide)
    f, g, h = (torch.randn(batch, positions, c, generator=generator, dtype=dtype) for c in sizes)
    return f * scale, g * scale, h


@pytest.fixture(params=["rows", "images", "whole"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way to cut the map, at sizes small enough for loops."""
    if request.param != "whole":
        monkeypatch.setattr(attention, "SMALL_MAP", 0)
        monkeypatch.setattr(attention, "BLOCK_ENTRIES", {"rows": 35, "images": 2 * 11 * 11 + 5}[request.param])
    return request.param


@pytest.mark.parametrize("scale", [0.5, 3.0, 12.0])
def test_forward_matches_loops(blocks: str, scale: float) -> None:
    f, g, h = tensors(3, 11, 2, 5, scale)
    torch.testing.assert_close(attend(f, g, h), by_loops(f, g, h), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_backward_is_the_derivative(blocks: str, scale: float) -> None:
    inputs = [x.requires_grad_() for x in tensors(3, 11, 2, 5, scale)]
    assert torch.autograd.gradcheck(attend, inputs)


@pytest.mark.parametrize(("positions", "narrow", "wide"), [(1024, 4, 32), (256, 8, 64), (64, 16, 128)])
def test_single_precision_at_the_stages_of_64_px(positions: int, narrow: int, wide: int) -> None:
    inputs = [x.requires_grad_() for x in tensors(2, positions, narrow, wide, 0.7)]
    singles = [x.detach().float().requires_grad_() for x in inputs]
    grad = torch.randn(2, positions, wide, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    expected = [whole := whole_map(*inputs), *torch.autograd.grad(whole, inputs, grad)]
    got = [out := attend(*singles), *torch.autograd.grad(out, singles, grad.float())]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=2e-5)


def test_huge_products_neither_overflow_nor_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SMALL_MAP", 0)
    inputs = [x.float().requires_grad_() for x in tensors(2, 40, 4, 8, 30.0)]
    out = attend(*inputs)
    gradients = torch.autograd.grad(out.sum(), inputs)
    torch.testing.assert_close(out, whole_map(*inputs), rtol=1e-4, atol=1e-4)
    assert all(torch.isfinite(x).all() for x in gradients)


def test_an_image_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SMALL_MAP", 0)
    f, g, h = tensors(6, 256, 8, 16, dtype=torch.float)
    f = torch.cat((f[:3] * 0.1, f[3:] * 20))  # images with and without a shift in one block
    together = attend(f, g, h)
    alone = torch.cat([attend(f[i : i + 1], g[i : i + 1], h[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.equal(together, attend(f, g, h))


def test_autocast_computes_in_single_precision_and_keeps_the_type() -> None:
    torch.manual_seed(0)
    module, x = SelfAttention(32), torch.rand(2, 32, 16, 16)
    module.gamma.data.fill_(1.0)
    with torch.autocast("cpu", torch.bfloat16):
        low = module(x)
    low.float().sum().backward()
    torch.testing.assert_close(low.float(), module(x), rtol=0.02, atol=0.02)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())


def test_starts_as_the_identity() -> None:
    x = torch.rand(2, 32, 12, 12)
    assert torch.equal(SelfAttention(32)(x), x)


@pytest.mark.slow
def test_exports_to_plain_operators() -> None:
    torch.manual_seed(0)
    module, x = SelfAttention(16).eval(), torch.rand(1, 16, 12, 12)
    module.gamma.data.fill_(1.0)
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x), module(x), rtol=1e-5, atol=1e-5)


MEMORY = """
import resource, torch
from facetell.networks.attention import attend
torch.set_num_threads(1)
f, g, h = (torch.randn(1, 12544, c).requires_grad_() for c in (4, 4, 8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
attend(f, g, h).sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_the_map_of_224_px_is_never_in_memory() -> None:
    pytest.importorskip("resource")
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 120  # MiB; the map alone is 629 MB
