"""Maps against cases worked out by hand and slow loops, and the checks that say whether they can be believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

pytest.importorskip("captum")

from facetell.detector.occlusion import occlusion, window_of
from facetell.evaluation.concentration import spearman
from facetell.explanation import attention_maps as attention
from facetell.explanation.attention_maps import attended, received
from facetell.explanation.explainer import Explainer
from facetell.explanation.gradcam import grad_cam
from facetell.explanation.gradcam_places import Place, places_of, tapped
from facetell.explanation.maps import enlarged
from facetell.explanation.pointing import peak, pointing_game
from facetell.explanation.sanity import LIMIT, randomised, sanity
from facetell.methods import get_method
from facetell.networks.attention import SelfAttention, attend
from facetell.settings import resolve


def build(method: str, **settings: object) -> nn.Module:
    found = get_method(method)
    torch.manual_seed(0)
    network = found.build(resolve(found.settings, {"pretrained": "none", **settings}))
    for parameter in network.parameters():  # heads begin at zero, which explains nothing
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def faces(count: int, size: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (size, size), mode="bilinear")


class Square(nn.Module):
    """The logit is the brightness of one square: 16 ≤ row < 32, 40 ≤ column < 56."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 2, 8, stride=8, bias=False)
        nn.init.constant_(self.backbone.weight, 1 / 192)
        self.head = nn.Linear(128, 1, bias=False)
        with torch.no_grad():
            weight = torch.zeros(2, 8, 8)
            weight[0, 2:4, 5:7] = 1
            self.head.weight.copy_(weight.view(1, -1))

    def forward(self, images: Tensor) -> Tensor:
        logit: Tensor = self.head(self.backbone(images).flatten(1)).squeeze(1)
        return logit


