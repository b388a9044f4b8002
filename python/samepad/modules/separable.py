"""Depthwise and separable convolutions whose weights correspond one to one to Keras's."""

import torch
from torch import Tensor, nn

from samepad._arguments import listed
from samepad.modules.conv import SamePadConv1d, SamePadConv2d, _SamePadConvNd
from samepad.typing import IntOrTuple, Padding, PaddingMode

__all__ = [
    "SamePadDepthwiseConv1d",
    "SamePadDepthwiseConv2d",
    "SamePadSeparableConv1d",
    "SamePadSeparableConv2d",
]


class _SamePadDepthwiseConvNd(_SamePadConvNd):
    def __init__(
        self,
        in_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        (multiplier,) = listed("depth_multiplier", depth_multiplier)
        if multiplier < 1:
            raise ValueError(f"depth_multiplier must be at least 1, but got {depth_multiplier}")
        super().__init__(
            in_channels,
            in_channels * multiplier,
            kernel_size,
            stride,
            padding,
            dilation,
            in_channels,
            bias,
            padding_mode,
            device,
            dtype,
        )

    @property
    def depth_multiplier(self) -> int:
        """Output channels per input channel."""
        return self.out_channels // self.in_channels


class _SamePadSeparableConvNd(nn.Module):
    _depthwise: type[_SamePadDepthwiseConvNd]
    _pointwise: type[_SamePadConvNd]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrTuple,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = self._depthwise(
            in_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            depth_multiplier,
            bias=False,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.pointwise = self._pointwise(
            in_channels * depth_multiplier,
            out_channels,
            kernel_size=1,
            bias=bias,
            device=device,
            dtype=dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `input`."""
        return self.pointwise(self.depthwise(input))  # type: ignore[no-any-return]


_ARGS_DOC = """kernel_size: Kernel size, an int or {d} ints.
        stride: Stride, an int or {d} ints. The ints may differ, unlike in TensorFlow.
        padding: "same" (TensorFlow SAME), "same_lower" (ONNX SAME_LOWER),{causal} "valid", one
            mode per dimension, such as {modes}, an int or {d} ints for both sides, or
            {d} (before, after) pairs; see samepad.functional.
        dilation: Spacing of the kernel's elements, an int or {d} ints.
        depth_multiplier: M, the number of filters for each input channel.
        bias: Whether to add a learnable bias{where}.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: Device of the parameters.
        dtype: Type of the parameters."""

_DEPTHWISE_DOC = f"""Depthwise convolution: each channel has its own filters. This is Keras's
    DepthwiseConv{{d}}D, for every stride and dilation.

    It is a SamePadConv{{d}}d with one group per channel. Keras's weights are converted as follows,
    where C is the number of channels and M the depth multiplier:

        weight = depthwise_kernel, ({{kernel}}, C, M), moved to (C M, 1, {{kernel}}):
                 kernel.permute({{permutation}}).reshape(C * M, 1, {{kernel}})
        bias   = bias, (C M)

    Args:
        in_channels: C, the number of channels of the input.
        {_ARGS_DOC}

    Shape:
        (N, C, {{sizes}}) or (C, {{sizes}}) to (N, C M, {{outs}}) or (C M, {{outs}}), where output
        channel c M + m is computed from channel c. In the SAME modes each size is ceil(n / stride).

    Raises:
        TypeError, RuntimeError: As SamePadConv{{d}}d.
        ValueError: As SamePadConv{{d}}d, or depth_multiplier is less than 1.

    Example:
        >>> layer = SamePadDepthwiseConv{{d}}d(3, kernel_size=3, stride=2, depth_multiplier=2)
        >>> layer(torch.randn(1, 3{{example_in}})).shape
        torch.Size([1, 6{{example_out}}])
    """

_SEPARABLE_DOC = f"""Depthwise convolution followed by a 1x1 convolution. This is Keras's
    SeparableConv{{d}}D, for every stride and dilation.

    Keras's weights are converted as follows, where C and O are the numbers of input and output
    channels and M is the depth multiplier:

        depthwise.weight = depthwise_kernel, ({{kernel}}, C, M), as in SamePadDepthwiseConv{{d}}d
        pointwise.weight = pointwise_kernel, ({{ones}}, C M, O), moved to (O, C M, {{ones}})
        pointwise.bias   = bias, (O)

    Args:
        in_channels: C, the number of channels of the input.
        out_channels: O, the number of channels of the output.
        {_ARGS_DOC}

    Shape:
        (N, C, {{sizes}}) or (C, {{sizes}}) to (N, O, {{outs}}) or (O, {{outs}}). In the SAME modes
        each size is ceil(n / stride).

    Raises:
        TypeError, RuntimeError: As SamePadConv{{d}}d.
        ValueError: As SamePadConv{{d}}d, or depth_multiplier is less than 1.

    Example:
        >>> layer = SamePadSeparableConv{{d}}d(3, 8, kernel_size=3, stride=2)
        >>> layer(torch.randn(1, 3{{example_in}})).shape
        torch.Size([1, 8{{example_out}}])
    """


def _doc(doc: str, dimensions: int) -> str:
    return doc.format(
        d=dimensions,
        kernel=("k", "kH, kW")[dimensions - 1],
        permutation=("1, 2, 0", "2, 3, 0, 1")[dimensions - 1],
        ones=("1", "1, 1")[dimensions - 1],
        causal=' "causal" (Keras causal),' if dimensions == 1 else "",
        modes=('("causal",)', '("causal", "same")')[dimensions - 1],
        where=" after the 1x1 convolution" if doc is _SEPARABLE_DOC else "",
        sizes=("L", "H, W")[dimensions - 1],
        outs=("l", "h, w")[dimensions - 1],
        example_in=", 15" * dimensions,
        example_out=", 8" * dimensions,
    )


class SamePadDepthwiseConv1d(_SamePadDepthwiseConvNd, SamePadConv1d):
    __doc__ = _doc(_DEPTHWISE_DOC, 1)


class SamePadDepthwiseConv2d(_SamePadDepthwiseConvNd, SamePadConv2d):
    __doc__ = _doc(_DEPTHWISE_DOC, 2)


class SamePadSeparableConv1d(_SamePadSeparableConvNd):
    __doc__ = _doc(_SEPARABLE_DOC, 1)
    _depthwise = SamePadDepthwiseConv1d
    _pointwise = SamePadConv1d


class SamePadSeparableConv2d(_SamePadSeparableConvNd):
    __doc__ = _doc(_SEPARABLE_DOC, 2)
    _depthwise = SamePadDepthwiseConv2d
    _pointwise = SamePadConv2d
