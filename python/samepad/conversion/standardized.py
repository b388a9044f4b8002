"""SAME convolutions that standardize their weights, as the layers that they replace."""

from torch import Tensor
from torch.nn import functional as F

from samepad.modules import SamePadConv2d


class StandardizedSamePadConv2d(SamePadConv2d):
    """A SAME convolution whose filters are standardized to mean 0 and variance 1.

    It is made from an existing layer, whose attribute `eps` is added to the variances.
    """

    eps: float

    def _gains(self) -> Tensor | None:
        """Return a factor for each filter, or None if all factors are 1."""
        return None

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `input` with the standardized filters."""
        filters = F.batch_norm(
            self.weight.reshape(1, self.out_channels, -1),
            None,
            None,
            weight=self._gains(),
            training=True,
            eps=self.eps,
        )
        return self._conv_forward(input, filters.reshape_as(self.weight), self.bias)


class ScaledStandardizedSamePadConv2d(StandardizedSamePadConv2d):
    """A standardized convolution whose filters are multiplied by `scale` and a learned `gain`."""

    gain: Tensor
    scale: float

    def _gains(self) -> Tensor:
        return (self.gain * self.scale).view(-1)
