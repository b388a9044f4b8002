from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torch import Tensor

from samepad.typing import (
    AvgPool,
    AvgPool1d,
    Convolution,
    Fill,
    IntOrTuple,
    MaxPool,
    Modes,
    Padding,
    TransposedConvolution,
)

conv1d: Convolution
conv2d: Convolution
conv3d: Convolution
conv_transpose1d: TransposedConvolution
conv_transpose2d: TransposedConvolution
conv_transpose3d: TransposedConvolution
max_pool1d: MaxPool
max_pool2d: MaxPool
max_pool3d: MaxPool
avg_pool1d: AvgPool1d
avg_pool2d: AvgPool
avg_pool3d: AvgPool

def pad(
    input: Tensor,
    kernel_size: IntOrTuple,
    stride: IntOrTuple = 1,
    dilation: IntOrTuple = 1,
    padding: Modes = "same",
    mode: Fill = "constant",
    value: float | None = None,
) -> Tensor: ...
def fused_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    packed: Tensor | None,
    mode: str | None,
    pads: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    activation: str,
    parameters: Sequence[float],
    residual_last: bool,
) -> Tensor: ...
def packed_weight(weight: Tensor, groups: int, channels_last: bool) -> Tensor | None: ...
def same_padding(
    input_size: IntOrTuple,
    kernel_size: IntOrTuple,
    stride: IntOrTuple = 1,
    dilation: IntOrTuple = 1,
    mode: Modes = "same",
) -> tuple[tuple[int, int], ...]: ...

# The layer's settings, the pads to add to its input, and the crops to take from its output.
_StaticLayer = tuple[dict[str, Any], tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
_Sizes = Sequence[int]

def _static_conv(
    input_size: _Sizes,
    kernel_size: _Sizes,
    stride: _Sizes,
    dilation: _Sizes,
    padding: Padding,
    padding_mode: str,
) -> _StaticLayer: ...
def _static_conv_transpose(
    input_size: _Sizes,
    output_size: _Sizes,
    kernel_size: _Sizes,
    stride: _Sizes,
    dilation: _Sizes,
    padding: Padding,
) -> _StaticLayer: ...
def _static_max_pool(
    input_size: _Sizes,
    kernel_size: _Sizes,
    stride: _Sizes,
    dilation: _Sizes,
    padding: Padding,
    ceil_mode: bool,
) -> _StaticLayer: ...
def _static_avg_pool(
    input_size: _Sizes,
    kernel_size: _Sizes,
    stride: _Sizes,
    padding: Padding,
    ceil_mode: bool,
    count_include_pad: bool,
    divided: bool,
) -> _StaticLayer: ...
def _explain_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntOrTuple,
    padding: Padding,
    dilation: IntOrTuple,
    groups: int,
    padding_mode: str,
    is_fused: bool,
) -> tuple[str, str, tuple[tuple[int, int], ...], tuple[int, ...], int, int]: ...
def _benchmark() -> bool: ...
def _set_benchmark(enabled: bool) -> None: ...
def _measurements() -> list[tuple[str, list[tuple[str, float]]]]: ...
def _reset_measurements() -> None: ...

class _force_plan:
    def __init__(self, plan: str) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

def is_watched(*tensors: Tensor | None) -> bool: ...
def _bfloat16_costs() -> str | None: ...
def _works(
    input: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> list[tuple[str, int, list[float], float]]: ...
def _plans() -> list[tuple[str, str]]: ...
