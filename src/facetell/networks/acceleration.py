"""What makes the same network run faster on the machine at hand: precision, memory layout, folded norms.

Nothing here changes what is computed; answers agree up to rounding, and parameters keep their names.
``benchmarks/speed.py`` measures each lever.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facetell.networks.convolution import quick_convolutions

__all__ = ["channels_last", "fast_inference", "preferred_precision"]

CPU_INFO = Path("/proc/cpuinfo")


def preferred_precision(device: torch.device | str) -> str:
    """Fabric's name of the precision that is quickest on ``device``: ``"bf16-mixed"`` or ``"32-true"``.

    bfloat16 pays where the processor multiplies it faster than single precision: GPUs that support it, CPUs with AMX,
    and AMD's with AVX-512 BF16 (FDFtNet on Xception: 2.2 times as fast). Intel's AVX-512 BF16 without AMX has half the
    throughput of its single precision (90 against 164 GFLOP/s in a 2,048 × 728 × 728 product), so not there. Decided by
    the processor's flags and not by timing, so that the same machine always computes the same.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if device.type == "cpu" and _cpu_has_quick_bfloat16():
        return "bf16-mixed"
    return "32-true"


def _cpu_has_quick_bfloat16() -> bool:
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    fields = {key.strip(): value.split() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", [])
    return "amx_bf16" in flags or ("avx512_bf16" in flags and fields.get("vendor_id") == ["AuthenticAMD"])


def channels_last(module: nn.Module) -> nn.Module:
    """Store ``module``'s maps channels-last, and let its convolutions take the quick way where there is one.

    In place, and returned. Give it channels-last images: ``images.contiguous(memory_format=torch.channels_last)``.
    """
    return quick_convolutions(module.to(memory_format=torch.channels_last))


@torch.no_grad()
def fast_inference(network: nn.Module, size: int) -> nn.Module:
    """A copy of ``network`` for scoring ``size`` × ``size`` images: evaluation mode, channels-last, batch norms folded.

    A batch norm that follows a convolution is a fixed scale and shift in evaluation mode, so it moves into the
    convolution's weights; one pass over every map less. Answers agree up to rounding; where folding would change them
    (a map that is used before its norm as well), the copy keeps its norms. It cannot be trained.
    """
    fast = channels_last(copy.deepcopy(network).eval()).requires_grad_(False)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    images = images.to(next(fast.parameters()).device).contiguous(memory_format=torch.channels_last)
    expected = fast(images)
    folded = copy.deepcopy(fast)
    for conv_name, norm_name in _conv_norm_pairs(folded, images):
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        _replace(folded, conv_name, channels_last(fuse_conv_bn_eval(conv, norm)))
        _replace(folded, norm_name, nn.Identity())
    folded.requires_grad_(False)
    scale = float(expected.abs().max()) + 1.0
    return folded if float((folded(images) - expected).abs().max()) <= 1e-4 * scale else fast


def _conv_norm_pairs(network: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Names of each convolution and the batch norm that reads its untouched output, both used once in a pass."""
    made: dict[int, tuple[str, Tensor, int]] = {}
    uses: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def after_conv(name: str, _m: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        uses[name] = uses.get(name, 0) + 1
        made[id(output)] = (name, output, output._version)  # the tensor is kept, so its id stays its own

    def before_norm(name: str, _m: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        uses[name] = uses.get(name, 0) + 1
        conv, _, version = made.get(id(inputs[0]), ("", inputs[0], -1))
        if version == inputs[0]._version:
            pairs.append((conv, name))

    handles = []
    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d):
            handles.append(part.register_forward_hook(functools.partial(after_conv, name)))
        elif type(part) is nn.BatchNorm2d and part.track_running_stats:
            handles.append(part.register_forward_pre_hook(functools.partial(before_norm, name)))
    network(images)
    for handle in handles:
        handle.remove()
    return [(conv, norm) for conv, norm in pairs if uses[conv] == uses[norm] == 1]


def _replace(network: nn.Module, name: str, part: nn.Module) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(path), leaf, part)
