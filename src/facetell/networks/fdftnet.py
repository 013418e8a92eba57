"""FDFtNet: a pretrained backbone with MB blocks, beside a Fine-Tune Transformer on the pixels (FDFtNet, figure 1)."""

from __future__ import annotations

from torch import Tensor, nn

from facetell.networks.backbones import Backbone
from facetell.networks.ftt import FineTuneTransformer
from facetell.networks.heads import TwoWay
from facetell.networks.mbblock import MobileNetHead

__all__ = ["FDFtNet"]


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
        logit: Tensor = self.head(vector)
        return logit
