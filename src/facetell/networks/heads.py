"""Ends of networks: from a map or vector to one logit per image."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["FlatLinear", "PooledLinear", "TwoWay", "zero_neuron"]


class TwoWay(nn.Module):
    """Dense 2 read as one logit: fake minus real. Its sigmoid is the softmax's probability of fake, exactly."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.dense = nn.Linear(features, 2)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        real, fake = self.dense(x).unbind(dim=1)
        return fake - real


def zero_neuron(features: int) -> nn.Linear:
    """One neuron that starts at zero.

    A backbone's features can be large (SqueezeNet's are), and random weights on them would begin at a loss of several
    nats whose gradients damage what the backbone knows.
    """
    dense = nn.Linear(features, 1)
    nn.init.zeros_(dense.weight)
    nn.init.zeros_(dense.bias)
    return dense


class PooledLinear(nn.Module):
    """Global average pool → dropout → one neuron: (N, C, H, W) to (N,). ``normalise``: features of length 1."""

    def __init__(self, channels: int, dropout: float = 0.0, *, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise
        self.dropout = nn.Dropout(dropout)
        self.dense = zero_neuron(channels)

    def features(self, x: Tensor) -> Tensor:
        """What the neuron reads (N, C) of a map (N, C, H, W), before dropout."""
        pooled = x.mean(dim=(2, 3))
        if not self.normalise:
            return pooled
        vectors = pooled.float()  # not F.normalize: its ONNX asks for shapes
        return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)

    def logits(self, features: Tensor) -> Tensor:
        """Features (N, C) to logits (N,)."""
        return self.dense(self.dropout(features)).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.logits(self.features(x))


class FlatLinear(nn.Module):
    """Flatten → dropout → one neuron: (N, C, H, W) to (N,). Unlike a pooled one it has a weight for every place."""

    def __init__(self, features: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = zero_neuron(features)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.dense(self.dropout(x.flatten(1))).squeeze(1)
