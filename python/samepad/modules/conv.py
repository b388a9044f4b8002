"""Convolutions with SAME padding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from samepad import functional
from samepad.modules.padded import Padded, kept_padding
from samepad.typing import IntOrTuple, Padding, PaddingMode

__all__ = ["SamePadConv1d", "SamePadConv2d", "SamePadConv3d"]


def _conv_forward(
    scripted: Callable[..., Tensor], function: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Make the method `_conv_forward` for one number of dimensions.

    The method gets `scripted` from this closure rather than from its class, because TorchScript
    resolves variables of a closure, but no other value that differs between the classes.
    """

    def _conv_forward(self: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            padding = self._scripted_padding()
            convolution = scripted
        else:
            padding = self.padding
            convolution = function
        return convolution(
            input,
            weight,
            bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            self.padding_mode,
        )

    return _conv_forward


class _SamePadConvNd(Padded, _ConvNd):
    """Adds SAME padding to the three classes of torch.nn."""

    def __init__(
        self,
        in_channels: int,
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
        kept = kept_padding(padding, self._dimensions, is_convolution=True)
        # The next constructor is nn.Conv*d's, which would refuse these paddings: pass 0.
        super().__init__(  # type: ignore[call-arg]
            in_channels,
            out_channels,
            kernel_size,  # type: ignore[arg-type]
            stride,  # type: ignore[arg-type]
            0,  # type: ignore[arg-type]
            dilation,  # type: ignore[arg-type]
            groups,  # type: ignore[arg-type]
            bias,  # type: ignore[arg-type]
            padding_mode,  # type: ignore[arg-type]
            device=device,
            dtype=dtype,
        )
        # As in torch.nn, an int is kept as a tuple with one entry per dimension.
        self.padding = (kept,) * self._dimensions if isinstance(kept, int) else kept


_DOC = """Convolution with SAME padding at every stride; replaces nn.Conv{d}d.

    The parameters, their names and initialisation and the state_dict are nn.Conv{d}d's. For a
    `padding` that nn.Conv{d}d takes, the results are the same too. The attribute `padding` has the
    value that was passed; an int is kept as a tuple with one entry per dimension.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size, an int or {d} ints.
        stride: Stride, an int or {d} ints.
        padding: "same" (TensorFlow SAME), "same_lower" (ONNX SAME_LOWER),{causal} "valid", one
            mode per dimension, such as {modes}, an int or {d} ints for both
            sides, or {d} (before, after) pairs; see samepad.functional.
        dilation: Spacing of the kernel's elements, an int or {d} ints.
        groups: Number of groups; divides both channel counts.
        bias: Whether to add a learnable bias.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: Device of the parameters.
        dtype: Type of the parameters.

    Shape:
        (N, in_channels, {sizes}) or (in_channels, {sizes}) to (N, out_channels, {outs}) or
        (out_channels, {outs}). In the SAME modes each size is ceil(n / stride), 0 for n = 0.

    Raises:
        TypeError: An argument has the wrong type (some types are checked only in the call).
        ValueError: groups is not positive or does not divide both channel counts; padding or
            padding_mode is not a known name.
        RuntimeError: padding has the wrong number of modes or amounts for {d} dimensions; in the
            call, the errors of samepad.functional.conv{d}d.

    Example:
        >>> layer = SamePadConv{d}d(3, 8, kernel_size=3, stride=2)
        >>> layer(torch.randn(1, 3{example_in})).shape
        torch.Size([1, 8{example_out}])
    """


def _doc(dimensions: int) -> str:
    return _DOC.format(
        d=dimensions,
        causal=' "causal" (Keras causal),' if dimensions == 1 else "",
        modes=('("causal",)', '("causal", "same")', '("causal", "same", "same")')[dimensions - 1],
        sizes=("L", "H, W", "D, H, W")[dimensions - 1],
        outs=("l", "h, w", "d, h, w")[dimensions - 1],
        example_in=", 15" * dimensions,
        example_out=", 8" * dimensions,
    )


class SamePadConv1d(_SamePadConvNd, nn.Conv1d):
    __doc__ = _doc(1)
    _dimensions = 1
    _conv_forward = _conv_forward(torch.ops.samepad.conv1d, functional.conv1d)


class SamePadConv2d(_SamePadConvNd, nn.Conv2d):
    __doc__ = _doc(2)
    _dimensions = 2
    _conv_forward = _conv_forward(torch.ops.samepad.conv2d, functional.conv2d)


class SamePadConv3d(_SamePadConvNd, nn.Conv3d):
    __doc__ = _doc(3)
    _dimensions = 3
    _conv_forward = _conv_forward(torch.ops.samepad.conv3d, functional.conv3d)
