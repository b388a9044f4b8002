"""Arguments as the operators take them, where the binding, which checks them in eager calls, is not
called: in layers' constructors and in traced calls."""

from typing import Any

_PADDING = "str, int, tuple of ints or tuple of (before, after) pairs"


def _is_integer(value: Any) -> bool:
    """Whether `value` counts as one: NumPy's integers do, bool does not."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or hasattr(value, "__index__")


def _type_error(argument: str, expected: str, value: Any) -> TypeError:
    return TypeError(
        f"argument {argument!r} must be {expected}, not {value!r} ({type(value).__name__})"
    )


def listed(argument: str, value: Any) -> list[Any]:
    """`value`, an integer or a sequence of them, as a list."""
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    for item in values:
        if not _is_integer(item):
            raise _type_error(argument, "int or tuple of ints", value)
    return values


def flat_padding(padding: Any, dimensions: int) -> Any:
    """A mode as it is; amounts as a list: one, one per dimension, or before, after, before, ..."""
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
    # Not `in`, which torch.compile gets wrong where it takes `dimensions` for a symbolic integer.
    if not any(len(flat) == count for count in counts):
        raise RuntimeError(
            f"expected padding to be a mode, a single integer, a list of {dimensions} integers or "
            f"a list of {dimensions} (before, after) pairs, but got padding={padding}"
        )
    return flat
