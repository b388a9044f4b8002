"""What all modules have in common: an attribute `padding` of many forms."""

import operator
from collections.abc import Sequence
from typing import Any

from torch import nn

from samepad._arguments import flat_padding
from samepad.typing import Padding

CONVOLUTION_MODES = ("same", "same_lower", "causal", "valid")
#: Causal is a padding of convolutions, of sequences.
OTHER_MODES = ("same", "same_lower", "valid")


def kept_padding(padding: Padding, dimensions: int, modes: Sequence[str]) -> Any:
    """`padding` as a layer keeps it: a mode, an int, or a tuple with an entry per dimension.

    Raises:
        TypeError: `padding` is none of those.
        ValueError: It is a name, but none of `modes`.
        RuntimeError: It has an entry too many or too few.
    """
    flat = flat_padding(padding, dimensions)
    if isinstance(flat, str):
        if flat not in modes:
            raise ValueError(
                f"Invalid padding string {flat!r}, should be one of {list(modes)} in {dimensions}-D"
            )
        return flat
    amounts = [operator.index(amount) for amount in flat]
    if not isinstance(padding, (tuple, list)):
        return amounts[0]
    if isinstance(padding[0], (tuple, list)):
        return tuple(zip(amounts[::2], amounts[1::2], strict=True))
    return tuple(amounts)


class Padded(nn.Module):
    """A module with a SAME `padding`."""

    _dimensions: int
    padding: Any

    def _scripted_padding(self):  # type: ignore[no-untyped-def]
        """In TorchScript, `padding` as the operators take it: a mode, or a list of amounts."""
        # TorchScript decides these isinstance checks when it compiles and drops the branch that is
        # not taken, so each has to be a branch.
        if isinstance(self.padding, str):
            return self.padding
        else:  # noqa: RET505
            if isinstance(self.padding, int):
                return [self.padding]
            else:  # noqa: RET505
                flat: list[int] = []
                for amount in self.padding:
                    if isinstance(amount, int):
                        flat.append(amount)
                    else:
                        flat.append(amount[0])
                        flat.append(amount[1])
                return flat
