"""Pools with SAME padding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from samepad import functional
from samepad._arguments import modes_of
from samepad.modules.padded import Padded, kept_padding
from samepad.typing import IntOrTuple, Padding

__all__ = [
    "SamePadAvgPool1d",
    "SamePadAvgPool2d",
    "SamePadAvgPool3d",
    "SamePadMaxPool1d",
    "SamePadMaxPool2d",
    "SamePadMaxPool3d",
]

# The functions below make the method `forward` for each number of dimensions, because TorchScript
# resolves variables of a closure; see samepad.modules.conv.


def _max_pool_forward(
    scripted: Callable[..., Any],
    scripted_with_indices: Callable[..., Any],
    function: Callable[..., Any],
) -> Callable[..., Any]:
    def forward(self: Any, input: Tensor):  # type: ignore[no-untyped-def]
        """Return the maxima or, with `return_indices`, a tuple of the maxima and their indices."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            padding = self._scripted_padding()
            # TorchScript drops the branch that this constant rules out, and does not support
            # conditional expressions whose values are operators.
            if self.return_indices:  # noqa: SIM108
                pool = scripted_with_indices
            else:
                pool = scripted
            return pool(
                input, self.kernel_size, self.stride, padding, self.dilation, self.ceil_mode
            )
        return function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    return forward


class _SamePadMaxPoolNd(Padded, _MaxPoolNd):
    """Adds SAME padding to the three classes of torch.nn."""

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        kept = kept_padding(padding, self._dimensions, is_convolution=False)
        super().__init__(
            kernel_size,  # type: ignore[arg-type]
            stride,  # type: ignore[arg-type]
            kept,
            dilation,  # type: ignore[arg-type]
            return_indices,
            ceil_mode,
        )


