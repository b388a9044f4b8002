"""One node of an ONNX graph, as the rule that converts it sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from samepad._building import GraphBuilder, UnsupportedError
from samepad.onnx import limits, shapes


@dataclass(frozen=True)
class Sizes:
    """A small tensor whose numbers are known or are each computed by a node, mostly from sizes.

    ONNX computes with shapes as tensors. If the module computes with single numbers instead, it
    exports and compiles with dynamic sizes.
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


#: A value of ONNX while its graph is converted: a known tensor, a node that computes it, or numbers
#: of which each one is known or computed by a node.
Value = Tensor | fx.Node | Sizes


class Builder(GraphBuilder):
    """Builds a torch.fx.GraphModule; what depends on no input is computed at once."""

    def __init__(self, outer: "Builder | None" = None) -> None:
        """Start with an empty graph; that of a branch or loop's body shares limits with `outer`."""
        super().__init__()
        self.constants: dict[int, tuple[Tensor, fx.Node]] = {}
        #: The file's name for a constant, by the tensor's id.
        self.names: dict[int, str] = {} if outer is None else outer.names
        self.fold: limits.Folding = limits.Folding() if outer is None else outer.fold
        self.cached: dict[Any, fx.Node] = {}
        #: What a user should know of the module.
        self.notes: list[str] = [] if outer is None else outer.notes
        #: Layers by their wanted names while a loop's body is written out several times; else None.
        self.repeated: dict[str, tuple[str, nn.Module]] | None = None

    def node(self, value: Any) -> Any:
        """Return a value as an argument of a node: tensors become buffers."""
        if isinstance(value, (list, tuple)):
            return type(value)(self.node(item) for item in value)
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.constants:
            buffer = self.name(self.names.get(id(value), "constant"))
            self.root.register_buffer(buffer, value)
            # The tensor is kept alive, so that no other one can get its id.
            self.constants[id(value)] = (value, self.graph.get_attr(buffer))
        return self.constants[id(value)][1]

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function: at once if all arguments are known, else by a node."""
        if not any(isinstance(a, fx.Node) for a in _leaves([args, list(kwargs.values())])):
            return self.fold(function, *args, **kwargs)
        return self.later(function, *args, **kwargs)

    def later(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Call a function by a node, even if all arguments are known."""
        given = {key: self.node(value) for key, value in kwargs.items()}
        node = self.graph.call_function(function, tuple(self.node(a) for a in args), given)
        # Unpickling makes torch.fx trace the module again; this keeps it from tracing into our
        # functions.
        node.meta["is_wrapped"] = function.__module__.startswith("samepad.")
        return node

    def module(self, name: str, module: nn.Module, *inputs: Any) -> Any:
        """Call a new submodule: at once if all inputs are known, else by a node."""
        if not any(isinstance(leaf, fx.Node) for leaf in _leaves(inputs)):
            return self.fold(module.eval(), *inputs)
        target = self._repeated(name, module)
        if target is None:
            target = self.name(name)
            self.root.add_module(target, module)
            if self.repeated is not None:
                self.repeated[name] = (target, module)
        return self.graph.call_module(target, tuple(self.node(value) for value in inputs))

    def _repeated(self, name: str, module: nn.Module) -> str | None:
        """Return the layer of an earlier iteration that is equal to the module, if there is one."""
        target, other = (self.repeated or {}).get(name, (None, None))
        if other is None or repr(other) != repr(module):
            return None
        own, theirs = module.state_dict(), other.state_dict()
        return target if all(torch.equal(own[key], theirs[key]) for key in theirs) else None

    def note(self, text: str) -> None:
        """Keep a remark on the model, which the finished module has in its `meta`."""
        self.notes.append(text)

    def size(self, tensor: fx.Node, dim: int) -> fx.Node:
        """Return the node that computes a tensor's size; the same node each time."""
        key = (tensor, dim)
        if key not in self.cached:
            self.cached[key] = self.graph.call_method("size", key)
        return self.cached[key]

    def tensor(self, value: Value | None) -> Tensor | fx.Node | None:
        """Convert single numbers to a tensor; return other values unchanged."""
        if not isinstance(value, Sizes):
            return value
        if value not in self.cached:
            node = self.call(shapes.tensor_of, value.array.tolist(), value.dtype)
            node.meta |= {"dims": list(value.shape), "dtype": value.dtype}
            self.cached[value] = node
        return self.cached[value]


