"""SAME convolutions, pools and padding with the same arguments as in torch.nn.functional.

In a function that torch.jit.script compiles, call the operators torch.ops.samepad.conv2d and so on
directly: TorchScript has no type for a `padding` that may have so many forms.
"""

import sys
from collections.abc import Callable
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling, is_exporting

from samepad import _C
from samepad._arguments import flat_padding, listed, mode_text
from samepad.typing import (
    AvgPool,
    AvgPool1d,
    Convolution,
    Fill,
    IntOrTuple,
    MaxPool,
    Modes,
    Padding,
    PaddingMode,
    TransposedConvolution,
)

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "pad",
]


def _traced(*tensors: Tensor | None) -> bool:
    """Whether to call the operator rather than its binding, which computes the same.

    Whatever watches calls in Python (compilers, tracers, torch-function overrides) can see
    operators but not bindings. Without such a watcher the binding is called, which is 15 us faster.
    """
    if is_dynamo_compiling():
        return True
    watched = bool(_C.is_watched(*tensors))
    # Importing torch.onnx takes long, but if it is what traces, it has been imported already.
    if watched and "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export():
        from samepad.onnx import register_symbolics

        register_symbolics()
    return watched


def _deferrable(*tensors: Tensor | None) -> bool:
    """Whether a traced graph may call samepad's kernels when it runs.

    It may not if it is exported, because exported programs have to run without samepad, or if a
    tensor is of a subclass, because subclasses support ATen's operators only.
    """
    return (
        is_dynamo_compiling()
        and not is_exporting()
        and all(type(tensor) in (Tensor, nn.Parameter, NoneType) for tensor in tensors)
    )


def _named(function: Callable[..., Any], name: str, doc: str, dimensions: int) -> Any:
    """Give `function` its name, and its docstring for this number of dimensions."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc.format(
        name=name,
        dimensions=dimensions,
        sizes=("L", "H, W", "D, H, W")[dimensions - 1],
        kernel=("k", "kH, kW", "kD, kH, kW")[dimensions - 1],
        outs=("l", "h, w", "d, h, w")[dimensions - 1],
        causal="" if dimensions == 1 else ", for one dimension of several",
        causal_modes=_CAUSAL_MODES[dimensions - 1],
        modes=_MODES[dimensions - 1],
    )
    return function


#: Examples of a mode per dimension, for convolutions and for other functions.
_CAUSAL_MODES = ('("causal",)', '("causal", "same")', '("causal", "same", "same")')
_MODES = ('("same",)', '("same", "valid")', '("valid", "same", "same")')

_CONV_DOC = """Convolve with SAME padding: {name} of torch.nn.functional, at every stride.

Args:
    input: (N, C, {sizes}) or (C, {sizes}), floating point or complex.
    weight: (O, C / groups, {kernel}), of the input's type and device.
    bias: (O,) or None.
    stride: Step of the kernel, an int or {dimensions} ints, each at least 1.
    padding: How many elements to add before and after each dimension:
        "same": as TensorFlow's SAME, P = max(0, (ceil(n / s) - 1) s + (k - 1) d + 1 - n) in all
        for a size n, kernel k, stride s and dilation d, of which P // 2 before;
        "same_lower": as ONNX's SAME_LOWER, P in all, of which P - P // 2 before;
        "causal"{causal}: as Keras's causal, (k - 1) d in all, of which all before;
        "valid": none;
        one of these per dimension, such as {causal_modes};
        an int, or {dimensions} of them: that many on each side;
        {dimensions} (before, after) pairs: as given; a negative amount crops.
    dilation: Spacing of the kernel's elements, an int or {dimensions} ints, each at least 1.
    groups: Number of blocks that the channels are split into; divides C and O.
    padding_mode: What the added elements contain: "zeros", "reflect", "replicate" or "circular".

Returns:
    (N, O, {outs}) or (O, {outs}). In the SAME modes each size is ceil(n / stride), 0 for n = 0;
    otherwise floor((n + before + after - (k - 1) d - 1) / stride) + 1.

