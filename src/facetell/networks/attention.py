"""Self-attention over all positions of a feature map (FDFtNet, Table 1 and equations 1 to 3).

The first attention of the Fine-Tune Transformer has 1,024 positions at 64×64 input and 12,544 at 224×224, so its map
has up to 157 million entries per image. It is never stored: both passes walk over blocks of the map that stay in the
processor's cache, and the backward pass computes each block again. The mathematics is exact.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from facetell.networks.convolution import runs_here

__all__ = ["SelfAttention", "attend"]

BLOCK_ENTRIES = 1 << 19
"""Entries of the attention map held at a time on a CPU: 2 MiB in single precision, a common size of L2 caches."""

EXPORTED_ENTRIES = 1 << 21
"""Entries of one image's map that an exported network holds at a time: 8 MiB, in at most 75 steps at 224×224."""

SMALL_MAP = 1 << 14
"""Entries per image up to which the whole map is simply computed: blocks only pay for larger ones."""

SAFE_EXPONENT = 40.0
"""Products up to ±40 need no shift: exp(±40) and sums of millions of them are far from single precision's limits."""


class _BlockwiseAttention(torch.autograd.Function):
    """``softmax(f gᵀ) h`` block by block, for processors without a fused kernel for these shapes.

    On one core the time goes into passes over the map, so there are as few as possible: the forward pass divides the
    small result instead of the map, and the backward pass folds what it subtracts from every row (the logarithm of
    the row's sum; the row's dot product with the gradient) into the matrix products as one more column.
    """

    @staticmethod
    def forward(ctx, f: Tensor, g: Tensor, h: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        out = torch.empty_like(h, memory_format=torch.contiguous_format)
        log_sum = f.new_empty(*f.shape[:2], 1)
        keys = g.transpose(1, 2).contiguous()
        safe = _needs_no_shift(f, g)
        scratch = f.new_empty(_scratch_entries(f))
        for images, rows in _blocks(f):
            weights = _map_view(scratch, images, rows, f.shape[1])
            torch.bmm(f[images, rows], keys[images], out=weights)
            shift = None
            if not safe[images].all():
                # Per image, so that an image's answer does not depend on what else is in the batch.
                shift = weights.amax(dim=2, keepdim=True).masked_fill_(safe[images, None, None], 0.0)
                weights.sub_(shift)
            weights.exp_()
            total = weights.sum(dim=2, keepdim=True)
            out[images, rows] = torch.bmm(weights, h[images]).div_(total)
            log_sum[images, rows] = total.log_() if shift is None else total.log_().add_(shift)
        ctx.save_for_backward(f, g, h, out, log_sum)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[no-untyped-def]
        f, g, h, out, log_sum = ctx.saved_tensors
        positions = f.shape[1]
        ones = f.new_ones(*f.shape[:2], 1)
        queries = torch.cat((f, -log_sum), dim=2)
        keys = torch.cat((g, ones), dim=2).transpose(1, 2).contiguous()
        grad_shifted = torch.cat((grad, -(grad * out).sum(dim=2, keepdim=True)), dim=2)
        values = torch.cat((h, ones), dim=2).transpose(1, 2).contiguous()
        # Row-major (channels, positions) operands: several times faster than (positions, channels) for 4 channels.
        f_rows, grad_rows = (x.transpose(1, 2).contiguous() for x in (f, grad))
        grad_f = torch.empty_like(f)
        grad_g, grad_h = torch.zeros_like(f_rows), torch.zeros_like(grad_rows)
        scratch, inner_scratch = f.new_empty(2, _scratch_entries(f))
        for images, rows in _blocks(f):
            weights = _map_view(scratch, images, rows, positions)
            inner = _map_view(inner_scratch, images, rows, positions)
            torch.bmm(queries[images, rows], keys[images], out=weights).exp_()
            grad_h[images].baddbmm_(grad_rows[images, :, rows], weights)
            torch.bmm(grad_shifted[images, rows], values[images], out=inner).mul_(weights)
            grad_f[images, rows] = torch.bmm(inner, g[images])
            grad_g[images].baddbmm_(f_rows[images, :, rows], inner)
        return grad_f, grad_g.transpose(1, 2), grad_h.transpose(1, 2)


def _needs_no_shift(f: Tensor, g: Tensor) -> Tensor:
    """Whether every product of an image's queries and keys is surely within ±``SAFE_EXPONENT`` (Cauchy-Schwarz)."""
    longest_f, longest_g = (torch.linalg.vector_norm(x, dim=2).amax(dim=1) for x in (f, g))
    return longest_f * longest_g <= SAFE_EXPONENT


def _block_shape(f: Tensor) -> tuple[int, int]:
    """Images and rows per block: whole maps of several images, or some rows of one."""
    batch, positions, _ = f.shape
    rows = max(1, min(positions, BLOCK_ENTRIES // positions))
    images = max(1, min(batch, BLOCK_ENTRIES // positions**2)) if rows == positions else 1
    return images, rows


def _scratch_entries(f: Tensor) -> int:
    images, rows = _block_shape(f)
    return images * rows * f.shape[1]


def _blocks(f: Tensor) -> Iterator[tuple[slice, slice]]:
    batch, positions, _ = f.shape
    images, rows = _block_shape(f)
    for image in range(0, batch, images):
        for row in range(0, positions, rows):
            yield slice(image, min(image + images, batch)), slice(row, min(row + rows, positions))


def _map_view(scratch: Tensor, images: slice, rows: slice, positions: int) -> Tensor:
    shape = (images.stop - images.start, rows.stop - rows.start, positions)
    return scratch[: shape[0] * shape[1] * shape[2]].view(shape)


def _exported(f: Tensor) -> list[Tensor]:
    """The queries in as many parts as keep the map of one image small: an ONNX file names each of them."""
    positions = int(f.shape[1])
    rows = max(1, EXPORTED_ENTRIES // positions)
    return [f[:, row : row + rows] for row in range(0, positions, rows)]


def attend(f: Tensor, g: Tensor, h: Tensor) -> Tensor:
    """Return ``softmax(f gᵀ) h`` without scaling (equations 1 and 2).

    ``f``, ``g``: (N, positions, C/b); ``h``: (N, positions, C). Result: (N, positions, C), in the precision of ``h``.
    On a CPU it is computed in single precision at least, whatever the autocast.
    """
    if runs_here(h):
        exact = torch.promote_types(h.dtype, torch.float32)
        with torch.autocast("cpu", enabled=False):
            f, g, values = f.to(exact), g.to(exact), h.to(exact)
            if f.shape[1] ** 2 <= SMALL_MAP:
                out: Tensor = torch.softmax(f @ g.transpose(1, 2), dim=2) @ values
            else:
                out = _BlockwiseAttention.apply(f, g, values)
            return out.to(h.dtype)
    if torch.onnx.is_in_onnx_export():
        return torch.cat([torch.softmax(rows @ g.transpose(1, 2), dim=2) @ h for rows in _exported(f)], dim=1)
    # Fused kernels want one width for queries, keys and values: zeros add nothing to the products.
    pad = h.shape[-1] - f.shape[-1]
    f, g = F.pad(f, (0, pad)), F.pad(g, (0, pad))
    return F.scaled_dot_product_attention(f[:, None], g[:, None], h[:, None], scale=1.0)[:, 0]


class SelfAttention(nn.Module):
    """Self-attention module: ``y = γ · softmax(f gᵀ) h + x`` (Table 1, equation 3).

    ``f`` and ``g`` are 1×1 convolutions to ``channels / bottleneck``, ``h`` to ``channels``, all with bias; ``γ``
    starts at 0, so the module starts as the identity. (N, C, H, W) in and out.
    """

    def __init__(self, channels: int, bottleneck: int = 8) -> None:
        super().__init__()
        self.f = nn.Conv2d(channels, channels // bottleneck, 1)
        self.g = nn.Conv2d(channels, channels // bottleneck, 1)
        self.h = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        f, g, h = (conv(x).flatten(2).transpose(1, 2) for conv in (self.f, self.g, self.h))  # (N, H·W, ·)
        o = attend(f, g, h).transpose(1, 2).reshape(x.shape)
        return self.gamma * o + x
