"""Lazy variants of the convolutions, which get `in_channels` from their first input."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _LazyConvXdMixin
from torch.nn.parameter import UninitializedParameter

from samepad.modules.conv import SamePadConv1d, SamePadConv2d, SamePadConv3d, _SamePadConvNd
from samepad.modules.conv_transpose import (
    SamePadConvTranspose1d,
    SamePadConvTranspose2d,
    SamePadConvTranspose3d,
    _SamePadConvTransposeNd,
)
from samepad.typing import IntOrTuple, Padding, PaddingMode

__all__ = [
    "LazySamePadConv1d",
    "LazySamePadConv2d",
    "LazySamePadConv3d",
    "LazySamePadConvTranspose1d",
    "LazySamePadConvTranspose2d",
    "LazySamePadConvTranspose3d",
]


class _Lazy(_LazyConvXdMixin):
    """What lazy convolutions of both kinds share, on top of the mixin of torch.nn's."""

    _dimensions: int

    def _forget_parameters(self, out_channels: int, bias: bool, **factory: Any) -> None:
        """Replace the parameters, made for 0 channels, by parameters that have no shape yet."""
        self.weight = UninitializedParameter(**factory)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(**factory)

    def _get_num_spatial_dims(self) -> int:
        return self._dimensions


class _LazyConvNd(_Lazy, _SamePadConvNd):  # type: ignore[misc]
    def __init__(
        self,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            False,
            padding_mode,
            device,
            dtype,
        )
        self._forget_parameters(out_channels, bias, device=device, dtype=dtype)


class _LazyConvTransposeNd(_Lazy, _SamePadConvTransposeNd):  # type: ignore[misc]
    def __init__(
        self,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        output_padding: IntOrTuple = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrTuple = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        self._forget_parameters(out_channels, bias, device=device, dtype=dtype)


_DOC = """A {name} that gets its `in_channels` from the first input and then becomes a {name}.

    The other arguments are {name}'s. See torch.nn.modules.lazy.LazyModuleMixin for the limits of a
    lazy layer before its first input.

    Example:
        >>> layer = Lazy{name}(8, kernel_size=3, stride=2)
        >>> _ = layer(torch.randn(1, 3{example}))
        >>> type(layer).__name__, layer.in_channels
        ('{name}', 3)
    """


def _doc(cls: type[nn.Module], dimensions: int) -> str:
    return _DOC.format(name=cls.__name__, example=", 15" * dimensions)


class LazySamePadConv1d(_LazyConvNd, SamePadConv1d):  # type: ignore[misc]
    __doc__ = _doc(SamePadConv1d, 1)
    cls_to_become = SamePadConv1d


class LazySamePadConv2d(_LazyConvNd, SamePadConv2d):  # type: ignore[misc]
    __doc__ = _doc(SamePadConv2d, 2)
    cls_to_become = SamePadConv2d


class LazySamePadConv3d(_LazyConvNd, SamePadConv3d):  # type: ignore[misc]
    __doc__ = _doc(SamePadConv3d, 3)
    cls_to_become = SamePadConv3d


class LazySamePadConvTranspose1d(_LazyConvTransposeNd, SamePadConvTranspose1d):  # type: ignore[misc]
    __doc__ = _doc(SamePadConvTranspose1d, 1)
    cls_to_become = SamePadConvTranspose1d


class LazySamePadConvTranspose2d(_LazyConvTransposeNd, SamePadConvTranspose2d):  # type: ignore[misc]
    __doc__ = _doc(SamePadConvTranspose2d, 2)
    cls_to_become = SamePadConvTranspose2d


class LazySamePadConvTranspose3d(_LazyConvTransposeNd, SamePadConvTranspose3d):  # type: ignore[misc]
    __doc__ = _doc(SamePadConvTranspose3d, 3)
    cls_to_become = SamePadConvTranspose3d