Raises:
    TypeError: An argument has the wrong type.
    RuntimeError: A value, a shape or the number of values is not as above; the kernel is larger
        than the padded input; "reflect" would pad n elements or more, or "circular" more than n.
"""


def _convolution(dimensions: int) -> Convolution:
    """Make the function for this number of spatial dimensions."""
    name = f"conv{dimensions}d"
    eager = getattr(_C, name)
    operator = getattr(torch.ops.samepad, name)
    compiled = getattr(torch.ops.samepad, f"compiled_{name}")

    def conv(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
    ) -> Any:
        if not _traced(input, weight, bias):
            return eager(input, weight, bias, stride, padding, dilation, groups, padding_mode)
        return (compiled if _deferrable(input, weight, bias) else operator)(
            input,
            weight,
            bias,
            listed("stride", stride),
            flat_padding(padding, dimensions),
            listed("dilation", dilation),
            groups,
            padding_mode,
        )

    return _named(conv, name, _CONV_DOC, dimensions)  # type: ignore[no-any-return]


_CONV_TRANSPOSE_DOC = """Transposed convolution with SAME padding: {name} of torch.nn.functional.

With "same" and "same_lower" it is the gradient of the SAME convolution whose output has the size of
this function's input, like TensorFlow's {name}.

Args:
    input: (N, C, {sizes}) or (C, {sizes}), floating point or complex.
    weight: (C, O / groups, {kernel}), of the input's type and device.
    bias: (O,) or None.
    stride: Step of the kernel, an int or {dimensions} ints, each at least 1.
    padding: How many elements to crop from the full result, whose size is (n - 1) s + (k - 1) d + 1
        for a size n, kernel k, stride s and dilation d:
        "same": C = max(0, (n - 1) s + (k - 1) d + 1 - m) in all for an output size m, of which
        C // 2 before; if the full result is shorter than m, elements that contain only the bias
        are added after it;
        "same_lower": C in all, of which C - C // 2 before;
        "valid": none;
        one of these per dimension, such as {modes};
        an int, or {dimensions} of them: that many on each side;
        {dimensions} (before, after) pairs: as given, not negative.
    output_padding: Elements to add at the end, an int or {dimensions} ints smaller than stride or
        dilation; 0 where a mode is "same" or "same_lower", which take an `output_size` instead.
    groups: Number of blocks that the channels are split into; divides C and O.
    dilation: Spacing of the kernel's elements, an int or {dimensions} ints, each at least 1.
    output_size: m, an int or {dimensions} ints, in place of `output_padding`. With "same" and
        "same_lower" it has to satisfy (n - 1) s < m <= n s; otherwise it may be up to s - 1 larger
        than the size without `output_padding`.

Returns:
    (N, O, {outs}) or (O, {outs}). In the SAME modes each size is n s, or `output_size`; otherwise
    (n - 1) s - before - after + (k - 1) d + 1 + output_padding.

Raises:
    TypeError: An argument has another type.
    RuntimeError: A value, a shape or the number of values is not as above.
"""


def _transposed_convolution(dimensions: int) -> TransposedConvolution:
    """Make the function for this number of spatial dimensions."""
    name = f"conv_transpose{dimensions}d"
    eager = getattr(_C, name)
    operator = getattr(torch.ops.samepad, name)

    def conv_transpose(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        output_padding: IntOrTuple = 0,
        groups: int = 1,
        dilation: IntOrTuple = 1,
        output_size: IntOrTuple | None = None,
    ) -> Any:
        if not _traced(input, weight, bias):
            return eager(
                input,
                weight,
                bias,
                stride,
                padding,
                output_padding,
                groups,
                dilation,
                output_size,
            )
        return operator(
            input,
            weight,
            bias,
            listed("stride", stride),
            flat_padding(padding, dimensions),
            listed("output_padding", output_padding),
            groups,
            listed("dilation", dilation),
            None if output_size is None else listed("output_size", output_size),
        )

    return _named(conv_transpose, name, _CONV_TRANSPOSE_DOC, dimensions)  # type: ignore[no-any-return]


_POOL_PADDING_DOC = """How many elements to add before and after each dimension, {what}:
        "same": as TensorFlow's SAME, P = max(0, (ceil(n / s) - 1) s + (k - 1) d + 1 - n) in all
        for a size n, kernel k, stride s and dilation d, of which P // 2 before;
        "same_lower": as ONNX's SAME_LOWER, P in all, of which P - P // 2 before;
        "valid": none;
        one of these per dimension, such as {{modes}};
        an int, or {{dimensions}} of them: that many on each side, at most half the kernel;
        {{dimensions}} (before, after) pairs: as given, each amount from 0 to (k - 1) d.
    """

_POOL_RETURNS_DOC = """In the SAME modes each size is ceil(n / stride), 0 for n = 0; otherwise
    floor((n + before + after - (k - 1) d - 1) / stride) + 1, or the same with ceil if `ceil_mode`.

