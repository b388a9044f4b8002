"""Names in generated Python, for layers, inputs and models that may be called anything."""

import functools
import keyword
import re
from collections.abc import Iterable

from torch import fx, nn

#: What generated code refers to: its imports, Python's own functions, and torch.fx's globals.
_GENERATED = frozenset(
    [
        *("math", "nn", "operator", "samepad", "torch"),
        *("complex", "float", "getattr", "self", "slice", "super"),
        *("NoneType", "device", "fx_pytree", "inf", "nan", "pytree"),
    ]
)


@functools.cache
def reserved() -> frozenset[str]:
    """Names that generated code must not give: keywords, what a torch.fx.GraphModule has as a
    module of its own accord, and what generated code refers to."""
    module = fx.GraphModule(nn.Module(), fx.Graph())
    return frozenset((*keyword.kwlist, *dir(module))) | _GENERATED


def _cleaned(name: str) -> str:
    """A name with ASCII's letters, digits and underscores in place of other characters."""
    # Two underscores at the start would be mangled inside of a class.
    base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "unnamed"
    return "_" + base if base[0].isdigit() else base


class Names:
    """Gives names for submodules, buffers, arguments and variables in generated code, each once.

    A name costs the same however many were given before, and however often the same was wanted.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Names that are taken from the start, beside those that are reserved."""
        self._taken = set(taken)
        #: The number to try next after what was wanted before.
        self._numbers: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        """The next name.

        Args:
            wanted: What it is called elsewhere: any text.

        Returns:
            `wanted`, as far as it can be: other characters than ASCII's letters, digits and
            underscores become underscores, those at its ends are left out, and a number follows
            where the name is taken.
        """
        base = _cleaned(wanted)
        number = self._numbers.get(base, 0)
        while True:
            name = f"{base}_{number}" if number else base
            number += 1
            if name not in self._taken and name not in reserved():
                break
        self._numbers[base] = number
        self._taken.add(name)
        return name


def identifier(name: str, taken: Iterable[str] = ()) -> str:
    """One name, which differs from those that are taken: see Names."""
    return Names(taken)(name)
