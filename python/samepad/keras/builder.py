"""Builds the graph of a module, and keeps track of the layout of each of Keras's tensors."""

import numbers
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from samepad._building import GraphBuilder, UnsupportedError
from samepad.keras.weights import array, load_state, mismatch, state_of

#: The batch size with which the code of custom layers is followed: a prime of which sizes of layers
#: are no multiples. Where the code computes with a multiple of it, the module computes with the
#: same multiple of its own batch size.
BATCH = 104_729


@dataclass(frozen=True)
class Value:
    """One of Keras's tensors in the graph of the module."""

    node: fx.Node
    rank: int
    #: The type of the tensor that the node computes.
    dtype: torch.dtype
    #: Whether the node computes (N, C, ...) where Keras has (N, ..., C).
    channels_first: bool = False

    def made(self, node: fx.Node, rank: int, channels_first: bool = False) -> "Value":
        """Return the value that `node` computes from this one; it has the same type."""
        return Value(node, rank, self.dtype, channels_first)


def torch_dtype(keras_dtype: str) -> torch.dtype:
    """Return the type for one of Keras's; uint8 for strings, which no layer here takes."""
    return getattr(torch, keras_dtype, torch.uint8)


def computed_in(keras_dtype: str) -> torch.dtype:
    """Return the type in which the module computes what Keras computes in `keras_dtype`.

    Half precision is computed in single precision, which loses nothing.
    """
    dtype = torch_dtype(keras_dtype)
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


#: Submodules by the id of Keras's layer and by their repr: a layer may have several submodules.
#: Parameters by the id of Keras's variable and by their type.
Made = dict[int, dict[str, Any]]

#: Adds a nested model to the graph under a name; takes its inputs and returns its outputs.
Nested = Callable[["Builder", Any, str, Any], list[Value]]


#: Makes a module of a layer whose code is followed; takes the layer and the arguments of a call.
Code = Callable[[Any, list[Any]], nn.Module]


