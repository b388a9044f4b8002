"""Names in generated Python, for layers, inputs and models that may be called anything."""

import functools
import keyword
import re
from collections.abc import Container

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


def identifier(name: str, taken: Container[str] = ()) -> str:
    """A name for a submodule, a buffer, an argument, a variable or a class in generated code.

    Args:
        name: What it is called elsewhere: any text.
        taken: Names that it must differ from, beside those that are reserved.

    Returns:
        `name`, as far as it can be: other characters than ASCII's letters, digits and underscores
        become underscores, those at its ends are left out, and a number follows where the name is
        taken.
    """
    # Two underscores at the start would be mangled inside of a class.
    base = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "unnamed"
    if base[0].isdigit():
        base = "_" + base
    result, count = base, 1
    while result in taken or result in reserved():
        result, count = f"{base}_{count}", count + 1
    return result
