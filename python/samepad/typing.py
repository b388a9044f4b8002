"""Types for the annotation of arguments, such as samepad.typing.Padding."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, TypeAlias, overload

from torch import Tensor, nn

#: One integer for all dimensions, or one per dimension.
IntOrTuple: TypeAlias = int | Sequence[int]

#: One (before, after) pair per dimension.
Pairs: TypeAlias = Sequence[Sequence[int]]

#: The rule that chooses the padding.
Mode: TypeAlias = Literal["same", "same_lower", "causal", "valid"]

#: One rule for all dimensions, or one per dimension. `str` accepts modes that a type checker does
#: not know to be literals; other strings are refused at run time.
Modes: TypeAlias = Mode | str | Sequence[Mode] | Sequence[str]

#: A mode, one mode per dimension, one amount for all dimensions, one amount per dimension, or one
#: (before, after) pair per dimension.
Padding: TypeAlias = Modes | IntOrTuple | Pairs

#: What the elements that padding adds contain.
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]

#: The same for `samepad.functional.pad`, with the names that torch.nn.functional.pad uses.
Fill: TypeAlias = Literal["constant", "reflect", "replicate", "circular"]

#: Chooses layers to convert: a function of (qualified name, layer), or qualified names.
Select: TypeAlias = Callable[[str, nn.Module], bool] | Iterable[str]


class Convolution(Protocol):
    """The signature of samepad.functional's convolutions."""

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
    """The signature of samepad.functional's transposed convolutions."""

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
    """The signature of samepad.functional's max pools."""

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
    """The signature of samepad.functional's average pools of two and three dimensions."""

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
    """The signature of samepad.functional.avg_pool1d, which has no `divisor_override`."""

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
