"""Parameter counts and shapes against Tables 1 to 3 of the FDFtNet paper and the authors' logs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from keras_count import keras_count
from safetensors.torch import load_file
from timm.layers import pad_same
from torch import nn
from torch.nn import functional as F

from facetell.errors import DataError, SettingsError
from facetell.networks.attention import SelfAttention
from facetell.networks.backbones import build_backbone, default_head, load_library_tensors
from facetell.networks.ftt import FDFtNet, FineTuneTransformer
from facetell.networks.heads import TwoWay
from facetell.networks.mbblock import MBBlockV3, MobileNetHead
from facetell.networks.mobilenet import StridedConv
from facetell.networks.squeezenet import squeezenet_features


def counts(module: nn.Module, kind: type) -> list[int]:
    return [keras_count(m)[0] for m in module.modules() if isinstance(m, kind)]


@pytest.mark.parametrize(("channels", "total"), [(64, 5_201), (32, 1_321), (128, 20_641)])
def test_table_1_self_attention(channels: int, total: int) -> None:
    attention = SelfAttention(channels)
    assert keras_count(attention)[0] == total
    assert keras_count(attention.f)[0] == keras_count(attention.g)[0] == channels // 8 * (channels + 1)
    assert keras_count(attention.h)[0] == channels * (channels + 1)
    assert attention.gamma.item() == 0.0


def test_table_2_fine_tune_transformer_row_by_row() -> None:
    ftt = FineTuneTransformer()
    x = torch.zeros(1, 3, 64, 64)
    rows = []
    for stage in ftt.stages:
        depthwise, pointwise, norm, _, attention = stage
        x = stage(x)
        rows.append(
            (keras_count(depthwise)[0] + keras_count(pointwise)[0], keras_count(norm)[0], keras_count(attention)[0],
             tuple(x.shape[1:]))
        )  # fmt: skip
    assert rows == [
        (123, 128, 1_321, (32, 32, 32)),
        (2_336, 256, 5_201, (64, 16, 16)),
        (8_768, 512, 20_641, (128, 8, 8)),
    ]
    assert [keras_count(layer)[0] for layer in ftt.project] == [73_728, 2_304, 0]
    assert ftt(torch.zeros(2, 3, 64, 64)).shape == (2, 576)
    assert keras_count(ftt)[0] == 115_318


def test_table_3_mb_block_row_by_row() -> None:
    block = MBBlockV3(512)  # the printed 294,912 weights of the first convolution belong to 512 channels
    assert [keras_count(layer)[0] for layer in block.block] == [
        294_912, 2_304, 0, 5_184, 2_304, 2 * 82_944, 0, 73_728, 512,
    ]  # fmt: skip
    gate = block.block[5].gate
    assert [keras_count(layer)[0] for layer in gate] == [0, 82_944, 0, 82_944, 0]
    assert block(torch.zeros(1, 512, 8, 8)).shape == (1, 128, 8, 8)
    assert MBBlockV3(512, stride=2)(torch.zeros(1, 512, 8, 8)).shape == (1, 128, 4, 4)


def test_mb_block_adds_where_shapes_agree() -> None:
    block = MBBlockV3(128).eval()
    with torch.no_grad():
        block.block[-1].weight.zero_()  # the last batch norm silences the block: only the residual is left
        x = torch.randn(2, 128, 4, 4)
        assert torch.equal(block(x), x)
    assert not MBBlockV3(64).residual
    assert not MBBlockV3(128, stride=2).residual


@pytest.mark.slow
def test_golden_counts_of_the_authors_log() -> None:
    backbone = build_backbone("xception", 64)
    assert keras_count(backbone) == (20_861_480, 20_806_952)  # Keras' Xception without top
    network = FDFtNet(backbone, MobileNetHead(2048, blocks=4), FineTuneTransformer())
    whole, trainable = keras_count(network)
    assert (whole - 20_861_480, trainable - 20_806_952) == (2_620_664, 2_607_672)
    assert [keras_count(block)[0] for block in network.mb.blocks] == [1_429_568, 332_864, 332_864, 332_864]
    assert keras_count(network.mb.project)[0] == 76_032
    assert keras_count(network.head)[0] == 1_154


@pytest.mark.slow
def test_shallownetv3_layer_by_layer() -> None:
    backbone = build_backbone("shallownetv3", 64)
    convolutions = [2_432, 1_056, 1_056, 18_496, 4_160, 4_160, 73_856, 4_128]
    assert counts(backbone, nn.Conv2d) == convolutions
    assert sum(convolutions) == 109_344
    assert backbone.map_shape(64) == (32, 12, 12)
    head = default_head(backbone, 64)
    assert counts(head, nn.Linear) == [4_719_616, 2_050]
    assert counts(head, nn.BatchNorm1d) == [4_096]
    assert keras_count(head)[0] == 4_725_762
    assert keras_count(backbone)[0] + keras_count(head)[0] == 4_835_106


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels", "side", "parameters"),
    [
        ("squeezenet1_0", 512, 3, 735_424),  # 1,248,424 of torchvision minus 513,000 of its classifier
        ("squeezenet1_1", 512, 3, 722_496),
        ("resnetv2_50", 2048, 2, 23_500_352),
        ("mobilenetv2_100", 1280, 2, 2_223_872),
        ("mobilenet_v2_tf", 1280, 2, 2_206_816),  # of mobilenetv2_100 a batch norm's gain and bias are one bias here
        ("cffn", 512, 1, 33_915_008),  # 33,990,920 of Salpekar's network minus its two ends, see test_siamese.py
        ("cffn_icip", 256, 3, 6_600_576),
    ],
)
def test_backbones_end_in_their_last_map(name: str, channels: int, side: int, parameters: int) -> None:
    backbone = build_backbone(name, 64)
    assert backbone.map_shape(64) == (channels, side, side)
    assert keras_count(backbone)[1] == parameters
    assert default_head(backbone, 64)(backbone(torch.zeros(2, 3, 64, 64))).shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [("deit_tiny_patch16_224", (192, 4, 4)), ("swin_tiny_patch4_window7_224", (768, 2, 2)), ("convnext_atto", (320, 2, 2))],
)  # fmt: skip
def test_any_timm_family_gives_a_map(name: str, shape: tuple[int, int, int]) -> None:
    assert build_backbone(name, 64).map_shape(64) == shape


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("shallownetv3", 80), ("squeezenet1_0", 128)])
def test_other_input_sizes(name: str, size: int) -> None:
    backbone = build_backbone(name, size)
    images = torch.rand(2, 3, size, size)
    assert default_head(backbone, size)(backbone(images)).shape == (2,)
    channels = backbone.map_shape(size)[0]
    assert FDFtNet(backbone, MobileNetHead(channels, 2), FineTuneTransformer())(images).shape == (2,)


def test_a_map_from_a_transformer_keeps_the_places() -> None:
    backbone = build_backbone("deit_tiny_patch16_224", 64).eval()
    tokens = backbone.body.model.forward_features((torch.zeros(1, 3, 64, 64) - backbone.mean) / backbone.std)
    found = backbone(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(found[0, :, 1, 2], tokens[0, 1 + 1 * 4 + 2])  # a class token, then rows of four


def test_too_small_and_unknown_are_said() -> None:
    with pytest.raises(SettingsError, match="cannot take 16×16"):
        build_backbone("shallownetv3", 16)
    with pytest.raises(SettingsError, match="did you mean 'xception'"):
        build_backbone("xceptoin", 64)
    with pytest.raises(SettingsError, match="did you mean 'squeezenet1_0'"):
        build_backbone("squeezenet10", 64)


def test_normalisation_is_inside_the_backbone() -> None:
    backbone = build_backbone("squeezenet1_0", 64).eval()
    images = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = backbone.body((images - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(backbone(images), by_hand)


@pytest.mark.slow
def test_a_frozen_backbone_does_not_move() -> None:
    backbone = build_backbone("mobilenetv2_100", 64)
    backbone.freeze()
    network = FDFtNet(backbone, MobileNetHead(1280, 1), None)
    network.train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    network(torch.rand(4, 3, 64, 64)).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())
    assert all(p.grad is None for p in backbone.parameters())
    assert all(p.grad is not None for p in network.mb.parameters())


def test_two_way_is_the_softmax() -> None:
    head = TwoWay(5)
    x = torch.randn(7, 5)
    torch.testing.assert_close(torch.sigmoid(head(x)), torch.softmax(head.dense(x), dim=1)[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenetv2_100", "shallownetv3"])
def test_library_tensors_load_exactly_or_not_at_all(name: str) -> None:
    torch.manual_seed(0)
    source, target = build_backbone(name, 64).eval(), build_backbone(name, 64).eval()
    tensors = {k.removeprefix("body.").removeprefix("model."): v for k, v in source.state_dict().items()}
    tensors = {k: v for k, v in tensors.items() if k not in ("mean", "std")}
    if name.startswith("squeezenet"):
        tensors = {f"features.{k}": v for k, v in tensors.items()} | {
            "classifier.1.weight": torch.zeros(1000, 512, 1, 1)
        }
    load_library_tensors(target, tensors)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(source(images), target(images))
    first = next(key for key in tensors if key.endswith("weight") and not key.startswith("classifier"))
    with pytest.raises(DataError, match=f"{first} is missing"):
        load_library_tensors(target, {k: v for k, v in tensors.items() if k != first})
    with pytest.raises(DataError, match="odd.weight is unknown"):
        load_library_tensors(target, tensors | {"odd.weight": torch.zeros(1)})
    with pytest.raises(DataError, match=r"is \[1\], not"):
        load_library_tensors(target, tensors | {first: torch.zeros(1)})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_squeezenet_is_torchvisions(name: str) -> None:
    import torchvision.models

    torch.manual_seed(3)
    library = getattr(torchvision.models, name)()
    after = torch.rand(1)
    torch.manual_seed(3)
    ours = squeezenet_features(name)
    assert torch.equal(torch.rand(1), after)  # what is drawn next is the same too
    expected = library.features.state_dict()
    assert list(ours.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in ours.state_dict().items())
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(ours(images), library.features(images))


@pytest.mark.slow
def test_torchvisions_resnet50_is_timms() -> None:
    import torchvision.models

    library = torchvision.models.resnet50().eval()
    backbone = build_backbone("resnet50.tv_in1k", 64).eval()
    tensors = library.state_dict()
    load_library_tensors(backbone, tensors)  # with its classifier
    load_library_tensors(backbone, {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")})
    images = torch.rand(2, 3, 64, 64)
    x = (images - backbone.mean) / backbone.std
    for layer in list(library.children())[:-2]:
        x = layer(x)
    torch.testing.assert_close(backbone(images), x)


@pytest.mark.parametrize("side", [7, 8])
def test_a_strided_convolution_pads_as_tensorflow_does(side: int) -> None:
    conv = StridedConv(2, 3, 3, 2)
    x = torch.rand(1, 2, side, side + 1)
    torch.testing.assert_close(conv(x), F.conv2d(pad_same(x, [3, 3], [2, 2]), conv.weight, conv.bias, 2))
    assert conv(x).shape[2:] == (4, (side + 2) // 2)
    edge = nn.Parameter(torch.ones(1, 1, 3, 3)), torch.zeros(1)
    counter = StridedConv(1, 1, 3, 2)
    counter.weight, counter.bias = edge[0], nn.Parameter(edge[1])
    # places of the picture under each kernel: an even side has its one empty column at the end, an odd one on both sides
    by_hand = [3, 3, 3, 2] if side == 8 else [2, 3, 3, 2]
    assert (counter(torch.ones(1, 1, side, side))[0, 0, 1] / 3).tolist() == by_hand


@pytest.mark.slow
def test_mobilenet_v2_tf_is_torchvisions_with_other_padding() -> None:
    import torchvision.models

    torch.manual_seed(0)
    library = torchvision.models.mobilenet_v2().eval()
    for module in library.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2)
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            module.register_forward_pre_hook(lambda _, inputs: F.pad(inputs[0], (0, 1, 0, 1)))  # all maps are even here
    backbone = build_backbone("mobilenet_v2_tf", 64).eval()
    tensors = library.state_dict()
    load_library_tensors(backbone, tensors)
    images = torch.rand(2, 3, 64, 64)
    expected = library.features(images * 2 - 1)
    torch.testing.assert_close(backbone(images), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(backbone.vector(images), expected.mean(dim=(2, 3)), rtol=1e-3, atol=1e-4)
    again = build_backbone("mobilenet_v2_tf", 64).eval()
    load_library_tensors(again, {f"features.{name}": tensor for name, tensor in backbone.body.state_dict().items()})
    assert torch.equal(again(images), backbone(images))  # tensors that are folded already
    with pytest.raises(DataError, match=r"features.4.conv.0.0.bias is missing"):
        load_library_tensors(again, {k: v for k, v in tensors.items() if k != "features.4.conv.0.1.bias"})
    with pytest.raises(SettingsError, match="no library weights"):
        build_backbone("mobilenet_v2_tf", 64, library_weights=True)


WEIGHTS = Path(os.environ.get("FACETELL_TEST_WEIGHTS", "")) / "mobilenet_v2-imagenet.safetensors"


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs FACETELL_TEST_WEIGHTS, a folder with this file of real weights")
def test_real_weights_of_mobilenet_v2() -> None:
    backbone = build_backbone("mobilenet_v2_tf", 224).eval()
    load_library_tensors(backbone, load_file(WEIGHTS))
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, 1280, 7, 7)
    assert features.isfinite().all()
    assert 0 <= features.min() <= features.max() <= 6
    assert 0.02 < (features > 0).float().mean() < 0.5  # sparse, as a trained ReLU6 leaves it
