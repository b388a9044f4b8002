"""One node of an ONNX graph as its rule sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from samepad._building import GraphBuilder, UnsupportedError
from samepad.onnx import limits, shapes


@dataclass(frozen=True)
class Sizes:
    """A tensor of numbers, some of which are sizes that the module will see, or made from them.

    ONNX computes with shapes as tensors; as numbers they leave a module that exports and compiles
    for every size.
    """

    items: tuple[int | float | fx.Node, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.int64

    @property
    def array(self) -> NDArray[Any]:
        """The items in the tensor's shape."""
        array = np.empty(len(self.items), object)
        array[:] = self.items
        return array.reshape(self.shape)


#: What an ONNX value is while a graph is made: known, computed by a node, or both in parts.
Value = Tensor | fx.Node | Sizes


class Builder(GraphBuilder):
    """Makes a torch.fx.GraphModule; what depends on no input is computed at once."""

    def __init__(self) -> None:
        """An empty graph."""
        super().__init__()
        self.constants: dict[int, tuple[Tensor, fx.Node]] = {}
        #: What the file calls a constant, by its id.
        self.names: dict[int, str] = {}
        self.fold = limits.Folding()
        self.cached: dict[Any, fx.Node] = {}

    def node(self, value: Any) -> Any:
        """The value as an argument of a node: tensors become buffers."""
        if isinstance(value, (list, tuple)):
            return type(value)(self.node(item) for item in value)
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.constants:
            buffer = self.name(self.names.get(id(value), "constant"))
            self.root.register_buffer(buffer, value)
            # The tensor is kept too, so that its id stays its own.
            self.constants[id(value)] = (value, self.graph.get_attr(buffer))
        return self.constants[id(value)][1]

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function: now, where all arguments are known."""
        if not any(isinstance(a, fx.Node) for a in _leaves([args, list(kwargs.values())])):
            return self.fold(function, *args, **kwargs)
        given = {key: self.node(value) for key, value in kwargs.items()}
        node = self.graph.call_function(function, tuple(self.node(a) for a in args), given)
        # torch.fx traces a module again when it is unpickled; into our functions it must not look.
        node.meta["is_wrapped"] = function.__module__.startswith("samepad.")
        return node

    def module(self, name: str, module: nn.Module, *inputs: Any) -> Any:
        """Call a new submodule."""
        if not any(isinstance(leaf, fx.Node) for leaf in _leaves(inputs)):
            return self.fold(module.eval(), *inputs)
        name = self.name(name)
        self.root.add_module(name, module)
        return self.graph.call_module(name, tuple(self.node(value) for value in inputs))

    def size(self, tensor: fx.Node, dim: int) -> fx.Node:
        """A tensor's size, asked for once."""
        key = (tensor, dim)
        if key not in self.cached:
            self.cached[key] = self.graph.call_method("size", key)
        return self.cached[key]

    def tensor(self, value: Value | None) -> Tensor | fx.Node | None:
        """The value as a tensor where it is numbers."""
        if not isinstance(value, Sizes):
            return value
        if value not in self.cached:
            node = self.call(shapes.tensor_of, value.array.tolist(), value.dtype)
            node.meta |= {"dims": list(value.shape), "dtype": value.dtype}
            self.cached[value] = node
        return self.cached[value]


def _text(value: Any) -> Any:
    """A string, which attributes hold as bytes; what is none as it is."""
    return value.decode() if isinstance(value, bytes) else value


def _leaves(structure: Any) -> list[Any]:
    if isinstance(structure, slice):
        return [structure.start, structure.stop, structure.step]
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in _leaves(item)]
    return [structure]


