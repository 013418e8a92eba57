"""Vision transformers and others by timm's names: sizes, vectors, files, and how many parameters learn in each mode.

Counts are from the papers' layer shapes. Everything large lies on torch's ``meta`` device, where nothing is computed.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from facetell.errors import DataError
from facetell.methods.finetune import METHOD, Classifier, FinetuneSettings, begin
from facetell.networks.backbones import build_backbone, load_library_tensors
from facetell.settings import resolve

VIT_B, VIT_L, CLIP_B = "vit_base_patch16_224", "vit_large_patch14_clip_224.openai", "vit_base_patch16_clip_224.openai"
DINO2_S, DINO2_B = "vit_small_patch14_dinov2.lvd142m", "vit_base_patch14_dinov2.lvd142m"
DINO3_S = "vit_small_patch16_dinov3.lvd1689m"


def learning(name: str, size: int, train: str, **change: Any) -> int:
    settings = FinetuneSettings(backbone=name, pretrained="none", size=size, train=train, **change)
    with torch.device("meta"):
        network = METHOD.build(settings)
        assert isinstance(network, Classifier)
        groups = begin(network, train, settings).groups
    found = {id(p): p.numel() for p in network.parameters() if p.requires_grad}
    in_groups = {id(p) for group in groups for p in group["params"] if p.requires_grad}  # type: ignore[attr-defined]
    assert in_groups == set(found)  # the optimiser gets just these
    return sum(found.values()) - (network.head.dense.in_features + 1)  # type: ignore[union-attr, operator]


def block(width: int) -> int:
    """A block of a vision transformer: attention 4 D² + 4 D, an MLP of 4 D hidden 8 D² + 5 D, two norms 4 D."""
    return 12 * width**2 + 13 * width


def lora(width: int, blocks: int, patch: int, rank: int) -> int:
    """Of the patches' projection, and in a block of query-key-value, output and both layers of the MLP."""
    return rank * ((width + 3 * patch**2) + blocks * (4 * width + 2 * width + 5 * width + 5 * width))


@pytest.mark.parametrize(
    ("name", "size", "train", "expected"),
    [
        (VIT_B, 224, "head", 0),
        (VIT_B, 224, "norms", 25 * 2 * 768),  # two a block and the last
        (VIT_B, 224, "last-block", block(768) + 2 * 768),
        (VIT_B, 224, "lora", lora(768, 12, 16, 8)),
        (VIT_B, 224, "svd", 12 * 4 * (768 + 768 + 1)),
        (VIT_B, 224, "all", 86_567_656 - 769_000),  # ViT-B/16 of Dosovitskiy et al. less its classifier of 1,000
        (VIT_L, 224, "norms", 50 * 2 * 1024),  # GenD: 0.03% of 303 million; one more before the blocks than in ViT
        (VIT_L, 224, "svd", 24 * 4 * (1024 + 1024 + 1)),  # Effort: 0.19 million
        (VIT_L, 224, "all", 303_179_776),  # CLIP's image tower without its projection
        (CLIP_B, 128, "norms", 26 * 2 * 768),
        (DINO2_S, 126, "norms", 25 * 2 * 384),
        (DINO2_S, 126, "lora", lora(384, 12, 14, 8)),
        (DINO2_B, 224, "svd", 12 * 4 * (768 + 768 + 1)),
        (DINO3_S, 128, "norms", 25 * 2 * 384),
        (DINO3_S, 128, "svd", 12 * 4 * (384 + 384 + 1)),
    ],
)
def test_as_many_parameters_learn_as_the_papers_layers_have(name: str, size: int, train: str, expected: int) -> None:
    assert learning(name, size, train) == expected


def test_the_rank_multiplies() -> None:
    assert learning(VIT_B, 224, "lora", rank=2) == lora(768, 12, 16, 2)
    assert learning(VIT_B, 224, "svd", rank=3) == 3 * learning(VIT_B, 224, "svd")


