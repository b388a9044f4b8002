"""Types of arguments, for annotations: samepad.typing.Padding and so on."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol, TypeAlias

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
