"""Checks arguments and brings them into the form that the operators take.

In eager calls the C++ binding does this. Constructors of layers and traced calls do not go through
the binding and use these functions.
"""

from typing import Any

_PADDING = "str, int, tuple of ints or tuple of (before, after) pairs"


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


def flat_padding(padding: Any, dimensions: int) -> Any:
    """Return a mode unchanged, and amounts as a flat list.

    The list has one amount, one per dimension, or for pairs: before, after, before, after, ...
    """
    if isinstance(padding, str):
        return padding
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
            f"expected padding to be a mode, a single integer, a list of {dimensions} integers or "
            f"a list of {dimensions} (before, after) pairs, but got padding={padding}"
        )
    return flat
