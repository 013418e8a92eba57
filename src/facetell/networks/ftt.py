"""The Fine-Tune Transformer (FDFtNet, Table 2), and FDFtNet: a backbone with MB blocks beside it (figure 1)."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from facetell.networks.attention import SelfAttention
from facetell.networks.backbones import Backbone
from facetell.networks.heads import TwoWay
from facetell.networks.mbblock import MobileNetHead

__all__ = ["FDFtNet", "FineTuneTransformer"]


class FineTuneTransformer(nn.Module):
    """``stages`` times (separable 3×3 conv, stride 2 → BN → ReLU → self-attention), then 1×1 conv → BN → ReLU → GAP.

    The width doubles from stage to stage: 32, 64, 128 for M = 3 (the paper's; the released code says 32, 64, 96).
    Images (N, 3, H, W) in, vectors (N, features) out. With the paper's M = 3 and 576 features: 115,318 parameters in
    the Keras count. ``start`` is the first scale of the last batch norm (1 in the paper): below 1, new and untrained
    features begin as a whisper beside a pretrained backbone's.
    """

    def __init__(self, stages: int = 3, width: int = 32, features: int = 576, start: float = 1.0) -> None:
        super().__init__()
        channels = [3] + [width << stage for stage in range(stages)]
        self.stages = nn.Sequential(*(_stage(c_in, c_out) for c_in, c_out in itertools.pairwise(channels)))
        norm = nn.BatchNorm2d(features)
        nn.init.constant_(norm.weight, start)
        self.project = nn.Sequential(nn.Conv2d(channels[-1], features, 1, bias=False), norm, nn.ReLU(inplace=True))

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        x: Tensor = self.project(self.stages(images))
        return x.mean(dim=(2, 3))


def _stage(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_in, 3, stride=2, padding=1, groups=c_in, bias=False),
        nn.Conv2d(c_in, c_out, 1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
        SelfAttention(c_out),
    )


class FDFtNet(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to one logit per image: MB vector plus FTT vector → Dense 2.

    With Xception, N = 4 and M = 3, what is added to the backbone has 2,620,664 parameters in the Keras count.
    ``ftt`` is None for the ablation without it (M = 0).
    """

    def __init__(
        self, backbone: Backbone, mb: MobileNetHead, ftt: FineTuneTransformer | None, features: int = 576
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.mb = mb
        self.ftt = ftt
        self.head = TwoWay(features)

    @property
    def sees_only_maps(self) -> bool:
        """Whether nothing beside the backbone looks at the images."""
        return self.ftt is None

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        vector = self.mb(self.backbone(images))
        if self.ftt is not None:
            vector = vector + self.ftt(images)
        return self.head(vector)