def _avg_pool_forward(
    scripted: Callable[..., Tensor], function: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    def forward(self: Any, input: Tensor) -> Tensor:
        """Pool `input`."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            padding = self._scripted_padding()
            pool = scripted
        else:
            padding = self.padding
            pool = function
        return pool(
            input,
            self.kernel_size,
            self.stride,
            padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    return forward


def _avg_pool1d_forward(
    scripted: Callable[..., Tensor], function: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    def forward(self: Any, input: Tensor) -> Tensor:
        """Pool `input`."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            padding = self._scripted_padding()
            pool = scripted
        else:
            padding = self.padding
            pool = function
        return pool(
            input,
            self.kernel_size,
            self.stride,
            padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    return forward


class _SamePadAvgPoolNd(Padded, _AvgPoolNd):
    """Adds SAME padding to the three classes of torch.nn."""

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        ceil_mode: bool = False,
        count_include_pad: bool | None = None,
    ) -> None:
        kept = kept_padding(padding, self._dimensions, is_convolution=False)
        counts = not modes_of(kept) if count_include_pad is None else count_include_pad
        # The next constructor is nn.AvgPool*d's; AvgPool1d's would refuse these paddings: pass 0.
        super().__init__(kernel_size, stride, 0, ceil_mode, counts)
        # As in torch.nn, AvgPool1d keeps an int as a tuple, the others keep it as an int.
        self.padding = (kept,) if isinstance(kept, int) and self._dimensions == 1 else kept


class _SamePadAvgPoolWithDivisorNd(_SamePadAvgPoolNd):
    """Adds `divisor_override`, which nn.AvgPool2d and nn.AvgPool3d have, but not AvgPool1d."""

    divisor_override: int | None

    def __init__(
        self,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        ceil_mode: bool = False,
        count_include_pad: bool | None = None,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override


_PADDING_DOC = """"same" (TensorFlow SAME), "same_lower" (ONNX SAME_LOWER), "valid", one of them per
            dimension, an int or {d} ints for both sides, or {d} (before, after) pairs; see
            samepad.functional."""

_SHAPE_DOC = """(N, C, {sizes}) or (C, {sizes}) to (N, C, {outs}) or (C, {outs}). In the SAME modes
        each size is ceil(n / stride), 0 for n = 0, whatever `ceil_mode`."""

_RAISES_DOC = """
        TypeError: An argument has the wrong type (some types are checked only in the call).
        ValueError: padding is not a known name.
        RuntimeError: padding has the wrong number of modes or amounts for {d} dimensions; in the
            call, the errors of samepad.functional.{function}."""

_MAX_POOL_DOC = f"""Max pool with SAME padding by -inf; replaces nn.MaxPool{{d}}d.

    For a `padding` that nn.MaxPool{{d}}d takes, the results are the same. The attribute `padding`
    has the value that was passed.

    Args:
        kernel_size: Size of the window, an int or {{d}} ints.
        stride: Step of the window, an int or {{d}} ints; by default the kernel size.
        padding: {_PADDING_DOC}
        dilation: Spacing of the window's elements, an int or {{d}} ints.
        return_indices: Whether to return the indices of the maxima too. They count the elements of
            the unpadded, flattened spatial dimensions, as nn.MaxUnpool{{d}}d takes them.
        ceil_mode: Whether to round output sizes up.

    Shape:
        {_SHAPE_DOC}

    Raises:{_RAISES_DOC}

    Example:
        >>> SamePadMaxPool{{d}}d(3, stride=2)(torch.randn(1, 8{{example_in}})).shape
        torch.Size([1, 8{{example_out}}])
    """

_AVG_POOL_DOC = f"""Average pool with SAME padding; replaces nn.AvgPool{{d}}d.

    For a `padding` that nn.AvgPool{{d}}d takes, the results are the same. The attribute `padding`
    has the value that was passed.

    Args:
        kernel_size: Size of the window, an int or {{d}} ints.
        stride: Step of the window, an int or {{d}} ints; by default the kernel size.
        padding: {_PADDING_DOC}
        ceil_mode: Whether to round output sizes up.
        count_include_pad: Whether padding counts as zeros; if not, each mean is that of the input's
            elements in the window. By default, padding counts if it is given as amounts, as in
            nn.AvgPool{{d}}d, and does not count in the SAME modes, as in TensorFlow.{{divisor}}

    Shape:
        {_SHAPE_DOC}

    Raises:{_RAISES_DOC}

    Example:
        >>> SamePadAvgPool{{d}}d(3, stride=2)(torch.randn(1, 8{{example_in}})).shape
        torch.Size([1, 8{{example_out}}])
    """

_DIVISOR_DOC = """
        divisor_override: Divisor of the sums in place of the number of elements; not 0."""


def _doc(doc: str, function: str, dimensions: int) -> str:
    return doc.format(
        d=dimensions,
        function=function,
        sizes=("L", "H, W", "D, H, W")[dimensions - 1],
        outs=("l", "h, w", "d, h, w")[dimensions - 1],
        example_in=", 15" * dimensions,
        example_out=", 8" * dimensions,
        divisor=_DIVISOR_DOC if dimensions > 1 else "",
    )


class SamePadMaxPool1d(_SamePadMaxPoolNd, nn.MaxPool1d):
    __doc__ = _doc(_MAX_POOL_DOC, "max_pool1d", 1)
    _dimensions = 1
    forward = _max_pool_forward(
        torch.ops.samepad.max_pool1d,
        torch.ops.samepad.max_pool1d_with_indices,
        functional.max_pool1d,
    )


class SamePadMaxPool2d(_SamePadMaxPoolNd, nn.MaxPool2d):
    __doc__ = _doc(_MAX_POOL_DOC, "max_pool2d", 2)
    _dimensions = 2
    forward = _max_pool_forward(
        torch.ops.samepad.max_pool2d,
        torch.ops.samepad.max_pool2d_with_indices,
        functional.max_pool2d,
    )


class SamePadMaxPool3d(_SamePadMaxPoolNd, nn.MaxPool3d):
    __doc__ = _doc(_MAX_POOL_DOC, "max_pool3d", 3)
    _dimensions = 3
    forward = _max_pool_forward(
        torch.ops.samepad.max_pool3d,
        torch.ops.samepad.max_pool3d_with_indices,
        functional.max_pool3d,
    )


class SamePadAvgPool1d(_SamePadAvgPoolNd, nn.AvgPool1d):
    __doc__ = _doc(_AVG_POOL_DOC, "avg_pool1d", 1)
    _dimensions = 1
    forward = _avg_pool1d_forward(torch.ops.samepad.avg_pool1d, functional.avg_pool1d)


class SamePadAvgPool2d(_SamePadAvgPoolWithDivisorNd, nn.AvgPool2d):
    __doc__ = _doc(_AVG_POOL_DOC, "avg_pool2d", 2)
    _dimensions = 2
    forward = _avg_pool_forward(torch.ops.samepad.avg_pool2d, functional.avg_pool2d)


class SamePadAvgPool3d(_SamePadAvgPoolWithDivisorNd, nn.AvgPool3d):
    __doc__ = _doc(_AVG_POOL_DOC, "avg_pool3d", 3)
    _dimensions = 3
    forward = _avg_pool_forward(torch.ops.samepad.avg_pool3d, functional.avg_pool3d)
