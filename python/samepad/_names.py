"""Valid Python names for layers, inputs and models whose own names may be any text."""

import functools
import keyword
import re
from collections.abc import Iterable

from torch import fx, nn

#: Names that generated code refers to: its imports, Python's own functions, and torch.fx's globals.
_GENERATED = frozenset(
    [
        *("math", "nn", "operator", "samepad", "torch"),
        *("complex", "float", "getattr", "self", "slice", "super"),
        *("NoneType", "device", "fx_pytree", "inf", "nan", "pytree"),
    ]
)


@functools.cache
def reserved() -> frozenset[str]:
    """Names that generated code must not give to anything.

    They are keywords, the attributes of every torch.fx.GraphModule, and the names that generated
    code refers to.
    """
    module = fx.GraphModule(nn.Module(), fx.Graph())
    return frozenset((*keyword.kwlist, *dir(module))) | _GENERATED


def _cleaned(name: str) -> str:
    """Replace all characters but ASCII letters, digits and underscores by underscores."""
    # Underscores at the start are removed, because Python mangles names in a class that begin with
    # two.
    base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "unnamed"
    return "_" + base if base[0].isdigit() else base


class Names:
    """Chooses unique names for submodules, buffers, arguments and variables in generated code.

    Choosing a name takes constant time, however many names were given before and however often the
    same name was wanted.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Begin with the names `taken`; reserved names are never given either."""
        self._taken = set(taken)
        #: For each cleaned name that was wanted before, the number to append next.
        self._numbers: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        """Choose a name that has not been given before.

        Args:
            wanted: The name in the other framework: any text.

        Returns:
            A name as similar to `wanted` as possible: characters other than ASCII letters, digits
            and underscores become underscores, underscores at both ends are left out, and a number
            is appended if the name is taken.
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
    """Turn `name` into a valid name that is not in `taken`: see Names."""
    return Names(taken)(name)