def _text(value: Any) -> Any:
    """Decode bytes, as which attributes store strings; return other values unchanged."""
    return value.decode() if isinstance(value, bytes) else value


def _leaves(structure: Any) -> list[Any]:
    if isinstance(structure, slice):
        return [structure.start, structure.stop, structure.step]
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in _leaves(item)]
    return [structure]


@dataclass
class Call:
    """A node of ONNX with its inputs and attributes, and the builder of the new graph."""

    b: Builder
    name: str
    kind: str
    given: list[Value | None]
    attributes: dict[str, Any]
    opset: int
    outputs: int
    #: The operator's domain; empty for ONNX's own.
    domain: str = ""
    #: Converts the graphs among the attributes.
    graphs: "Graphs | None" = None

    @property
    def description(self) -> str:
        """The node's name, operator and attributes, for error messages."""
        shown = ", ".join(f"{name!r}: {self._shown(name)}" for name in self.attributes)
        domain = f"{self.domain}." if self.domain else ""
        return f"{self.name} ({domain}{self.kind} {{{shown}}})"

    def _shown(self, name: str) -> str:
        """Describe an attribute: a long one by its beginning, a tensor or graph by its kind."""
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
        """All inputs as tensors; None for an input that is left out."""
        return [self.b.tensor(value) for value in self.given]

    def __getitem__(self, position: int) -> Any:
        """Return an input as a tensor, or None if it is left out."""
        return self.b.tensor(self.given[position]) if position < len(self.given) else None

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default` if the node does not have it."""
        value = self.attributes.get(name, default)
        return [_text(each) for each in value] if isinstance(value, list) else _text(value)

    def refuse(self, **expected: Any) -> None:
        """Refuse the node if attributes have values other than the only ones supported.

        Raises:
            UnsupportedError: An attribute has another value.
        """
        for name, value in expected.items():
            if self.get(name, value) != value:
                raise UnsupportedError(f"{name}={self.get(name)!r}, expected {value!r}")

    def known(self, position: int, what: str) -> Any:
        """Return an input that has to be constant, as lists of numbers; None if it is left out.

        Raises:
            UnsupportedError: The input depends on the model's input.
        """
        value = self[position]
        if isinstance(value, fx.Node):
            raise UnsupportedError(f"{what} must be constant, but depends on the model's input")
        return None if value is None else limits.listed(value)

    def sizes(self, position: int) -> Sizes | None:
        """Return an input as single numbers, known or computed by nodes; None if it is not so."""
        value = self.given[position] if position < len(self.given) else None
        if isinstance(value, Tensor) and value.dtype in _NUMBERS:
            if value.numel() > limits.MOST_NUMBERS:
                return None
            return Sizes(tuple(value.reshape(-1).tolist()), tuple(value.shape), value.dtype)
        return value if isinstance(value, Sizes) else None

    def integers(self, position: int, attribute: str = "") -> Any:
        """Return an input that holds sizes or axes; None if it is left out.

        Args:
            position: The position of the input.
            attribute: The name of the attribute that held them in earlier opsets.

        Returns:
            A list of numbers and of nodes that each compute one, where possible; otherwise a tensor
            or a node that computes a tensor.
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
        """Return an input of one number: the number if known, else a node; None if left out."""
        if attribute in self.attributes:
            return self.attributes[attribute]
        sizes = self.sizes(position)
        if sizes is not None and len(sizes.items) == 1:
            return sizes.items[0]
        value = self[position]
        return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value

    def dims(self, position: int) -> list[int | None] | None:
        """Return an input's sizes, None for an open one; None if not even their count is known."""
        value = self.given[position] if position < len(self.given) else None
        if isinstance(value, Sizes):
            return list(value.shape)
        if isinstance(value, fx.Node):
            return value.meta.get("dims")
        return None if value is None else list(value.shape)

    def rank(self, position: int) -> int | None:
        """Return how many dimensions an input has, or None if that is not known."""
        dims = self.dims(position)
        return None if dims is None else len(dims)

    def size(self, position: int, dim: int) -> int | None:
        """Return an input's size along a dimension, or None if that is not known."""
        dims = self.dims(position)
        return dims[dim] if dims is not None and -len(dims) <= dim < len(dims) else None

    def expect(self, position: int, dim: int, size: int | None) -> None:
        """Refuse an input whose size along a dimension is not `size`, as far as both are known.

        Raises:
            UnsupportedError: The two sizes are known and differ.
        """
        found = self.size(position, dim)
        if None not in (found, size) and found != size:
            shape = ", ".join("?" if n is None else str(n) for n in self.dims(position) or ())
            raise UnsupportedError(
                f"input {position} has shape ({shape}), expected {size} along dimension {dim}"
            )

    def dtype(self, position: int) -> torch.dtype | None:
        """Return an input's type; None if it is left out or not known."""
        value = self.given[position] if position < len(self.given) else None
        return None if value is None else kind_of(value)[0]

    def is_floating(self, position: int) -> bool | None:
        """Whether an input is of a floating-point type; None if that is not known."""
        dtype = self.dtype(position)
        return None if dtype is None else dtype.is_floating_point

    def weights(self, *positions: int) -> list[Tensor | None] | None:
        """Return inputs if all are constant or left out; None if the model computes one of them."""
        values = [self[position] for position in positions]
        if any(isinstance(value, fx.Node) for value in values):
            return None
        return values


@dataclass(frozen=True)
class Body:
    """A graph in an attribute as a module of its own."""

    #: The node that reads the module.
    module: fx.Node
    #: Values from around the graph, which the module takes after the graph's own inputs.
    captured: list[fx.Node]
    #: For each output its sizes, or None if not even their number is known; and its type.
    dims: list[list[int | None] | None]
    dtypes: list[torch.dtype | None]


#: The type of a tensor and its sizes, as far as they are known.
Kind = tuple[torch.dtype | None, list[int | None] | None]


def kind_of(value: Any) -> Kind:
    """Return the type and sizes of a value."""
    if isinstance(value, fx.Node):
        return value.meta.get("dtype"), value.meta.get("dims")
    return value.dtype, list(value.shape)


class Graphs(Protocol):
    """Converts the graphs in a node's attributes, such as the branches of If."""

    def inline(self, graph: Any, given: list[Value | None]) -> list[Value]:
        """Convert a graph where the node is, and return its outputs."""

    def module(self, graph: Any, name: str, given: list[Kind]) -> Body:
        """Convert a graph to a module, whose inputs have the types `given`."""

    def repeat(self, graph: Any, times: int) -> bool:
        """Say that a graph will be converted so often; False if that would be too many nodes."""

    def depends(self, graph: Any, output: str, names: set[str]) -> bool:
        """Whether an output of a graph depends on inputs among `names` or on the model's inputs."""

    def rank_by_use(self) -> list[int | None]:
        """Return the number of dimensions that the use of each of the node's outputs implies."""


#: Longest text of an attribute in a message, in characters.
_LONGEST = 200
_NUMBERS = (torch.int32, torch.int64, torch.float32, torch.float64)


#: Converts a node of ONNX; returns its output, or a list of its outputs.
Rule = Callable[[Call], Any]
