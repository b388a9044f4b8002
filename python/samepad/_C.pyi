from types import TracebackType
from typing import Literal

from torch import Tensor

from samepad.typing import (
    AvgPool,
    AvgPool1d,
    Convolution,
    Fill,
    IntOrTuple,
    MaxPool,
    Mode,
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
    padding: Mode = "same",
    mode: Fill = "constant",
    value: float | None = None,
) -> Tensor: ...
def same_padding(
    input_size: IntOrTuple,
    kernel_size: IntOrTuple,
    stride: IntOrTuple = 1,
    dilation: IntOrTuple = 1,
    mode: Mode | str = "same",
) -> tuple[tuple[int, int], ...]: ...
def _fit_pool(
    n: int,
    kernel: int,
    stride: int,
    dilation: int,
    pads: tuple[int, int],
    ceil_mode: bool,
    wanted: int,
    counts: bool,
) -> tuple[int, int, int] | None: ...
def _fit_transposed(
    stride: int, dilation: int, crop: tuple[int, int], tail: int
) -> tuple[int, int, int, int]: ...
def _explain_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntOrTuple,
    padding: Padding,
    dilation: IntOrTuple,
    groups: int,
    padding_mode: str,
) -> tuple[object, ...]: ...
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

def _plans() -> list[tuple[str, str]]: ...
