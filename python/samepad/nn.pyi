"""For type checkers: torch.nn with the classes that stand in."""

from torch.nn import *

from samepad.modules import (  # type: ignore[assignment]
    LazySamePadConv1d as LazyConv1d,
    LazySamePadConv2d as LazyConv2d,
    LazySamePadConv3d as LazyConv3d,
    LazySamePadConvTranspose1d as LazyConvTranspose1d,
    LazySamePadConvTranspose2d as LazyConvTranspose2d,
    LazySamePadConvTranspose3d as LazyConvTranspose3d,
    SamePadAvgPool1d as AvgPool1d,
    SamePadAvgPool2d as AvgPool2d,
    SamePadAvgPool3d as AvgPool3d,
    SamePadConv1d as Conv1d,
    SamePadConv2d as Conv2d,
    SamePadConv3d as Conv3d,
    SamePadConvTranspose1d as ConvTranspose1d,
    SamePadConvTranspose2d as ConvTranspose2d,
    SamePadConvTranspose3d as ConvTranspose3d,
    SamePadMaxPool1d as MaxPool1d,
    SamePadMaxPool2d as MaxPool2d,
    SamePadMaxPool3d as MaxPool3d,
)