class OneLayer(nn.Module):
    """Convolution, then a weight for every cell of every channel: Grad-CAM by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, 1)

    def forward(self, images: Tensor) -> Tensor:
        logit: Tensor = self.head(torch.relu(self.backbone(images)).flatten(1)).squeeze(1)
        return logit


def test_grad_cam_of_one_layer_is_what_the_paper_says():
    torch.manual_seed(1)
    network, images = OneLayer(), torch.rand(3, 3, 8, 8)
    found = grad_cam(network, Place(("backbone",), 8), images)
    with torch.no_grad():
        maps = network.backbone(images)
    weights = network.head.weight.detach().view(4, 8, 8)
    for image in range(3):
        expected = torch.zeros(8, 8)
        for channel in range(4):
            alive = (maps[image, channel] > 0).float()  # the gradient of the ReLU
            expected += (weights[channel] * alive).mean() * maps[image, channel]
        torch.testing.assert_close(found[image], expected)


@pytest.mark.parametrize("shape", [(2, 6, 4, 4), (2, 4, 4, 6), (2, 17, 6), (2, 16, 6)])
def test_a_tap_sees_a_map_and_changes_nothing(shape: tuple[int, ...]):
    """Maps, maps with channels last, tokens with and without one before the grid."""
    module, x = nn.Identity(), torch.rand(shape)
    seen: list[Tensor] = []
    with tapped(module) as tap:
        handle = tap.register_forward_hook(lambda _m, _i, output: seen.append(output))
        assert torch.equal(module(x), x)
        handle.remove()
    assert seen[0].shape == (2, 6, 4, 4)
    assert torch.equal(module(x), x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings", "size", "expected"),
    [
        ("finetune", {"backbone": "squeezenet1_0"}, 64, {"backbone": Place(("backbone.body.10",), 7)}),
        ("finetune", {"backbone": "squeezenet1_0"}, 128, {"backbone": Place(("backbone",), 7)}),
        (
            "siamese",
            {"backbone": "cffn"},
            64,
            {"backbone": Place(("backbone.body.streams.0.4", "backbone.body.streams.1.4"), 7)},
        ),
        (
            "fdftnet",
            {"backbone": "shallownetv3"},
            64,
            {"backbone": Place(("backbone",), 12), "ftt": Place(("ftt.project",), 8)},
        ),
        ("finetune", {"backbone": "deit_tiny_patch16_224"}, 64, {"backbone": Place(("backbone",), 4)}),
        # Its classifier reads the class token: after the last block the others no longer matter.
        (
            "features",
            {"backbone": "deit_tiny_patch16_224"},
            64,
            {"backbone": Place(("backbone.body.model.blocks.10",), 4)},
        ),
    ],
)
def test_the_place_is_the_last_that_everything_passes_and_that_tells_places_apart(method, settings, size, expected):
    network = build(method, size=size, **settings)
    assert places_of(network, size) == expected
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.slow
def test_what_reads_maps_at_every_depth_is_explained_by_occlusion_alone():
    network = build("depth", size=64, backbone="squeezenet1_0", width=16)
    explainer = Explainer(network, 64)
    assert list(explainer.kinds) == ["occlusion"]
    assert explainer.without is not None
    assert "every depth" in explainer.without
    maps = explainer.maps(torch.rand(1, 3, 64, 64))
    assert maps["occlusion"].shape[0] == 1
    assert np.isfinite(maps["occlusion"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("siamese", "cffn_icip"),
        ("fdftnet", "shallownetv3"),
        ("finetune", "deit_tiny_patch16_224"),
        ("features", "convnext_atto"),
    ],
)
def test_every_kind_of_network_gives_all_its_maps(method, backbone):
    network, images = build(method, backbone=backbone, size=64), faces(3, 64)
    if method == "features":
        nn.init.normal_(network.head.weight)
    explainer = Explainer(network, 64)
    together = explainer.maps(images)
    alone = explainer.maps(images[1:2])
    assert together.keys() == explainer.kinds.keys()
    for key, kind in explainer.kinds.items():
        assert together[key].shape == (3, kind.side, kind.side)
        assert np.ptp(together[key][0]) > 0
        np.testing.assert_allclose(together[key][1], alone[key][0], rtol=1e-3, atol=1e-5)


def test_trees_have_no_gradient_and_it_is_said():
    network = build("features", backbone="squeezenet1_1", size=32, classifier="forest")
    explainer = Explainer(network, 32)
    assert "grad_cam" not in explainer.kinds
    assert "occlusion" in explainer.kinds
    assert "no gradient" in str(explainer.without)


def hidden_of(network: nn.Module, images: Tensor) -> np.ndarray:
    """The occlusion maps (N, S, S) of images (N, 3, S, S)."""

    def logits(crops: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(crops).permute(0, 3, 1, 2)).numpy()

    return occlusion(logits, images.permute(0, 2, 3, 1).numpy(), *window_of(images.shape[-1]))


@pytest.mark.slow
def test_occlusion_is_the_slow_loop():
    torch.manual_seed(2)
    network, images = build("finetune", backbone="shallownetv3", size=28), faces(2, 28, 3)
    side, stride = window_of(28)
    assert (side, stride) == (4, 2)
    with torch.no_grad():
        whole = network(images)
        total, count = torch.zeros(2, 28, 28), torch.zeros(28, 28)
        for row in range(0, 25, stride):
            for column in range(0, 25, stride):
                hidden = images.clone()
                hidden[:, :, row : row + side, column : column + side] = images.mean(dim=(2, 3))[..., None, None]
                fall = whole - network(hidden)
                total[:, row : row + side, column : column + side] += fall[:, None, None]
                count[row : row + side, column : column + side] += 1
    torch.testing.assert_close(torch.from_numpy(hidden_of(network, images)), total / count, rtol=1e-3, atol=1e-5)


def test_attention_rows_sum_to_one_and_give_the_modules_output():
    torch.manual_seed(3)
    module, x = SelfAttention(16).eval(), torch.randn(2, 16, 6, 6)
    nn.init.constant_(module.gamma, 0.5)
    weights = attention.attention(module, x)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 36))
    f, g, h = (conv(x).flatten(2).transpose(1, 2) for conv in (module.f, module.g, module.h))
    torch.testing.assert_close(weights @ h, attend(f, g, h))
    torch.testing.assert_close(received(module, x), weights.mean(dim=1).view(2, 6, 6) * 36)


def test_attention_received_does_not_depend_on_the_blocks(monkeypatch):
    torch.manual_seed(4)
    module, x = SelfAttention(8), torch.randn(2, 8, 7, 7)
    whole = received(module, x)
    monkeypatch.setattr(attention, "BLOCK_ENTRIES", 500)
    torch.testing.assert_close(received(module, x), whole)
    torch.testing.assert_close(whole.mean(dim=(1, 2)), torch.ones(2))


def test_attention_with_gamma_zero_adds_nothing():
    network = build("fdftnet", backbone="shallownetv3", size=32)
    for module in network.modules():
        if isinstance(module, SelfAttention):
            nn.init.zeros_(module.gamma)
    stages = attended(network, faces(2, 32))
    assert [stage.received.shape[-1] for stage in stages] == [16, 8, 4]
    assert all(stage.gamma == 0 and not stage.effect.any() for stage in stages)
    assert attended(nn.Conv2d(3, 1, 1), faces(2, 32)) == []


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 5, (7, 7)).astype(np.float32)
    b = rng.integers(0, 9, (7, 7)).astype(np.float32)
    assert spearman(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert spearman(a, np.exp(a)) == pytest.approx(1)
    assert np.isnan(spearman(a, np.ones_like(a)))


def test_randomised_weights_are_the_learned_ones_elsewhere():
    network = build("fdftnet", backbone="shallownetv3", size=32)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    head, everything, again = (randomised(network, level, 1).state_dict() for level in ("head", "all", "all"))
    for name, tensor in before.items():
        assert torch.equal(network.state_dict()[name], tensor)
        assert torch.equal(everything[name], again[name])
        assert torch.equal(everything[name].flatten().sort().values, tensor.flatten().sort().values)
        if name.startswith(("backbone.", "ftt.")):
            assert torch.equal(head[name], tensor)
    assert not torch.equal(head["head.dense.weight"], before["head.dense.weight"])
    assert torch.equal(everything["backbone.mean"], before["backbone.mean"])


@pytest.mark.slow
def test_maps_change_when_weights_are_randomised():
    network, images = build("finetune", backbone="squeezenet1_1", size=64), faces(6, 64)
    maps = Explainer(network, 64).maps(images)
    found = sanity(network, 64, images, maps)
    for key in ("grad_cam", "occlusion"):
        assert found[key]["all"].n == 6
        assert found[key]["all"].strength < LIMIT
    unchanged = [spearman(values, values) for values in maps["grad_cam"]]
    assert unchanged == pytest.approx([1] * 6)


@pytest.mark.slow
def test_a_map_that_only_shows_the_picture_is_caught():
    network, images = build("finetune", backbone="shallownetv3", size=32), faces(4, 32)
    brightness = images.mean(dim=1).numpy()

    class Edges(Explainer):
        def maps(self, images, progress=None):
            return {"occlusion": images.mean(dim=1).numpy()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facetell.explanation.sanity.Explainer", Edges)
        found = sanity(network, 32, images, {"occlusion": brightness})
    assert found["occlusion"]["all"].strength == pytest.approx(1)


def test_both_maps_point_at_the_square_that_decides():
    network = Square().eval()
    images = faces(5, 64, 7) * 0.3
    images[:, :, 16:32, 40:56] += 0.7  # bright, so that hiding it lowers the logit
    mask = np.zeros((5, 64, 64), dtype=np.bool_)
    mask[:, 16:32, 40:56] = True
    maps = {
        "grad_cam": grad_cam(network, places_of(network, 64)["backbone"], images).numpy(),
        "occlusion": hidden_of(network, images),
    }
    for values in maps.values():
        game = pointing_game(enlarged(values, 64), mask, range(5))
        assert (game.hits, game.n, game.rate) == (5, 5, 1)
        assert game.chance == pytest.approx(1 / 16)
        assert game.centre == 0
    assert maps["occlusion"][:, 40:, :30] == pytest.approx(0, abs=1e-5)


def test_the_pointing_game_by_hand():
    maps = np.zeros((4, 4, 4), dtype=np.float32)
    maps[0, 1, 1] = 2  # inside
    maps[1, 3, 3] = 1  # outside
    maps[2, 2, 2], maps[2, 0, 0] = 1, -9  # inside: the highest counts, not the largest
    # maps[3] is flat: it points nowhere
    masks = np.zeros((4, 4, 4), dtype=np.bool_)
    masks[:, 1:3, 1:3] = True
    game = pointing_game(maps, masks, range(4))
    assert (game.n, game.hits, game.rate, game.chance, game.centre) == (4, 2, 0.5, 0.25, 1)
    # Wilson's interval for 2 of 4, from the quadratic (p - 1/2)² = z² p (1 - p) / 4.
    for p in (game.low, game.high):
        assert (0.5 - p) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / 4)
    assert pointing_game(maps[[1] * 10], masks[[0] * 10], range(10)).low == 0
    assert pointing_game(maps[[0] * 10], masks[[0] * 10], range(10)).high == pytest.approx(1)
    # Ten frames of each of the four are no more than the four.
    again = pointing_game(np.repeat(maps, 10, axis=0), np.repeat(masks, 10, axis=0), np.repeat(range(4), 10))
    assert (again.low, again.high) == pytest.approx((game.low, game.high))


def test_of_several_highest_points_the_middle_one_counts():
    values = np.zeros((5, 5), dtype=np.float32)
    values[1:4, 1:4] = 1
    assert peak(values) == (2, 2)
