"""What all layers of samepad share: an attribute `padding`, which may have several forms."""

import operator
from typing import Any

from torch import nn

from samepad._arguments import flat_padding, modes_of
from samepad.typing import Padding

_MODES = ["same", "same_lower", "valid"]


def _kept_modes(padding: Any, dimensions: int, is_convolution: bool) -> Any:
    modes = modes_of(padding)
    # Pools have no causal padding. Convolutions of several dimensions have it only in the
    # dimensions for which a tuple says so, because it is rarely all of them that are meant.
    in_a_tuple = is_convolution and dimensions > 1
    is_causal = is_convolution and (dimensions == 1 or len(modes) == dimensions)
    allowed = [*_MODES[:2], "causal", *_MODES[2:]] if is_causal else _MODES
    for mode in modes:
        if not isinstance(mode, str):
            flat_padding(padding, dimensions)  # raises the TypeError
        if mode not in allowed:
            example = ("causal", *["same"] * (dimensions - 1))
            hint = f", or a tuple such as {example}" if mode == "causal" and in_a_tuple else ""
            raise ValueError(
                f"Invalid padding string {mode!r}, should be one of {allowed} in {dimensions}-D"
                f"{hint}"
            )
    if len(modes) not in (1, dimensions):
        raise RuntimeError(
            f"expected padding to be a mode or a list of {dimensions} modes, but got "
            f"padding={padding}"
        )
    return padding if isinstance(padding, str) else modes


def kept_padding(padding: Padding, dimensions: int, is_convolution: bool) -> Any:
    """Return `padding` as a layer keeps it: a mode, an int, or a tuple, one entry per dimension.

    Raises:
        TypeError: `padding` has another type.
        ValueError: `padding` contains a string that is not a mode of such a layer.
        RuntimeError: `padding` has the wrong number of entries.
    """
    if modes_of(padding):
        return _kept_modes(padding, dimensions, is_convolution)
    flat = flat_padding(padding, dimensions)
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
            elif isinstance(self.padding[0], str):  # noqa: RET505
                names: list[str] = []
                for name in self.padding:
                    names.append(name)
                return ", ".join(names)
            else:
                flat: list[int] = []
                for amount in self.padding:
                    if isinstance(amount, int):
                        flat.append(amount)
                    else:
                        flat.append(amount[0])
                        flat.append(amount[1])
                return flat
