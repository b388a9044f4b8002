"""One node of an ONNX graph as its rule sees it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

#: What an ONNX value is while a graph is made: known, or computed by a node.
Value = Tensor | fx.Node


class UnsupportedError(Exception):
    """Why a node cannot be said in PyTorch."""


class Builder:
    """Makes a torch.fx.GraphModule; what depends on no input is computed at once."""

    def __init__(self) -> None:
        """An empty graph."""
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.constants: dict[int, tuple[Tensor, fx.Node]] = {}

    def name(self, wanted: str) -> str:
        """A Python name for a submodule or a buffer, which no other has."""
        base = re.sub(r"\W", "_", wanted, flags=re.ASCII).strip("_") or "node"
        base = "_" + base if base[0].isdigit() else base
        result, count = base, 1
        while hasattr(self.root, result) or hasattr(fx.GraphModule, result):
            result, count = f"{base}_{count}", count + 1
        return result

    def node(self, value: Any, name: str = "constant") -> Any:
        """The value as an argument of a node: tensors become buffers."""
        if isinstance(value, (list, tuple)):
            return type(value)(self.node(item, name) for item in value)
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.constants:
            buffer = self.name(name)
            self.root.register_buffer(buffer, value)
            # The tensor is kept too, so that its id stays its own.
            self.constants[id(value)] = (value, self.graph.get_attr(buffer))
        return self.constants[id(value)][1]

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function: now, where all arguments are known."""
        if not any(isinstance(a, fx.Node) for a in _leaves([args, list(kwargs.values())])):
            return function(*args, **kwargs)
        given = {key: self.node(value) for key, value in kwargs.items()}
        node = self.graph.call_function(function, tuple(self.node(a) for a in args), given)
        # torch.fx traces a module again when it is unpickled; into our functions it must not look.
        node.meta["is_wrapped"] = function.__module__.startswith("samepad.")
        return node

    def module(self, name: str, module: nn.Module, input: Value) -> Any:
        """Call a new submodule."""
        if isinstance(input, Tensor):
            with torch.no_grad():
                return module.eval()(input)
        name = self.name(name)
        self.root.add_module(name, module)
        return self.graph.call_module(name, (input,))


def _leaves(structure: Any) -> list[Any]:
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in _leaves(item)]
    return [structure]


@dataclass
class Call:
    """A node: its inputs, attributes and what makes the graph."""

    b: Builder
    name: str
    inputs: list[Value | None]
    attributes: dict[str, Any]
    opset: int
    outputs: int

    def __getitem__(self, position: int) -> Any:
        """An input; None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def refuse(self, **expected: Any) -> None:
        """Refuse attributes that are other than what can be computed.

        Raises:
            UnsupportedError: One is.
        """
        for name, value in expected.items():
            if self.get(name, value) != value:
                raise UnsupportedError(f"{name}={self.get(name)!r}")

    def known(self, position: int, what: str) -> Tensor | None:
        """An input that has to be constant; None where it is left out.

        Raises:
            UnsupportedError: It depends on the model's input.
        """
        value: Value | None = self[position]
        if isinstance(value, fx.Node):
            raise UnsupportedError(f"{what} that depends on the input")
        return value

    def moved(self, position: int, name: str) -> Any:
        """What was an attribute and became an input in a later opset; None where it is left out."""
        return self.attributes.get(name, self[position])

    def weights(self, *positions: int) -> list[Tensor | None] | None:
        """Inputs that are constant or left out; None where one is not."""
        values = [self[position] for position in positions]
        if any(isinstance(value, fx.Node) for value in values):
            return None
        return values
