"""A small auto-encoder that draws a picture again: a stand-in for the up-sampling half of a generator."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DOWN", "UPSAMPLING", "Regenerator"]

DOWN = 4
"""By how much the encoder shrinks height and width, which is the period of the grid that the decoder leaves."""

UPSAMPLING = ("transposed", "nearest")
"""How a decoder doubles its maps: a transposed convolution, or nearest neighbours and a convolution. GANs use either."""

_WIDTHS = (16, 24, 48)
_MARGIN = 8  # pixels repeated around the picture: what zeros beyond its edge do to a network would be seen along it


class Regenerator(nn.Module):
    """Encodes to a quarter of height and width and decodes again, without shortcuts; 56,000 to 61,000 parameters.

    The transposed convolution has kernel 3 and stride 2, as CycleGAN's: its taps overlap unevenly, which leaves the
    chequerboard of Odena et al., "Deconvolution and Checkerboard Artifacts" (Distill 2016).
    """

    def __init__(self, upsampling: str) -> None:
        super().__init__()
        narrow, middle, wide = _WIDTHS
        self.encoder = nn.Sequential(
            nn.Conv2d(3, middle, 4, 2, 1), nn.ReLU(), nn.Conv2d(middle, wide, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(wide, wide, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            _doubling(upsampling, wide, middle), nn.ReLU(), _doubling(upsampling, middle, narrow), nn.ReLU(),
            nn.Conv2d(narrow, 3, 3, 1, 1),
        )  # fmt: skip

    def forward(self, images: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """(N, 3, H, W) in [0, 1] to what it draws of them, of the same shape, unbounded.

        ``shift`` moves the grid that it leaves down and to the right, in pixels: faces are cut out anywhere.
        """
        height, width = images.shape[-2:]
        top, left = (_MARGIN + one for one in shift)
        below, right = (_MARGIN + -(_MARGIN + one) % DOWN for one in (top + height, left + width))
        padded = F.pad(images, (left, right, top, below), mode="replicate")
        drawn: Tensor = self.decoder(self.encoder(padded - 0.5)) + 0.5
        return drawn[..., top : top + height, left : left + width]


def _doubling(upsampling: str, inputs: int, outputs: int) -> nn.Module:
    if upsampling == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, 1, 1))
