"""The graph that is being made, and in which layout it holds each of Keras's tensors."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from samepad._building import GraphBuilder, UnsupportedError
from samepad.keras.weights import load_state, mismatch, state_of


@dataclass(frozen=True)
class Value:
    """One of Keras's tensors."""

    node: fx.Node
    rank: int
    #: What the node is of.
    dtype: torch.dtype
    #: Whether it is held as (N, C, ...) where Keras has (N, ..., C).
    channels_first: bool = False

    def made(self, node: fx.Node, rank: int, channels_first: bool = False) -> "Value":
        """What a node makes of the value: of its type."""
        return Value(node, rank, self.dtype, channels_first)


def torch_dtype(keras_dtype: str) -> torch.dtype:
    """One of Keras's types; of strings, which nothing here takes, any."""
    return getattr(torch, keras_dtype, torch.uint8)


def computed_in(keras_dtype: str) -> torch.dtype:
    """The type in which the module computes what Keras computes in one: half precision in single,
    which loses nothing."""
    dtype = torch_dtype(keras_dtype)
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


#: Submodules by Keras's layer and what they print as, which tells a layer from its activation.
Made = dict[int, dict[str, nn.Module]]

#: Adds a model inside of the model, with a name, to the graph: from its inputs to its outputs.
Nested = Callable[["Builder", Any, str, Any], list[Value]]


class Builder(GraphBuilder):
    """Makes a torch.fx.GraphModule, step by step."""

    def __init__(self, nested: Nested, made: Made) -> None:
        """An empty graph.

        Args:
            nested: What to do with a model inside of the model.
            made: The submodules that there are, of this graph and of those around it: a layer that
                several models share is one module.
        """
        super().__init__()
        self.nested = nested
        self.made = made
        #: The layer of Keras that is being said.
        self.layer: Any = None
        #: Names of this graph's submodules.
        self.names: dict[int, str] = {}

    def input(self, name: str, rank: int, dtype: torch.dtype, channels_first: bool) -> Value:
        """The next input."""
        return Value(self.placeholder(name), rank, dtype, channels_first and rank > 2)

    def module(self, name: str, module: nn.Module, *inputs: fx.Node) -> fx.Node:
        """Call a submodule: of a layer that has been called before, the one made then."""
        module = self.made.setdefault(id(self.layer), {}).setdefault(repr(module), module)
        if id(module) not in self.names:
            self.names[id(module)] = self.name(name)
            self.root.add_module(self.names[id(module)], module)
        return self.graph.call_module(self.names[id(module)], inputs)

    def constant(self, name: str, tensor: torch.Tensor) -> fx.Node:
        """A tensor that goes with the module, but is no parameter."""
        name = self.name(name)
        self.root.register_buffer(name, tensor)
        return self.graph.get_attr(name)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Call a function."""
        return self.graph.call_function(function, args, kwargs)

    def item(self, node: fx.Node, key: Any) -> fx.Node:
        """One of the outputs of a node."""
        return self.call(operator.getitem, node, key)

    def method(self, name: str, *args: Any) -> fx.Node:
        """Call a method of the first argument."""
        return self.graph.call_method(name, args)

    def held(self, value: Value, channels_first: bool) -> Value:
        """The value in a layout: its own, or a permuted view."""
        if value.rank < 3 or value.channels_first == channels_first:
            return value
        spatial = range(1, value.rank - 1)
        order = (
            (0, value.rank - 1, *spatial) if channels_first else (0, *(i + 1 for i in spatial), 1)
        )
        return value.made(self.permute(value.node, order), value.rank, channels_first)

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        """The value in a type."""
        if value.dtype == dtype:
            return value
        return replace(value, node=self.method("to", value.node, dtype), dtype=dtype)

    def cast_for(self, value: Value, layer: Any) -> Value:
        """The value as Keras gives it to a layer: floats in the type that the layer computes in."""
        dtype = computed_in(layer.compute_dtype)
        both = value.dtype.is_floating_point and dtype.is_floating_point
        return self.cast(value, dtype) if both else value

    def permute(self, node: fx.Node, order: Sequence[int]) -> fx.Node:
        """The dimensions in another order; of a permuted view, the tensor's own."""
        if node.op == "call_method" and node.target == "permute":
            node, *before = node.args  # type: ignore[assignment]
            order = [before[position] for position in order]  # type: ignore[misc]
        if list(order) == list(range(len(order))):
            return node
        return self.method("permute", node, *order)

    def alike(self, values: Sequence[Value]) -> list[Value]:
        """The values in one layout, that of the first that has more than one."""
        first = next((v.channels_first for v in values if v.rank > 2), False)
        return [self.held(value, first) for value in values]


def axis(value: Value, keras_axis: int) -> int:
    """Where the axis that Keras means is in the value."""
    position = keras_axis % value.rank
    if not value.channels_first or position == 0:
        return position
    return 1 if position == value.rank - 1 else position + 1


def with_weights(module: nn.Module, layer: Any, dtype: torch.dtype) -> nn.Module:
    """The module with the weights of Keras's layer, which learn if Keras's do.

    It computes in double where that is the layer's type: JAX may have kept weights in single.

    Raises:
        UnsupportedError: The layer's weights are none of such a module.
    """
    state = state_of(layer, module)
    problem = mismatch(module, layer, state)
    if problem:
        raise UnsupportedError(f"its counterpart {type(module).__name__} {problem}")
    if dtype == torch.float64:
        module.double()
    load_state(module, state)
    return module.requires_grad_(layer.trainable)
