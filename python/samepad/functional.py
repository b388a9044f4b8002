"""SAME convolutions with the arguments of torch.nn.functional's, in the same order.

In a function compiled by torch.jit.script, call torch.ops.samepad.conv2d and so on instead, which
these call: TorchScript has no type for a `padding` of so many forms.
"""

import torch
from torch import Tensor
from torch.overrides import has_torch_function

from samepad import _C
from samepad._arguments import flat_padding, listed
from samepad.typing import Convolution, IntOrTuple, Padding, PaddingMode

__all__ = ["conv1d", "conv2d", "conv3d"]


_DOC = """Convolve with SAME padding: {name} of torch.nn.functional, at every stride.

Args:
    input: (N, C, {sizes}) or (C, {sizes}), floating point or complex.
    weight: (O, C / groups, {kernel}), of the input's type and device.
    bias: (O,) or None.
    stride: Step of the kernel, an int or {dimensions} ints, each at least 1.
    padding: How many elements to add before and after each dimension:
        "same": as TensorFlow's SAME, P = max(0, (ceil(n / s) - 1) s + (k - 1) d + 1 - n) in all
        for a size n, kernel k, stride s and dilation d, of which P // 2 before;
        "same_lower": as ONNX's SAME_LOWER, P - P // 2 before;{causal}
        "valid": none;
        an int, or {dimensions} of them: that many on both sides;
        {dimensions} (before, after) pairs: as given; a negative amount crops.
    dilation: Spacing of the kernel's elements, an int or {dimensions} ints, each at least 1.
    groups: Number of blocks that the channels are split into; divides C and O.
    padding_mode: What the padding holds: "zeros", "reflect", "replicate" or "circular".

Returns:
    (N, O, {outs}) or (O, {outs}). In the SAME modes each size is ceil(n / stride), 0 for n = 0;
    otherwise floor((n + before + after - (k - 1) d - 1) / stride) + 1.

Raises:
    TypeError: An argument has another type.
    RuntimeError: Shapes, types, devices or values do not fit each other; the kernel exceeds the
        padded input; "reflect" would pad n elements or more, or "circular" more than n.
"""

_CAUSAL = """
        "causal": as Keras's causal, all (k - 1) d before;"""


def _convolution(dimensions: int) -> Convolution:
    """The function for the operator of so many spatial dimensions."""
    name = f"conv{dimensions}d"
    eager = getattr(_C, name)
    operator = getattr(torch.ops.samepad, name)

    def conv(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
    ) -> Tensor:
        # What watches calls in Python (compilers, tracers, torch-function overrides) knows
        # operators; an eager call is 15 us faster through the binding. Both run the same operator.
        if (
            torch.compiler.is_compiling()
            or torch._C._get_tracing_state() is not None
            or has_torch_function((input, weight, bias))
        ):
            return operator(  # type: ignore[no-any-return]
                input,
                weight,
                bias,
                listed("stride", stride),
                flat_padding(padding, dimensions),
                listed("dilation", dilation),
                groups,
                padding_mode,
            )
        return eager(  # type: ignore[no-any-return]
            input, weight, bias, stride, padding, dilation, groups, padding_mode
        )

    conv.__name__ = conv.__qualname__ = name
    conv.__doc__ = _DOC.format(
        name=name,
        dimensions=dimensions,
        sizes=("L", "H, W", "D, H, W")[dimensions - 1],
        kernel=("k", "kH, kW", "kD, kH, kW")[dimensions - 1],
        outs=("l", "h, w", "d, h, w")[dimensions - 1],
        causal=_CAUSAL if dimensions == 1 else "",
    )
    return conv


conv1d = _convolution(1)
conv2d = _convolution(2)
conv3d = _convolution(3)
