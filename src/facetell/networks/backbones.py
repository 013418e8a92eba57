"""Backbones: the convolutional (or transformer) part of a network, up to its last feature map.

Names: ``squeezenet1_0``, ``squeezenet1_1`` (torchvision), ``shallownetv3``, ``cffn``, ``cffn_icip`` (ours),
``mobilenet_v2_tf`` (torchvision's names, Keras' padding, batch norms folded), ``xception`` (timm's ``legacy_xception``,
the Keras layout), and every other name that ``timm.create_model`` knows, such as ``resnetv2_50``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from facetell.errors import DataError, FacetellError, SettingsError, near_miss
from facetell.networks.blocks import blocks_of, frozen_parts
from facetell.networks.cffn import CFFN, LAYOUTS
from facetell.networks.heads import FlatLinear, PooledLinear
from facetell.networks.mobilenet import fold_norms, mobilenet_features
from facetell.networks.shallownet import shallownet_features, shallownet_head
from facetell.networks.squeezenet import squeezenet_features
from facetell.networks.tensors import misfit

__all__ = ["NAMED", "Backbone", "build_backbone", "default_head", "load_library_tensors"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SIGNED = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Pixels in [-1, 1], as Keras' MobileNets take them."""
_OWN: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[float, ...], ...]]] = {
    "shallownetv3": (shallownet_features, PLAIN),
    **{name: (partial(CFFN, layout), PLAIN) for name, layout in LAYOUTS.items()},
    "mobilenet_v2_tf": (mobilenet_features, SIGNED),
}
"""Bodies of our own whose weights no library has, and their normalisation."""
NAMED = ("squeezenet1_0", "squeezenet1_1", "resnetv2_50", "xception", *_OWN)
"""The backbones that are offered by name; every timm name works too."""


class Backbone(nn.Module):
    """A body with its own normalisation: images (N, 3, S, S) in [0, 1] to the last feature map (N, C, h, w).

    ``mean`` and ``std`` are buffers, so they travel with the weights. Where ``ends_in_vector`` is set, the map has one
    place: `vector`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, body: nn.Module, normalisation: tuple[tuple[float, ...], ...]) -> None:
        super().__init__()
        self.name = name
        self.body = body
        self.ends_in_vector = False
        for key, values in zip(("mean", "std"), normalisation, strict=True):
            self.register_buffer(key, torch.tensor(values).view(1, 3, 1, 1))
        self._frozen_parameters: list[nn.Parameter] = []
        self._frozen_parts: list[nn.Module] = []
        self._given: Tensor | None = None
        self.kept_blocks: list[str] = []
        """Names of its blocks, from the stem on, where the ones behind them were taken out."""

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        if self._given is not None:
            return self._given
        if self.ends_in_vector:
            return self.vector(images)[:, :, None, None]
        return self.body((images - self.mean) / self.std)

    @contextmanager
    def given(self, maps: Tensor) -> Iterator[None]:
        """Within this, the forward pass returns ``maps`` (N, C, h, w), which were computed before."""
        self._given = maps
        try:
            yield
        finally:
            self._given = None

    @property
    def frozen(self) -> bool:
        """Whether ``freeze`` stopped all of it."""
        return bool(self._frozen_parameters) and not any(parameter.requires_grad for parameter in self.parameters())

    def vector(self, images: Tensor) -> Tensor:
        """The vector (N, D) that the library's own classifier would see: pooled, with the norm or token it reads."""
        x = (images - self.mean) / self.std
        return self.pooled(self.body.features_of(x) if isinstance(self.body, _TimmMap) else self.body(x))

    def pooled(self, features: Tensor) -> Tensor:
        """The same from what `end` gives."""
        return self.body.pooled(features) if isinstance(self.body, _TimmMap) else features.mean(dim=(2, 3))

    @property
    def end(self) -> nn.Module:
        """The part whose output is all that `vector` and the forward pass are made of."""
        return self.body.features if isinstance(self.body, _TimmMap) else self.body

    def blocks(self) -> list[list[nn.Parameter]]:
        """The body's parameters by block, stem first; see ``blocks_of``."""
        return blocks_of(self.body.model if isinstance(self.body, _TimmMap) else self.body)

    def freeze(self, but: Sequence[nn.Parameter] = ()) -> None:
        """Stop all parameters ``but`` these from learning: they get no gradients. Batch norms and dropout are in evaluation
        mode where nothing learns, see ``frozen_parts``.

        Replaces what an earlier call froze.
        """
        self.thaw()
        learns = {id(parameter) for parameter in but}
        self._frozen_parameters = [p for p in self.parameters() if p.requires_grad and id(p) not in learns]
        for parameter in self._frozen_parameters:
            parameter.requires_grad_(False)
        self._frozen_parts = frozen_parts(self, but)
        self.train(self.training)

    def thaw(self) -> None:
        """Let everything learn again that ``freeze`` stopped."""
        for parameter in self._frozen_parameters:
            parameter.requires_grad_(True)
        self._frozen_parameters, self._frozen_parts = [], []
        self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        """Switch the mode of what is not frozen."""
        super().train(mode)
        for part in self._frozen_parts:
            part.eval()
        return self

    def map_shape(self, size: int) -> tuple[int, int, int]:
        """Channels, height and width of the feature map for ``size`` × ``size`` images."""
        _, channels, height, width = self._shape_of(self, size)
        return channels, height, width

    def vector_length(self, size: int) -> int:
        """D, the length of `vector` for ``size`` × ``size`` images."""
        return self._shape_of(self.vector, size)[1]

    @torch.no_grad()
    def _shape_of(self, call: Callable[[Tensor], Tensor], size: int) -> torch.Size:
        was_training = self.training
        self.eval()
        shape = call(torch.zeros(1, 3, size, size, device=self.mean.device)).shape
        self.train(was_training)
        return shape


