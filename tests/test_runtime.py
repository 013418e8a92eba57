from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from facetell import allocator
from facetell.networks import acceleration as runtime
from facetell.networks.backbones import build_backbone
from facetell.networks.convolution import PointwiseConv2d, TrimmedConv2d
from facetell.networks.ftt import FDFtNet, FineTuneTransformer
from facetell.networks.mbblock import MobileNetHead


def trained(network: nn.Module) -> nn.Module:
    """Random norms and γ, as after training: fresh ones hide mistakes, being identities."""
    torch.manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
        if hasattr(part, "gamma"):
            nn.init.constant_(part.gamma, 0.5)
    return network


def fdftnet(backbone: str = "squeezenet1_0", size: int = 64) -> nn.Module:
    torch.manual_seed(0)
    body = build_backbone(backbone, size)
    channels = body.map_shape(size)[0]
    return trained(FDFtNet(body, MobileNetHead(channels, 2), FineTuneTransformer())).eval()


def test_allocator_is_idempotent_and_silent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allocator.tune_allocator() is allocator.tune_allocator()
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator.tune_allocator.__wrapped__() is False


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        ("GenuineIntel", "fma avx512f avx512_bf16", "32-true"),
        ("GenuineIntel", "fma avx512f avx512_bf16 amx_bf16 amx_tile", "bf16-mixed"),
        ("AuthenticAMD", "fma avx512f avx512_bf16", "bf16-mixed"),
        ("AuthenticAMD", "fma avx2", "32-true"),
    ],
)
def test_precision_follows_the_processor(monkeypatch, tmp_path, vendor: str, flags: str, precision: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\n")
    monkeypatch.setattr(runtime, "CPU_INFO", info)
    assert runtime.preferred_precision("cpu") == precision


def test_precision_without_processor_information_is_single(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(runtime, "CPU_INFO", tmp_path / "absent")
    assert runtime.preferred_precision(torch.device("cpu")) == "32-true"


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_pointwise_matches_the_plain_convolution(stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 10, 1, stride=stride, bias=bias).double()
    compare(plain, PointwiseConv2d, torch.randn(3, 6, 5, 4, dtype=torch.double))


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 3), (2, 7), (6, 6)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_trimmed_matches_the_plain_convolution(shape: tuple[int, int], kernel: int, groups: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, padding=kernel // 2, groups=groups).double()
    compare(plain, TrimmedConv2d, torch.randn(3, 6, *shape, dtype=torch.double))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_bfloat16_gradients_are_those_of_single_precision(side: int) -> None:
    """Where a kernel is larger than its map the library's own bfloat16 gradients were seen to be garbage."""
    torch.manual_seed(0)
    conv = runtime.channels_last(nn.Conv2d(128, 128, 5, padding=2, bias=False))
    x = torch.randn(16, 128, side, side).contiguous(memory_format=torch.channels_last)
    expected = torch.autograd.grad(conv(x).square().mean(), conv.parameters())[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    found = torch.autograd.grad(y.float().square().mean(), conv.parameters())[0]
    assert float((found - expected).abs().max()) < 0.05 * float(expected.abs().max())


def compare(plain: nn.Conv2d, quick_class: type[nn.Conv2d], x: torch.Tensor) -> None:
    x = x.contiguous(memory_format=torch.channels_last)
    results = []
    for quick in (False, True):
        if quick:
            runtime.channels_last(plain)
            assert type(plain) is quick_class
        leaf = x.clone().requires_grad_()
        out = plain(leaf)
        gradients = torch.autograd.grad(out.square().sum(), [leaf, *plain.parameters()])
        results.append([out.detach(), *gradients])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_channels_last_keeps_names_and_answers() -> None:
    network = fdftnet()
    names, images = list(network.state_dict()), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        runtime.channels_last(network)
        got = network(images.contiguous(memory_format=torch.channels_last))
    assert list(network.state_dict()) == names
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["squeezenet1_0", "xception"])
def test_fast_inference_agrees_and_folds(backbone: str) -> None:
    network = fdftnet(backbone)
    images = torch.rand(4, 3, 64, 64)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast = runtime.fast_inference(network, 64)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.ftt.modules())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.mb.modules())
    with torch.inference_mode():
        expected, got = network(images), fast(images.contiguous(memory_format=torch.channels_last))
        alone = torch.cat([fast(image[None].contiguous(memory_format=torch.channels_last)) for image in images])
    scale = float(expected.abs().max()) + 1
    torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone / scale, got / scale, rtol=0, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


class ReadsMapTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return (self.norm(y) + y).mean(dim=(1, 2, 3))


class TouchesMap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x).relu_()).mean(dim=(1, 2, 3))


@pytest.mark.parametrize("network_class", [ReadsMapTwice, TouchesMap])
def test_fast_inference_leaves_what_cannot_be_folded(network_class: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = trained(network_class()).eval()
    fast = runtime.fast_inference(network, 8)
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(fast(images), network(images), rtol=1e-5, atol=1e-6)
    assert isinstance(fast.norm, nn.BatchNorm2d)


ARENAS = """
import ctypes, sys, threading
from facetell import allocator
if sys.argv[2] == "one":
    assert allocator.share_one_arena()
libc, barrier = ctypes.CDLL("libc.so.6"), threading.Barrier(5)
def take():
    kept = [bytes(1000) for _ in range(100)]
    barrier.wait()
    barrier.wait()
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
barrier.wait()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
barrier.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_threads_share_one_arena(tmp_path: Path) -> None:
    """As glibc itself counts them."""
    found = {}
    for how in ("one", "many"):
        subprocess.run([sys.executable, "-c", ARENAS, tmp_path / how, how], check=True)
        found[how] = (tmp_path / how).read_text().count("<heap nr=")
    assert found["one"] == 1
    assert found["many"] > 1