Raises:
    TypeError: An argument has the wrong type.
    RuntimeError: A value, a shape or the number of values is not as above.
"""

_MAX_POOL_DOC = (
    """Maxima over windows with SAME padding: {name} of torch.nn.functional.

Args:
    input: (N, C, {sizes}) or (C, {sizes}), of a type that PyTorch pools.
    kernel_size: Size of the window, an int or {dimensions} ints.
    stride: Step of the window, an int or {dimensions} ints; by default the kernel size.
    padding: """
    + _POOL_PADDING_DOC.format(what="of -inf")
    + """dilation: Spacing of the window's elements, an int or {dimensions} ints, each at least 1.
    ceil_mode: Whether to round output sizes up; the SAME modes always do.
    return_indices: Whether to return the indices of the maxima too.

Returns:
    (N, C, {outs}) or (C, {outs}), and with `return_indices` a tuple of that and the indices of the
    maxima, of the same shape. The indices count the elements of the unpadded, flattened spatial
    dimensions, as torch.nn.functional.max_unpool{dimensions}d takes them. """
    + _POOL_RETURNS_DOC
)


def _max_pool(dimensions: int) -> MaxPool:
    """Make the function for this number of spatial dimensions."""
    name = f"max_pool{dimensions}d"
    eager = getattr(_C, name)
    operator = getattr(torch.ops.samepad, name)
    operator_with_indices = getattr(torch.ops.samepad, f"{name}_with_indices")

    def max_pool(
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        if not _traced(input):
            return eager(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        if not isinstance(return_indices, bool):
            raise TypeError(f"argument 'return_indices' must be bool, not {return_indices!r}")
        return (operator_with_indices if return_indices else operator)(
            input,
            listed("kernel_size", kernel_size),
            [] if stride is None else listed("stride", stride),
            flat_padding(padding, dimensions),
            listed("dilation", dilation),
            ceil_mode,
        )

    return _named(max_pool, name, _MAX_POOL_DOC, dimensions)  # type: ignore[no-any-return]


_AVG_POOL_DOC = (
    """Means over windows with SAME padding: {name} of torch.nn.functional.

Args:
    input: (N, C, {sizes}) or (C, {sizes}), of a type that PyTorch pools.
    kernel_size: Size of the window, an int or {dimensions} ints.
    stride: Step of the window, an int or {dimensions} ints; by default the kernel size.
    padding: """
    + _POOL_PADDING_DOC.format(what="with d = 1")
    + """ceil_mode: Whether to round output sizes up; the SAME modes always do.
    count_include_pad: Whether padding counts as zeros; if not, each mean is that of the input's
        elements in the window. By default, padding counts if it is given as amounts, as in
        torch.nn.functional, and does not count in the SAME modes, as in TensorFlow.
{divisor}
Returns:
    (N, C, {outs}) or (C, {outs}). """
    + _POOL_RETURNS_DOC
)

_DIVISOR_DOC = """\
    divisor_override: Divisor of the sums in place of the number of elements; not 0.
