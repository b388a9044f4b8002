"""Transposed convolutions with SAME padding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from samepad import functional
from samepad._arguments import each_mode
from samepad.modules.padded import Padded, kept_padding
from samepad.typing import IntOrTuple, Padding

__all__ = ["SamePadConvTranspose1d", "SamePadConvTranspose2d", "SamePadConvTranspose3d"]


def _forward(
    scripted: Callable[..., Tensor], function: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Make the method `forward` for one number of dimensions; see samepad.modules.conv."""

    def forward(self: Any, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve `input`.

        Args:
            input: As in the class's "Shape".
            output_size: The spatial sizes of the output. As in torch.nn, it may begin with the
                batch and channels, which are ignored.
        """
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            padding = self._scripted_padding()
            convolution = scripted
        else:
            padding = self.padding
            convolution = function
        if output_size is not None and len(output_size) == input.dim():
            output_size = output_size[input.dim() - len(self.kernel_size) :]
        # If an output_size is given, it decides how much to add.
        output_padding = list(self.output_padding) if output_size is None else [0]
        return convolution(
            input,
            self.weight,
            self.bias,
            self.stride,
            padding,
            output_padding,
            self.groups,
            self.dilation,
            output_size,
        )

    return forward


class _SamePadConvTransposeNd(Padded, _ConvTransposeNd):
    """Adds SAME padding to the three classes of torch.nn."""

    def __init__(
        self,
        in_channels: int,
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
        kept = kept_padding(padding, self._dimensions, is_convolution=False)
        # The next constructor is nn.ConvTranspose*d's, which would refuse these paddings: pass 0.
        super().__init__(  # type: ignore[call-arg]
            in_channels,
            out_channels,
            kernel_size,
            stride,
            0,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            device=device,
            dtype=dtype,
        )
        # Amounts have no modes, and may be combined with any output_padding.
        modes = zip(each_mode(kept, self._dimensions), self.output_padding, strict=False)
        if any(mode != "valid" and extra for mode, extra in modes):
            raise ValueError(
                f"output_padding is for amounts of padding: with padding={kept!r} call the layer "
                f"with an output_size, but got output_padding={output_padding}"
            )
        # As in torch.nn, an int is kept as a tuple with one entry per dimension.
        self.padding = (kept,) * self._dimensions if isinstance(kept, int) else kept


_DOC = """Transposed convolution with SAME padding; replaces nn.ConvTranspose{d}d.

    With "same" and "same_lower" it is the gradient of the SAME convolution whose output has the
    size of this layer's input, like TensorFlow's conv{d}d_transpose and Keras's Conv{d}DTranspose.
    The parameters, their names and initialisation and the state_dict are nn.ConvTranspose{d}d's.
    For a `padding` that nn.ConvTranspose{d}d takes, the results are the same too. The attribute
    `padding` has the value that was passed; an int is kept as a tuple with one entry per dimension.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size, an int or {d} ints.
        stride: Stride, an int or {d} ints.
        padding: "same" (TensorFlow SAME), "same_lower" (ONNX SAME_LOWER), "valid", one of them per
            dimension, an int or {d} ints to crop from both sides, or {d} (before, after) pairs; see
            samepad.functional.
        output_padding: Elements to add at the end, an int or {d} ints. Not with "same" and
            "same_lower": pass an `output_size` in the call instead.
        groups: Number of groups; divides both channel counts.
        bias: Whether to add a learnable bias.
        dilation: Spacing of the kernel's elements, an int or {d} ints.
        padding_mode: Must be "zeros", as for nn.ConvTranspose{d}d.
        device: Device of the parameters.
        dtype: Type of the parameters.

    Shape:
        (N, in_channels, {sizes}) or (in_channels, {sizes}) to (N, out_channels, {outs}) or
        (out_channels, {outs}). In the SAME modes each size is n stride, or the `output_size` of the
        call, for which (n - 1) stride < output_size <= n stride.

    Raises:
        TypeError: An argument has the wrong type (some types are checked only in the call).
        ValueError: groups is not positive or does not divide both channel counts; padding or
            padding_mode is not a known name; output_padding is given with "same" or "same_lower".
        RuntimeError: padding has the wrong number of modes or amounts for {d} dimensions; in the
            call, the errors of samepad.functional.conv_transpose{d}d.

    Example:
        >>> layer = SamePadConvTranspose{d}d(8, 3, kernel_size=3, stride=2)
        >>> layer(torch.randn(1, 8{example_in})).shape
        torch.Size([1, 3{example_out}])
    """


def _doc(dimensions: int) -> str:
    return _DOC.format(
        d=dimensions,
        sizes=("L", "H, W", "D, H, W")[dimensions - 1],
        outs=("l", "h, w", "d, h, w")[dimensions - 1],
        example_in=", 8" * dimensions,
        example_out=", 16" * dimensions,
    )


class SamePadConvTranspose1d(_SamePadConvTransposeNd, nn.ConvTranspose1d):
    __doc__ = _doc(1)
    _dimensions = 1
    forward = _forward(torch.ops.samepad.conv_transpose1d, functional.conv_transpose1d)


class SamePadConvTranspose2d(_SamePadConvTransposeNd, nn.ConvTranspose2d):
    __doc__ = _doc(2)
    _dimensions = 2
    forward = _forward(torch.ops.samepad.conv_transpose2d, functional.conv_transpose2d)


class SamePadConvTranspose3d(_SamePadConvTransposeNd, nn.ConvTranspose3d):
    __doc__ = _doc(3)
    _dimensions = 3
    forward = _forward(torch.ops.samepad.conv_transpose3d, functional.conv_transpose3d)