def build_backbone(name: str, size: int, *, library_weights: bool = False) -> Backbone:
    """Build a backbone for ``size`` × ``size`` images, from scratch or with the library's pretrained weights.

    Raises ``SettingsError`` for an unknown name or a size the backbone cannot take, and ``FacetellError`` when the
    library's weights cannot be downloaded.
    """
    try:
        if name in _OWN:
            if library_weights:
                raise SettingsError(f"{name} has no library weights", hint="fit it with pretrained=none or a file")
            body, normalisation = _OWN[name]
            backbone = Backbone(name, body(), normalisation)
        elif name.startswith("squeezenet"):
            backbone = _squeezenet(name, library_weights)
        else:
            backbone = _from_timm(name, size, library_weights)
    except (OSError, RuntimeError) as error:
        if not library_weights:
            raise
        raise FacetellError(
            f"the library's weights of {name} could not be downloaded: {_first_line(error)}",
            hint="with no internet, give a file (--pretrained FILE.safetensors), a detector (--pretrained DETECTOR), "
            "or train from scratch (--pretrained none)",
        ) from error
    try:
        backbone.map_shape(size)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise SettingsError(
            f"{name} cannot take {size}×{size} images: {_first_line(error)}", hint="give a larger size"
        ) from error
    except (AttributeError, TypeError) as error:
        raise SettingsError(
            f"{name} gives no map of features: {_first_line(error)}", hint=f"choose another, such as {NAMED[0]}"
        ) from error
    return backbone


def load_library_tensors(backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
    """Load weights that carry the library's own tensor names (torchvision's or timm's); its classifier is left out.

    All of them may begin with ``module.``, as torch's wrappers for several devices write them. Position grids of another
    size are resampled, as timm does.

    Raises ``DataError`` naming what is missing, unexpected or misshapen: a half-loaded backbone would be a random one.
    """
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    body, prefix, classifier = backbone.body, "", tuple[str, ...]()
    if backbone.name.startswith("squeezenet"):
        prefix, classifier = "features.", ("classifier.",)
    elif backbone.name == "mobilenet_v2_tf":
        prefix, classifier, tensors = "features.", ("classifier.",), fold_norms(tensors)
    elif isinstance(body, _TimmMap):
        body = body.model
        heads = body.pretrained_cfg["classifier"]
        classifier = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads or ()))
    own: Mapping[str, Tensor] = {name: tensor for name, tensor in tensors.items() if not name.startswith(classifier)}
    if isinstance(backbone.body, _TimmMap) and misfit(body, own):
        own = _resampled(own, body)
    wrong = misfit(body, own, prefix)
    if wrong:
        raise DataError(f"the weights do not fit {backbone.name}: {wrong}")
    body.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in own.items()})