def lite2() -> tuple[int, int, int]:
    """Of EfficientNet-Lite2 the values of batch norms, of rank-8 products and of rank-1 components.

    EfficientNet's table of stages at width 1.1 and depth 1.2; Lite keeps the stem, the last layer, and the depth of the
    first and last stage.
    """
    stages = [(1, 16, 1), (6, 24, 2), (6, 40, 2), (6, 80, 3), (6, 112, 3), (6, 192, 4), (6, 320, 1)]
    norms, dense, before = 32, [(32, 3 * 9)], 32
    for number, (expansion, width, repeats) in enumerate(stages):
        out = max(8, int(width * 1.1 + 4) // 8 * 8)
        out += 8 * (out < 0.9 * width * 1.1)
        for _ in range(repeats if number in (0, 6) else math.ceil(1.2 * repeats)):
            inside = before * expansion
            if expansion > 1:
                norms += inside
                dense.append((inside, before))
            norms += inside + out  # of the depthwise convolution, which has no product and no components
            dense.append((out, inside))
            before = out
    dense.append((1280, before))
    return 2 * (norms + 1280), sum(8 * (a + b) for a, b in dense), sum(a + b + 1 for a, b in dense)


@pytest.mark.parametrize("train", ["norms", "lora", "svd"])
def test_the_counts_of_a_convolutional_network(train: str) -> None:
    expected = dict(zip(("norms", "lora", "svd"), lite2(), strict=True))
    assert learning("tf_efficientnet_lite2", 128, train) == expected[train]


def test_the_presets_of_the_papers_build() -> None:
    for preset in ("gend", "effort"):
        settings: Any = resolve(METHOD.settings, METHOD.presets[preset])
        with torch.device("meta"):
            network = METHOD.build(settings)
            assert network(torch.zeros(2, 3, 224, 224)).shape == (2,)
            assert network.head.dense.in_features == 1024  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "size", "places"),
    [
        (CLIP_B, 128, 8),
        (DINO2_S, 126, 9),
        (DINO2_B, 518, 37),
        (DINO3_S, 64, 4),
        ("convnext_tiny.dinov3_lvd1689m", 128, 4),
    ],
)
def test_they_build_at_the_size_that_is_asked_for(name: str, size: int, places: int) -> None:
    with torch.device("meta"):
        assert build_backbone(name, size).map_shape(size)[1:] == (places, places)


SMALL = "vit_xsmall_patch16_clip_224"


def test_the_vector_head_reads_the_class_token() -> None:
    settings = FinetuneSettings(backbone=SMALL, pretrained="none", size=64, head="vector")
    network: Any = METHOD.build(settings).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        network.head.dense.weight.normal_()
        body = network.backbone.body.model
        token = body.forward_features((images - network.backbone.mean) / network.backbone.std)[:, 0]
        torch.testing.assert_close(network(images), network.head.dense(token).squeeze(1))
        assert network.backbone.map_shape(64) == (token.shape[1], 1, 1)
    assert list(network.state_dict()) == list(METHOD.build(FinetuneSettings(backbone=SMALL, size=64)).state_dict())


def test_a_file_for_another_size_is_read_with_its_positions_resampled() -> None:
    source, target = build_backbone(SMALL, 96), build_backbone(SMALL, 64)
    tensors = {key: tensor.clone() for key, tensor in source.body.model.state_dict().items()}
    tensors["pos_embed"] = torch.randn_like(tensors["pos_embed"])
    load_library_tensors(target, tensors)
    found = target.body.model.state_dict()
    grid = tensors["pos_embed"][:, 1:].reshape(1, 6, 6, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=(4, 4), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found["pos_embed"], torch.cat([tensors["pos_embed"][:, :1], resized], dim=1))
    assert all(torch.equal(found[name], tensors[name]) for name in found if name != "pos_embed")
    for wrong in ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"):
        with pytest.raises(DataError, match=wrong):
            load_library_tensors(target, tensors | {wrong: torch.zeros(*tensors[wrong].shape[:-1], 8)})
    with pytest.raises(DataError, match=r"norm\.weight is missing"):
        load_library_tensors(target, {name: tensor for name, tensor in tensors.items() if name != "norm.weight"})
