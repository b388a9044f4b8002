"""Convolutions that standardize their weights: the stand-ins keep doing so."""

from torch import Tensor
from torch.nn import functional as F

from samepad.modules import SamePadConv2d


class StandardizedSamePadConv2d(SamePadConv2d):
    """A SAME convolution whose filters are standardized to mean 0 and variance 1.

    It is made of an existing layer, whose attribute `eps` is added to the variances.
    """

    eps: float

    def _gains(self) -> Tensor | None:
        """A factor for each filter, or None for 1."""
        return None

    def forward(self, input: Tensor) -> Tensor:
        """`input` convolved with the standardized filters."""
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
    """The same with a learned `gain` for each filter, times `scale`."""

    gain: Tensor
    scale: float

    def _gains(self) -> Tensor:
        return (self.gain * self.scale).view(-1)
