"""Types of arguments, for annotations: samepad.typing.Padding and so on."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, TypeAlias, overload

from torch import Tensor, nn

#: One integer for all dimensions, or one per dimension.
IntOrTuple: TypeAlias = int | Sequence[int]

#: One (before, after) pair per dimension.
Pairs: TypeAlias = Sequence[Sequence[int]]

#: The rule that chooses the padding.
Mode: TypeAlias = Literal["same", "same_lower", "causal", "valid"]

#: A mode, one amount for all dimensions, one per dimension, or a (before, after) pair per
#: dimension. `str` covers names that are not known to be literals; others are refused when used.
Padding: TypeAlias = Mode | str | IntOrTuple | Pairs

#: What the padding is filled with.
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]

#: What a padding alone is filled with, as torch.nn.functional.pad names it.
Fill: TypeAlias = Literal["constant", "reflect", "replicate", "circular"]

#: Which layers to convert: a function of (qualified name, layer), or qualified names.
Select: TypeAlias = Callable[[str, nn.Module], bool] | Iterable[str]


class Convolution(Protocol):
    """A function of samepad.functional."""

    def __call__(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
    ) -> Tensor:
        """See samepad.functional.conv2d."""


class TransposedConvolution(Protocol):
    """A function of samepad.functional."""

    def __call__(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: IntOrTuple = 1,
        padding: Padding = "same",
        output_padding: IntOrTuple = 0,
        groups: int = 1,
        dilation: IntOrTuple = 1,
        output_size: IntOrTuple | None = None,
    ) -> Tensor:
        """See samepad.functional.conv_transpose2d."""


class MaxPool(Protocol):
    """A function of samepad.functional."""

    @overload
    def __call__(
        self,
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        ceil_mode: bool = False,
        return_indices: Literal[False] = False,
    ) -> Tensor: ...

    @overload
    def __call__(
        self,
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        ceil_mode: bool = False,
        *,
        return_indices: Literal[True],
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def __call__(
        self,
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        dilation: IntOrTuple = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """See samepad.functional.max_pool2d."""


class AvgPool(Protocol):
    """A function of samepad.functional."""

    def __call__(
        self,
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        ceil_mode: bool = False,
        count_include_pad: bool | None = None,
        divisor_override: int | None = None,
    ) -> Tensor:
        """See samepad.functional.avg_pool2d."""


class AvgPool1d(Protocol):
    """A function of samepad.functional."""

    def __call__(
        self,
        input: Tensor,
        kernel_size: IntOrTuple,
        stride: IntOrTuple | None = None,
        padding: Padding = "same",
        ceil_mode: bool = False,
        count_include_pad: bool | None = None,
    ) -> Tensor:
        """See samepad.functional.avg_pool1d."""