"""


def _avg_pool(dimensions: int) -> AvgPool:
    """Make the function for 2 or 3 spatial dimensions."""
    name = f"avg_pool{dimensions}d"
    eager = getattr(_C, name)
    operator = getattr(torch.ops.samepad, name)

    def avg_pool(
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        ceil_mode: bool = False,
        count_include_pad: bool | None = None,
        divisor_override: int | None = None,
    ) -> Any:
        if not _traced(input):
            return eager(
                input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
            )
        return operator(
            input,
            listed("kernel_size", kernel_size),
            [] if stride is None else listed("stride", stride),
            flat_padding(padding, dimensions),
            ceil_mode,
            count_include_pad,
            divisor_override,
        )

    doc = _AVG_POOL_DOC.replace("{divisor}", _DIVISOR_DOC)
    return _named(avg_pool, name, doc, dimensions)  # type: ignore[no-any-return]


def _avg_pool1d() -> AvgPool1d:
    """Make avg_pool1d, which as in PyTorch has no `divisor_override`."""

    def avg_pool1d(
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        ceil_mode: bool = False,
        count_include_pad: bool | None = None,
    ) -> Any:
        if not _traced(input):
            return _C.avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
        return torch.ops.samepad.avg_pool1d(
            input,
            listed("kernel_size", kernel_size),
            [] if stride is None else listed("stride", stride),
            flat_padding(padding, 1),
            ceil_mode,
            count_include_pad,
        )

    doc = _AVG_POOL_DOC.replace("{divisor}", "")
    return _named(avg_pool1d, "avg_pool1d", doc, 1)  # type: ignore[no-any-return]


conv1d = _convolution(1)
conv2d = _convolution(2)
conv3d = _convolution(3)
conv_transpose1d = _transposed_convolution(1)
conv_transpose2d = _transposed_convolution(2)
conv_transpose3d = _transposed_convolution(3)
max_pool1d = _max_pool(1)
max_pool2d = _max_pool(2)
max_pool3d = _max_pool(3)
avg_pool1d = _avg_pool1d()
avg_pool2d = _avg_pool(2)
avg_pool3d = _avg_pool(3)


def pad(
    input: Tensor,
    kernel_size: IntOrTuple,
    stride: IntOrTuple = 1,
    dilation: IntOrTuple = 1,
    padding: Modes = "same",
    mode: Fill = "constant",
    value: float | None = None,
) -> Tensor:
    """Only pad, by the SAME amounts for a kernel: torch.nn.functional.pad that computes them.

    Args:
        input: (N, C, spatial...). The last dimensions are padded: as many as `kernel_size` has
            ints, or all but the first two for a single int.
        kernel_size: Size of the kernel, an int or 1 to 3 ints, each at least 1.
        stride: Step of the kernel, an int or as many ints.
        dilation: Spacing of the kernel's elements, an int or as many ints.
        padding: The rule for the amounts, "same", "same_lower", "causal" (for several dimensions
            only in a tuple) or "valid", or a tuple of one rule per dimension; see
            `samepad.same_padding`.
        mode: What the added elements contain: "constant", "reflect", "replicate" or "circular".
        value: The value of the added elements in mode "constant", 0 by default.

    Returns:
        `input` with n + before + after elements in each padded dimension.

    Raises:
        TypeError: An argument has the wrong type.
        RuntimeError: A value or the number of values is not as above; "reflect" would pad n
            elements or more, or "circular" more than n.
        NotImplementedError: More than two dimensions are left unpadded, and `mode` is not
            "constant".

    Example:
        >>> pad(torch.ones(1, 1, 4), 3, stride=2, value=-1.0)
        tensor([[[ 1.,  1.,  1.,  1., -1.]]])
    """
    if not _traced(input):
        return _C.pad(input, kernel_size, stride, dilation, padding, mode, value)
    return torch.ops.samepad.pad(  # type: ignore[no-any-return]
        input,
        listed("kernel_size", kernel_size),
        listed("stride", stride),
        listed("dilation", dilation),
        mode_text("padding", padding),
        mode,
        value,
    )
