"""Lets a module do no more than call its children one after the other, as nn.Sequential does.

The module stays an instance of its class, so that it keeps the class's attributes and properties:
it gets a subclass with another forward, as a module does that torch.nn.utils.parametrize changes.
"""

import inspect
import linecache
from types import FunctionType
from typing import Any, SupportsIndex

from torch import nn

#: Methods that may copy a module as one of its former class, or register a subclass.
_UNKNOWN = ("__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__", "__init_subclass__")

#: The classes that `chained` has made, by its arguments.
_classes: dict[tuple[type[nn.Module], tuple[str, ...]], type[nn.Module]] = {}


class Chained:
    """The first base of the classes that `chained` makes."""

    #: The arguments of `chained`.
    _samepad_chain: tuple[type[nn.Module], tuple[str, ...]]

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Say how to copy or unpickle the module: its class can't be imported by a name."""
        made: Any = super().__reduce_ex__(protocol)
        return (_empty, type(self)._samepad_chain, *made[2:])


def _empty(cls: type[nn.Module], calls: tuple[str, ...]) -> nn.Module:
    new = chained(cls, calls)
    return new.__new__(new)


def _own(cls: type[nn.Module]) -> tuple[type, ...]:
    """Return the classes from which `cls` is derived, with itself, as far as nn.Module."""
    return cls.__mro__[: cls.__mro__.index(nn.Module)]


def is_chainable(module: nn.Module) -> bool:
    """Whether a module may get a forward that only calls its children, as far as its class tells.

    Its forward has to take one argument and nothing else; and a class that changes how its modules
    are copied, or that learns of its subclasses, could undo the change.
    """
    cls = type(module)
    if not isinstance(cls.forward, FunctionType) or type(cls) is not type:
        return False
    if issubclass(cls, Chained) or any(name in vars(own) for own in _own(cls) for name in _UNKNOWN):
        return False
    # A decorator's wrapper, which may do more than call what it wraps, is judged by its own
    # parameters: as a rule it takes any.
    parameters = inspect.signature(cls.forward, follow_wrapped=False).parameters.values()
    return len(parameters) == 2 and all(
        parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
        for parameter in parameters
    )


def chained(cls: type[nn.Module], calls: tuple[str, ...]) -> type[nn.Module]:
    """Return a subclass of `cls`, which `is_chainable`, whose forward calls the children `calls`.

    There is one for equal arguments.
    """
    if (cls, calls) not in _classes:
        _classes[cls, calls] = _made(cls, calls)
    return _classes[cls, calls]


def _made(cls: type[nn.Module], calls: tuple[str, ...]) -> type[nn.Module]:
    _, name = inspect.signature(cls.forward).parameters
    lines = [f"    {name} = getattr(self, {call!r})({name})" for call in calls]
    text = "\n".join([f"def forward(self, {name}):", *lines, f"    return {name}\n"])
    file = f"<forward {len(_classes)} of samepad.convert>"
    # There torch.jit.script finds the text, and a traceback its lines.
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": cls.__module__}
    exec(compile(text, file, "exec"), namespace)
    attributes = {
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "_samepad_chain": (cls, calls),
        "forward": namespace["forward"],
    }
    return type(cls.__name__, (Chained, cls), attributes)
