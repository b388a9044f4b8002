"""Checks arguments and brings them into the form that the operators take.

In eager calls the C++ binding does this. Constructors of layers and traced calls do not go through
the binding and use these functions.
"""

from typing import Any

_PADDING = "str, int, tuple of strs, tuple of ints or tuple of (before, after) pairs"
#: What separates the modes of several dimensions in the text that the operators take.
_SEPARATOR = ", "


def _is_integer(value: Any) -> bool:
    """Whether `value` counts as an integer: NumPy's integers do, bool does not."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or hasattr(value, "__index__")


def _type_error(argument: str, expected: str, value: Any) -> TypeError:
    return TypeError(
        f"argument {argument!r} must be {expected}, not {value!r} ({type(value).__name__})"
    )


def listed(argument: str, value: Any) -> list[Any]:
    """Return `value`, an integer or a sequence of integers, as a list."""
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    for item in values:
        if not _is_integer(item):
            raise _type_error(argument, "int or tuple of ints", value)
    return values


def modes_of(padding: Any) -> tuple[str, ...]:
    """Return the modes that `padding` consists of: a single one, one per dimension or none."""
    if isinstance(padding, str):
        return (padding,)
    if isinstance(padding, (tuple, list)) and padding and isinstance(padding[0], str):
        return tuple(padding)
    return ()


def each_mode(padding: Any, dimensions: int) -> tuple[str, ...]:
    """Return the mode of each dimension, or nothing if `padding` consists of amounts."""
    modes = modes_of(padding)
    return modes * dimensions if len(modes) == 1 else modes


def mode_text(argument: str, value: Any, expected: str = "str or tuple of strs") -> str:
    """Return a mode, or a sequence of modes, as the one string that the operators take."""
    modes = modes_of(value)
    if not modes or not all(isinstance(mode, str) for mode in modes):
        raise _type_error(argument, expected, value)
    for mode in modes:
        # The operator refuses every other unknown name.
        if _SEPARATOR in mode:
            raise RuntimeError(
                f"Invalid padding string: {mode!r}, expected one mode, or a tuple of one mode per "
                "dimension"
            )
    return _SEPARATOR.join(modes)


def flat_padding(padding: Any, dimensions: int) -> Any:
    """Return modes as the operators' text, and amounts as a flat list.

    The list has one amount, one per dimension, or for pairs: before, after, before, after, ...
    """
    if modes_of(padding):
        return mode_text("padding", padding, _PADDING)
    items = list(padding) if isinstance(padding, (tuple, list)) else [padding]
    if items and isinstance(items[0], (tuple, list)):
        flat: list[Any] = []
        for pair in items:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise _type_error("padding", _PADDING, padding)
            flat.extend(pair)
        counts = [2 * dimensions]
    else:
        flat = items
        counts = [1, dimensions]
    for amount in flat:
        if not _is_integer(amount):
            raise _type_error("padding", _PADDING, padding)
    # `len(flat) in counts` would be shorter, but torch.compile computes it wrongly when
    # `dimensions` is a symbolic integer.
    if not any(len(flat) == count for count in counts):
        raise RuntimeError(
            f"expected padding to be a mode, a list of {dimensions} modes, a single integer, a "
            f"list of {dimensions} integers or a list of {dimensions} (before, after) pairs, but "
            f"got padding={padding}"
        )
    return flat