def _resampled(tensors: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """The tensors as timm reads them from a file for ``model``; as they are if that changes more than positions."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return tensors
    try:
        found: dict[str, Tensor] = convert(dict(tensors), model)
    except (RuntimeError, ValueError, LookupError, AttributeError, AssertionError):  # it expects a file of its own kind
        return tensors
    fits = all(
        tensors[name].shape == tensor.shape or "pos" in name for name, tensor in found.items() if name in tensors
    )
    return found if fits else tensors


def default_head(
    backbone: Backbone, size: int, dropout: float = 0.0, *, flatten: bool = False, normalise: bool = False
) -> nn.Module:
    """The classifier that goes with a backbone: its own for ShallowNetV3, else pool and one neuron.

    With ``flatten``, one neuron on every place of the map, and with ``normalise`` one on the pooled map at length 1, for
    any backbone.
    """
    channels, height, width = backbone.map_shape(size)
    if flatten:
        return FlatLinear(channels * height * width, dropout)
    if backbone.name == "shallownetv3" and not normalise and not backbone.ends_in_vector:
        return shallownet_head(height * width)
    return PooledLinear(channels, dropout, normalise=normalise)


def _squeezenet(name: str, library_weights: bool) -> Backbone:
    if name not in ("squeezenet1_0", "squeezenet1_1"):
        raise SettingsError(f"unknown backbone '{name}'{near_miss(name, NAMED)}")
    if library_weights:
        import torchvision.models as models

        return Backbone(name, getattr(models, name)(weights="DEFAULT").features, IMAGENET)
    return Backbone(name, squeezenet_features(name), IMAGENET)


class _TimmMap(nn.Module):
    """A timm model's last features as a (N, C, h, w) map, whatever layout the family uses inside."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: Any = model
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        self.channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        self.features = nn.Identity()
        """Passes the model's features on: what can be hooked, for ``forward_features`` is no module."""

    def features_of(self, x: Tensor) -> Tensor:
        features: Tensor = self.features(self.model.forward_features(x))
        return features

    def forward(self, x: Tensor) -> Tensor:
        y = self.features_of(x)
        if y.ndim == 3:  # tokens (N, prefix + h·w, C)
            grid = y[:, self.prefix :]
            side = int(grid.shape[1] ** 0.5)
            return grid.transpose(1, 2).reshape(y.shape[0], y.shape[2], side, side)
        return y.permute(0, 3, 1, 2) if self.channels_last else y

    def pooled(self, features: Tensor) -> Tensor:
        """What the model gives its classifier: DeiT's class token, ConvNeXt's normed mean, Inception's mean."""
        return self.model.forward_head(features, pre_logits=True)


def _from_timm(name: str, size: int, library_weights: bool) -> Backbone:
    import timm

    timm_name = {"xception": "legacy_xception"}.get(name, name)
    if not timm.is_model(timm_name):
        known = [*NAMED, *timm.list_models()]
        raise SettingsError(
            f"unknown backbone '{name}'{near_miss(name, known)}",
            hint=f"known here: {', '.join(NAMED)}, and every timm name",
        )
    create: Any = partial(timm.create_model, timm_name, pretrained=library_weights, num_classes=0)
    try:
        model = create(img_size=size)
    except TypeError:  # families without a position grid take no image size
        model = create()
    config = model.pretrained_cfg
    return Backbone(name, _TimmMap(model), (tuple(config["mean"]), tuple(config["std"])))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
