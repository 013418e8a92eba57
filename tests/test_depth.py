"""Statistics of a backbone's maps: against loops and SciPy, for every layout of a map."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from lessons import SIZE, pictures
from torch import nn

from facetell.faceset.decoded import DecodedImages
from facetell.faceset.samples import Samples
from facetell.networks.acceleration import fast_inference
from facetell.networks.backbones import build_backbone
from facetell.networks.depth import DepthStatistics, statistics
from facetell.training.fabric import make_fabric
from facetell.training.vectors import extract


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 4, 1, 9), (2, 2, 3, 1), (3, 1, 1, 1)])
def test_mean_and_deviation_of_each_channel(shape: tuple[int, ...]) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).exp() - 1
    found = statistics(maps)
    assert found.shape == (shape[0], 2 * shape[1])
    for image in range(shape[0]):
        for channel in range(shape[1]):
            mine, grid = found[image].view(2, shape[1])[:, channel], maps[image, channel].numpy()
            np.testing.assert_allclose(mine, [grid.mean(), grid.std()], rtol=1e-9, atol=1e-12)


def test_they_do_not_depend_on_how_the_map_lies_in_memory() -> None:
    maps = torch.rand(3, 6, 8, 8)
    torch.testing.assert_close(statistics(maps.contiguous(memory_format=torch.channels_last)), statistics(maps))


def test_blocks_from_the_stem_on() -> None:
    backbone = build_backbone("squeezenet1_1", 48)
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))

    def read(x: torch.Tensor) -> torch.Tensor:
        x = (x - backbone.mean) / backbone.std
        parts = []
        assert isinstance(backbone.body, nn.Sequential)
        for child in backbone.body:
            x = child(x)
            if type(child).__name__ == "Fire":
                parts.append(statistics(x))
        return torch.cat(parts[:6], dim=1)  # 75% of eight

    with torch.no_grad():
        expected = read(images)
        found = DepthStatistics(backbone, 48)
        torch.testing.assert_close(found(images), expected)
        assert found.length == expected.shape[1]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(found(images), expected)
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert not any(part.training for part in found.train().modules())


def test_what_is_not_read_is_taken_out() -> None:
    """EfficientNet-Lite2 has 21 blocks (timm: 1, 3, 3, 4, 4, 5 and 1 in its stages), of which the last four are not read."""
    backbone = build_backbone("tf_efficientnet_lite2", 64)
    whole = dict(backbone.named_parameters())
    found = DepthStatistics(backbone, 64)
    stages = [
        f"body.model.blocks.{stage}" + f".{block}" * (count > 1)
        for stage, count in enumerate((1, 3, 3, 4, 4, 5, 1))
        for block in range(count)
    ]
    assert found.names == ["body.model.bn1", *stages[:17]]
    gone = {
        name
        for name in whole
        if name.startswith((*(f"{name}." for name in stages[17:]), "body.model.conv_head", "body.model.bn2"))
    }
    assert set(dict(backbone.named_parameters())) == set(whole) - gone
    again = DepthStatistics(copy.deepcopy(backbone), 64)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(images), found(images))
        quick = fast_inference(found, 64)
        torch.testing.assert_close(quick(images), found(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "size", "blocks"), [("deit_tiny_patch16_224", 32, 10), ("resnet10t", 48, 3)])
def test_other_layouts(name: str, size: int, blocks: int) -> None:
    """Tokens of a transformer are a row; twelve blocks of DeiT, of which ten are read."""
    found = DepthStatistics(build_backbone(name, size), size)
    assert len(found.names) >= blocks
    with torch.no_grad():
        vectors = found(torch.rand(2, 3, size, size))
    assert vectors.shape == (2, found.length)
    assert torch.isfinite(vectors).all()


def test_kept_ones_are_those_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extracted in batches by the quick network, and read from the cache at the second time."""
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    samples = pictures(tmp_path / "pictures", 5, 3)
    found = DepthStatistics(build_backbone("squeezenet1_1", SIZE), SIZE)
    fabric = make_fabric("32-true", "cpu")
    first = extract(found, samples, fabric)
    images = torch.from_numpy(samples.images.gather(samples.rows)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        np.testing.assert_allclose(first, found(images).numpy(), rtol=1e-4, atol=1e-4)
    reads = []
    monkeypatch.setattr(DecodedImages, "gather", lambda *_: reads.append(1))
    some = Samples(samples.images, samples.rows[::-1], samples.labels, samples.groups)
    np.testing.assert_array_equal(extract(found, some, fabric), first[::-1])
    assert not reads
