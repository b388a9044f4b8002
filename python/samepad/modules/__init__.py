"""Modules that replace those of torch.nn, with `padding` defaulting to SAME."""

from samepad.modules.conv import SamePadConv1d, SamePadConv2d, SamePadConv3d
from samepad.modules.conv_transpose import (
    SamePadConvTranspose1d,
    SamePadConvTranspose2d,
    SamePadConvTranspose3d,
)
from samepad.modules.lazy import (
    LazySamePadConv1d,
    LazySamePadConv2d,
    LazySamePadConv3d,
    LazySamePadConvTranspose1d,
    LazySamePadConvTranspose2d,
    LazySamePadConvTranspose3d,
)
from samepad.modules.pooling import (
    SamePadAvgPool1d,
    SamePadAvgPool2d,
    SamePadAvgPool3d,
    SamePadMaxPool1d,
    SamePadMaxPool2d,
    SamePadMaxPool3d,
)
from samepad.modules.separable import (
    SamePadDepthwiseConv1d,
    SamePadDepthwiseConv2d,
    SamePadSeparableConv1d,
    SamePadSeparableConv2d,
)

__all__ = [
    "LazySamePadConv1d",
    "LazySamePadConv2d",
    "LazySamePadConv3d",
    "LazySamePadConvTranspose1d",
    "LazySamePadConvTranspose2d",
    "LazySamePadConvTranspose3d",
    "SamePadAvgPool1d",
    "SamePadAvgPool2d",
    "SamePadAvgPool3d",
    "SamePadConv1d",
    "SamePadConv2d",
    "SamePadConv3d",
    "SamePadConvTranspose1d",
    "SamePadConvTranspose2d",
    "SamePadConvTranspose3d",
    "SamePadDepthwiseConv1d",
    "SamePadDepthwiseConv2d",
    "SamePadMaxPool1d",
    "SamePadMaxPool2d",
    "SamePadMaxPool3d",
    "SamePadSeparableConv1d",
    "SamePadSeparableConv2d",
]