class Builder(GraphBuilder):
    """Builds a torch.fx.GraphModule, step by step."""

    def __init__(self, nested: Nested, code: Code, made: Made) -> None:
        """Start with an empty graph.

        Args:
            nested: The function that adds a nested model.
            code: The function that makes a module of a layer whose code is followed.
            made: The submodules made so far, for this graph and those that contain it. Sharing them
                makes a layer that several models share one module.
        """
        super().__init__()
        self.nested = nested
        self.code = code
        self.made = made
        #: The layer of Keras that is being converted.
        self.layer: Any = None
        #: The names of this graph's submodules, by their ids.
        self.names: dict[int, str] = {}
        #: Where the batch size is read: an input, a dimension, and by how much it is multiplied.
        self.batch: tuple[fx.Node, int, int] | None = None

    def input(self, name: str, shape: Any, dtype: torch.dtype, channels_first: bool) -> Value:
        """Add the next input, of Keras's shape."""
        value = Value(self.placeholder(name), len(shape), dtype, channels_first and len(shape) > 2)
        for position, size in enumerate(shape):
            if self.batch is None and size and size % BATCH == 0:
                self.batch = value.node, axis(value, position), size // BATCH
        return value

    def module(self, name: str, module: nn.Module, *inputs: fx.Node | None) -> fx.Node:
        """Call a submodule; if the layer was called before, the one that was made then."""
        module = self.made.setdefault(id(self.layer), {}).setdefault(repr(module), module)
        if id(module) not in self.names:
            self.names[id(module)] = self.name(name)
            self.root.add_module(self.names[id(module)], module)
        return self.graph.call_module(self.names[id(module)], inputs)

    def weight(self, name: str, variable: Any, dtype: torch.dtype, trainable: bool) -> fx.Node:
        """Add a variable as a parameter; if it was added to a graph before, the same one."""
        parameter = self.made.setdefault(id(variable), {}).setdefault(
            str(dtype),
            nn.Parameter(torch.from_numpy(array(variable)).to(dtype), requires_grad=trainable),
        )
        self.root.register_parameter(name, parameter)
        return self.graph.get_attr(name)

    def size(self, size: Any) -> Any:
        """Return a size, or a number that is computed from sizes, for any batch size.

        Raises:
            UnsupportedError: It is a multiple of the batch size, which no input tells.
        """
        if not isinstance(size, numbers.Integral) or size == 0 or size % BATCH:
            return size
        if self.batch is None:
            raise UnsupportedError("computes with the batch size, which no input tells")
        node, dimension, multiple = self.batch
        found = self.method("size", node, dimension)
        times = int(size) // BATCH
        if times % multiple:
            return self.call(operator.floordiv, self.call(operator.mul, found, times), multiple)
        times //= multiple
        return found if times == 1 else self.call(operator.mul, found, times)

    def constant(self, name: str, tensor: torch.Tensor) -> fx.Node:
        """Add a constant tensor as a buffer."""
        name = self.name(name)
        self.root.register_buffer(name, tensor)
        return self.graph.get_attr(name)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Call a function."""
        return self.graph.call_function(function, args, kwargs)

    def item(self, node: fx.Node, key: Any) -> fx.Node:
        """Take an item of the output of a node."""
        return self.call(operator.getitem, node, key)

    def method(self, name: str, *args: Any) -> fx.Node:
        """Call a method of the first argument."""
        return self.graph.call_method(name, args)

    def held(self, value: Value, channels_first: bool) -> Value:
        """Return the value in a layout, by a permutation if it has another one."""
        if value.rank < 3 or value.channels_first == channels_first:
            return value
        spatial = range(1, value.rank - 1)
        order = (
            (0, value.rank - 1, *spatial) if channels_first else (0, *(i + 1 for i in spatial), 1)
        )
        return value.made(self.permute(value.node, order), value.rank, channels_first)

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        """Return the value in a type, by a cast if it has another one."""
        if value.dtype == dtype:
            return value
        return replace(value, node=self.method("to", value.node, dtype), dtype=dtype)

    def cast_for(self, value: Value, layer: Any) -> Value:
        """Cast a value as Keras does for a layer: floats to the type that the layer computes in."""
        dtype = computed_in(layer.compute_dtype)
        both = value.dtype.is_floating_point and dtype.is_floating_point
        return self.cast(value, dtype) if both else value

    def permute(self, node: fx.Node, order: Sequence[int]) -> fx.Node:
        """Permute dimensions; if the node is a permutation itself, permute its input instead."""
        if node.op == "call_method" and node.target == "permute":
            node, *before = node.args  # type: ignore[assignment]
            order = [before[position] for position in order]  # type: ignore[misc]
        if list(order) == list(range(len(order))):
            return node
        return self.method("permute", node, *order)

    def alike(self, values: Sequence[Value]) -> list[Value]:
        """Return the values in the layout of the first one with more than two dimensions."""
        first = next((v.channels_first for v in values if v.rank > 2), False)
        return [self.held(value, first) for value in values]


def axis(value: Value, keras_axis: int) -> int:
    """Return the position, in the value's layout, of an axis of Keras's tensor."""
    position = keras_axis % value.rank
    if not value.channels_first or position == 0:
        return position
    return 1 if position == value.rank - 1 else position + 1


def with_weights(module: nn.Module, layer: Any, dtype: torch.dtype) -> nn.Module:
    """Copy the weights of Keras's layer, and whether it is trainable, into a module; return it.

    The module becomes float64 if that is `dtype`, the type in which the layer computes, even if the
    weights are float32, as JAX may keep them.

    Raises:
        UnsupportedError: The layer's weights do not fit the module.
    """
    state = state_of(layer, module)
    problem = mismatch(module, layer, state)
    if problem:
        raise UnsupportedError(f"its counterpart {type(module).__name__} {problem}")
    if dtype == torch.float64:
        module.double()
    load_state(module, state)
    return module.requires_grad_(layer.trainable)
