from types import TracebackType
from typing import Literal

from samepad.typing import Convolution, IntOrTuple, Mode

conv1d: Convolution
conv2d: Convolution
conv3d: Convolution

def same_padding(
    input_size: IntOrTuple,
    kernel_size: IntOrTuple,
    stride: IntOrTuple = 1,
    dilation: IntOrTuple = 1,
    mode: Mode = "same",
) -> tuple[tuple[int, int], ...]: ...

class _force_plan:
    def __init__(self, plan: Literal["symmetric", "crop", "pad"]) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
