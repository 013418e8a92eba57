"""Classical classifiers as torch modules: feature vectors (N, D) to logits (N,).

Each computes what the fitted scikit-learn or XGBoost model does, from plain tensors: none of these libraries is needed
to load or run one. Linear and kernel heads compute in float64, as scikit-learn does; beside a backbone that is free.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facetell.errors import DataError
from facetell.networks.backbones import Backbone
from facetell.networks.tensors import LearnedSize

__all__ = ["Boosted", "FeatureClassifier", "Forest", "Kernel", "Linear", "has_steps"]


def has_steps(network: nn.Module) -> bool:
    """Whether a logit can jump however little the picture changes: where there are decision trees."""
    return any(isinstance(part, _Trees) for part in network.modules())


class FeatureClassifier(nn.Module):
    """A backbone's vector, then a classifier: images (N, 3, S, S) in [0, 1] to logits (N,)."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.head(self.backbone.vector(images))


class _Standardised(LearnedSize):
    """Buffers ``mean`` and ``scale`` (D,): vectors are shifted and scaled by those of the training rows."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(features, dtype=torch.float64))

    def take_size(self, tensors: Mapping[str, Tensor]) -> None:
        return  # what is shared has the backbone's length

    def standardise(self, vectors: Tensor) -> Tensor:
        return (vectors.double() - self.mean) / self.scale


class Linear(_Standardised):
    """A hyperplane: ``weight`` (D,) and ``bias`` (), of logistic regression or a linear SVC."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("weight", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros((), dtype=torch.float64))

    def forward(self, vectors: Tensor) -> Tensor:  # noqa: D102
        return (self.standardise(vectors) @ self.weight + self.bias).float()


class Kernel(_Standardised):
    """A support vector classifier with the RBF kernel: Σ duals · exp(-gamma · ‖x - support‖²) + bias.

    ``supports`` (M, D) are standardised already, ``duals`` (M,) signed; M is learned.
    """

    supports: Tensor
    duals: Tensor
    gamma: Tensor
    bias: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("supports", torch.zeros(0, features, dtype=torch.float64))
        self.register_buffer("duals", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("gamma", torch.ones((), dtype=torch.float64))
        self.register_buffer("bias", torch.zeros((), dtype=torch.float64))

    def take_size(self, tensors: Mapping[str, Tensor]) -> None:  # noqa: D102
        count = len(tensors["duals"]) if "duals" in tensors and tensors["duals"].ndim else 0
        self.supports, self.duals = self.supports.new_zeros(count, len(self.mean)), self.duals.new_zeros(count)

    def forward(self, vectors: Tensor) -> Tensor:  # noqa: D102
        x = self.standardise(vectors)
        squared = x.square().sum(1, keepdim=True) - 2 * x @ self.supports.T + self.supports.square().sum(1)
        return (torch.exp(-self.gamma * squared.clamp_min(0)) @ self.duals + self.bias).float()


class _Trees(LearnedSize):
    """Decision trees as arrays over all their nodes (K of them), walked level by level for all images and trees at once.

    At node k an image goes to ``branches[k, 0]`` if ``vector[feature[k]] <= threshold[k]`` (both float32), else to
    ``branches[k, 1]``; a leaf branches to itself. ``roots`` (T,) is the first node of each tree and ``value`` (K,)
    what a leaf says. Branches lead to later nodes, so that every walk ends.
    """

    feature: Tensor
    threshold: Tensor
    branches: Tensor
    value: Tensor
    roots: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.depth = 0
        self._make_room(0, 0)

    def _make_room(self, nodes: int, trees: int) -> None:
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(nodes, dtype=torch.float32))
        self.register_buffer("branches", torch.zeros(nodes, 2, dtype=torch.int64))
        self.register_buffer("value", torch.zeros(nodes, dtype=torch.float64))
        self.register_buffer("roots", torch.zeros(trees, dtype=torch.int64))

    def take_size(self, tensors: Mapping[str, Tensor]) -> None:
        sizes = [len(tensors[name]) if name in tensors and tensors[name].ndim else 0 for name in ("value", "roots")]
        self._make_room(*sizes)
        fits = all(name in tensors and tensors[name].shape == own.shape for name, own in self.state_dict().items())
        if fits:  # else `misfit` has the better words
            self.depth = self._walkable(tensors["feature"], tensors["branches"], tensors["roots"])

    def _walkable(self, feature: Tensor, branches: Tensor, roots: Tensor) -> int:
        """The depth of the deepest tree. Raises ``DataError`` where a walk would leave the arrays or never end."""
        own = torch.arange(len(branches)).unsqueeze(1)
        leaf = (branches == own).all(dim=1)
        for tensor, low, high in ((feature, 0, self.features), (roots, 0, len(own)), (branches, 0, len(own))):
            if tensor.dtype != torch.int64 or bool(((tensor < low) | (tensor >= high)).any()):
                raise DataError("the trees are damaged: a node points to what is not there")
        if not bool(((branches > own).all(dim=1) | leaf).all()):
            raise DataError("the trees are damaged: a branch leads back")
        depth, level = 0, torch.unique(roots)
        while len(level := level[~leaf[level]]):
            depth, level = depth + 1, torch.unique(branches[level])
        return depth

    def leaves(self, vectors: Tensor) -> Tensor:
        """What each tree's leaf says (N, T)."""
        x = vectors.float()
        node = self.roots.expand(x.shape[0], -1)
        for _ in range(self.depth):
            right = x.gather(1, self.feature[node]) > self.threshold[node]
            node = self.branches[node, right.long()]
        return self.value[node]


class Forest(_Trees):
    """A random forest; ``value`` is a leaf's probability of fake.

    The logit is that of the mean probability p over T trees, taken half a tree towards doubt from both ends so that it
    stays finite where all agree: log((p·T + ½) / ((1 - p)·T + ½)). It orders images exactly as p does; p = ½ gives 0.
    """

    def forward(self, vectors: Tensor) -> Tensor:  # noqa: D102
        fake = self.leaves(vectors).sum(1) + 0.5
        return torch.log(fake / (len(self.roots) + 1 - fake)).float()


class Boosted(_Trees):
    """Gradient-boosted trees; the logit is the sum over trees of ``value``, a leaf's share of the margin."""

    def forward(self, vectors: Tensor) -> Tensor:  # noqa: D102
        return self.leaves(vectors).sum(1).float()
