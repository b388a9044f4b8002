"""What all layers of samepad share: an attribute `padding`, which may have several forms."""

import operator
from collections.abc import Sequence
from typing import Any

from torch import nn

from samepad._arguments import flat_padding
from samepad.typing import Padding

CONVOLUTION_MODES = ("same", "same_lower", "causal", "valid")
#: Pools and convolutions of more than one dimension have no causal padding.
OTHER_MODES = ("same", "same_lower", "valid")


def kept_padding(padding: Padding, dimensions: int, modes: Sequence[str]) -> Any:
    """Return `padding` as a layer keeps it: a mode, an int, or a tuple, one entry per dimension.

    Raises:
        TypeError: `padding` has another type.
        ValueError: `padding` is a string that is not in `modes`.
        RuntimeError: `padding` has the wrong number of entries.
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
    """Base class of all layers of samepad that pad: its subclasses have a SAME `padding`."""

    _dimensions: int
    padding: Any

    def _scripted_padding(self):  # type: ignore[no-untyped-def]
        """Return `padding` as the operators take it in TorchScript: a mode or a list of amounts."""
        # TorchScript evaluates these isinstance checks at compile time and drops the branch that
        # is not taken. It does so only for if and else, so every alternative is an else branch.
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