@dataclass
class Call:
    """A node: its inputs, attributes and what makes the graph."""

    b: Builder
    name: str
    kind: str
    given: list[Value | None]
    attributes: dict[str, Any]
    opset: int
    outputs: int
    #: Of the operator; empty for ONNX's own.
    domain: str = ""

    @property
    def description(self) -> str:
        """For errors: name, operator and attributes; of tensors and graphs only what they are."""
        shown = ", ".join(f"{name!r}: {self._shown(name)}" for name in self.attributes)
        domain = f"{self.domain}." if self.domain else ""
        return f"{self.name} ({domain}{self.kind} {{{shown}}})"

    def _shown(self, name: str) -> str:
        """An attribute in a message; of a long one the beginning."""
        value = self.get(name)
        items = value if isinstance(value, list) else [value]
        if all(isinstance(item, (int, float, str)) for item in items):
            text = repr(value)
            return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
        kinds = {"GraphProto": "graph", "TensorProto": "tensor", "SparseTensorProto": "tensor"}
        kind = kinds.get(type(items[0]).__name__, "type")
        return f"{kind}s" if isinstance(value, list) else f"a {kind}"

    @property
    def inputs(self) -> list[Tensor | fx.Node | None]:
        """All inputs, as tensors; None where one is left out."""
        return [self.b.tensor(value) for value in self.given]

    def __getitem__(self, position: int) -> Any:
        """An input, as a tensor; None where it is left out."""
        return self.b.tensor(self.given[position]) if position < len(self.given) else None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        value = self.attributes.get(name, default)
        return [_text(each) for each in value] if isinstance(value, list) else _text(value)

    def refuse(self, **expected: Any) -> None:
        """Refuse attributes that are other than what can be computed.

        Raises:
            UnsupportedError: One is.
        """
        for name, value in expected.items():
            if self.get(name, value) != value:
                raise UnsupportedError(f"{name}={self.get(name)!r}, expected {value!r}")

    def known(self, position: int, what: str) -> Any:
        """The numbers of an input that has to be constant, in lists; None where it is left out.

        Raises:
            UnsupportedError: It depends on the model's input.
        """
        value = self[position]
        if isinstance(value, fx.Node):
            raise UnsupportedError(f"{what} must be constant, but depends on the model's input")
        return None if value is None else limits.listed(value)

    def sizes(self, position: int) -> Sizes | None:
        """An input as numbers known one by one; None where it is something else."""
        value = self.given[position] if position < len(self.given) else None
        if isinstance(value, Tensor) and value.dtype in _NUMBERS:
            if value.numel() > limits.MOST_NUMBERS:
                return None
            return Sizes(tuple(value.reshape(-1).tolist()), tuple(value.shape), value.dtype)
        return value if isinstance(value, Sizes) else None

    def integers(self, position: int, attribute: str = "") -> Any:
        """Sizes or axes: a list of numbers and of nodes that compute one, where they are known one
        by one, else a node that computes a tensor of them; None where they are left out.

        Args:
            position: Of the input.
            attribute: What the input was in earlier opsets.
        """
        if attribute in self.attributes:
            return list(self.attributes[attribute])
        sizes = self.sizes(position)
        if sizes is not None and len(sizes.shape) < 2:
            return list(sizes.items)
        value = self[position]
        if isinstance(value, Tensor):
            limits.listed(value)
        return value

    def number(self, position: int, attribute: str = "") -> Any:
        """One number: itself where it is known, else a node; None where it is left out."""
        if attribute in self.attributes:
            return self.attributes[attribute]
        sizes = self.sizes(position)
        if sizes is not None and len(sizes.items) == 1:
            return sizes.items[0]
        value = self[position]
        return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value

    def dims(self, position: int) -> list[int | None] | None:
        """An input's sizes, None for one that is open; None where nothing is known of them."""
        value = self.given[position] if position < len(self.given) else None
        if isinstance(value, Sizes):
            return list(value.shape)
        if isinstance(value, fx.Node):
            return value.meta.get("dims")
        return None if value is None else list(value.shape)

    def rank(self, position: int) -> int | None:
        """How many dimensions an input has, where that is known."""
        dims = self.dims(position)
        return None if dims is None else len(dims)

    def size(self, position: int, dim: int) -> int | None:
        """An input's size along a dimension, where that is known."""
        dims = self.dims(position)
        return dims[dim] if dims is not None and -len(dims) <= dim < len(dims) else None

    def expect(self, position: int, dim: int, size: int | None) -> None:
        """Refuse an input of another size along a dimension, as far as both are known.

        Raises:
            UnsupportedError: It has one.
        """
        found = self.size(position, dim)
        if None not in (found, size) and found != size:
            shape = ", ".join("?" if n is None else str(n) for n in self.dims(position) or ())
            raise UnsupportedError(
                f"input {position} has shape ({shape}), expected {size} along dimension {dim}"
            )

    def is_floating(self, position: int) -> bool | None:
        """Whether an input is of floating-point numbers, where that is known."""
        value = self.given[position]
        if isinstance(value, fx.Node):
            dtype = value.meta.get("dtype")
            return None if dtype is None else bool(dtype.is_floating_point)
        return None if value is None else value.dtype.is_floating_point

    def weights(self, *positions: int) -> list[Tensor | None] | None:
        """Inputs that are constant or left out; None where one is not."""
        values = [self[position] for position in positions]
        if any(isinstance(value, fx.Node) for value in values):
            return None
        return values


#: Characters of an attribute in a message.
_LONGEST = 200
_NUMBERS = (torch.int32, torch.int64, torch.float32, torch.float64)


#: How an operator is said in PyTorch: to a node's output, or outputs.
Rule = Callable[[Call], Any]
