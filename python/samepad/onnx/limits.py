"""Limits for the size of a model, because a small file can ask for more than any memory."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from onnx import AttributeProto
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from samepad._building import UnsupportedError

#: Most nodes of a model, where those of functions count once for each call.
MOST_NODES = 1_000_000
#: Deepest nesting of functions that call each other.
MOST_NESTED = 100
#: Most elements that operators may make out of constants, in addition to those in the file. In
#: float32 this is 0.6 GB.
MOST_ELEMENTS = 150_000_000
#: Most nodes that loops may be written out to.
MOST_UNROLLED = 10_000
#: Most numbers in a constant that holds sizes, axes or amounts.
MOST_NUMBERS = 10_000


def function_key(proto: Any) -> tuple[str, str, str]:
    """Return the key by which a NodeProto calls a FunctionProto; it is the same for both."""
    name = proto.op_type if hasattr(proto, "op_type") else proto.name
    return proto.domain, name, proto.overload


def check_expansion(model: Any) -> None:
    """Refuse a model that is too large once each call of a function is replaced by its body.

    Each function is counted once, and no call is replaced in doing so, so that this takes little
    time.

    Raises:
        ValueError: There are too many nodes, or functions are nested too deep or call themselves.
    """
    functions = {function_key(function): function for function in model.functions}
    #: For each function, its nodes including those of its calls, and its depth of nesting.
    counted: dict[tuple[str, str, str], tuple[int, int]] = {}

    def called(key: tuple[str, str, str], callers: tuple[Any, ...]) -> tuple[int, int]:
        if key in callers:
            raise ValueError(f"its function {'.'.join(filter(None, key))} calls itself")
        if key not in counted and len(callers) < MOST_NESTED:
            counted[key] = count(functions[key].node, (*callers, key))
        if key not in counted or len(callers) + counted[key][1] >= MOST_NESTED:
            raise ValueError(f"its functions are nested more than {MOST_NESTED} deep")
        return counted[key]

    def count(nodes: Iterable[Any], callers: tuple[Any, ...]) -> tuple[int, int]:
        total, deepest = 0, 0
        for node in nodes:
            total += 1
            key = function_key(node)
            inner = [count(graph.node, callers) for graph in graphs_of(node)]
            if key in functions:
                more, depth = called(key, callers)
                inner.append((more, depth + 1))
            total += sum(more for more, _ in inner)
            deepest = max([deepest, *(depth for _, depth in inner)])
        return total, deepest

    total, _ = count(model.graph.node, ())
    if total > MOST_NODES:
        raise ValueError(
            f"it has {total:,} nodes when its functions are written out, expected at most "
            f"{MOST_NODES:,}"
        )


def count_nodes(graph: Any) -> int:
    """Count the nodes of a graph and of the graphs in it."""
    inner = (count_nodes(each) for node in graph.node for each in graphs_of(node))
    return len(graph.node) + sum(inner)


def graphs_of(node: Any) -> list[Any]:
    """Return the graphs in a node's attributes, such as the branches of If."""
    graphs = [each.g for each in node.attribute if each.type == AttributeProto.GRAPH]
    return graphs + [g for each in node.attribute for g in each.graphs]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses, before it runs, an operator that would make too large a tensor."""

    def __init__(self, allowed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.allowed = allowed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = (args, kwargs)
        on_meta, meta_kwargs = tree_map_only(Tensor, lambda t: t.to("meta"), given)
        if "device" in kwargs:
            meta_kwargs = meta_kwargs | {"device": "meta"}
        try:
            result = func(*on_meta, **meta_kwargs)
        except (NotImplementedError, RuntimeError, ValueError, IndexError):
            pass  # the size depends on values, which are not many; or the operator raises an error
        else:
            check_growth(_elements(result) - _elements(given), self.allowed)
        return func(*args, **kwargs)


def _elements(structure: Any) -> int:
    """Count the elements of all tensors in a structure, each tensor once."""
    found = {id(leaf): leaf.numel() for leaf in tree_leaves(structure) if isinstance(leaf, Tensor)}
    return sum(found.values())


def check_growth(more: int, allowed: int) -> None:
    """Refuse an operator that makes more elements than are allowed.

    Raises:
        UnsupportedError: `more` is larger than `allowed`.
    """
    if more > allowed:
        raise UnsupportedError(
            f"it makes {more:,} elements out of constants, expected at most {allowed:,} of the "
            f"{MOST_ELEMENTS:,} for the whole model"
        )


class Folding:
    """Computes with constants while a model is converted, within a limit for the whole model."""

    def __init__(self) -> None:
        """Begin with the whole limit."""
        self.left = MOST_ELEMENTS

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function and return its result.

        Raises:
            UnsupportedError: The result has more elements than the limit still allows.
        """
        with _Watch(self.left), torch.no_grad():
            result = function(*args, **kwargs)
        self.left -= max(_elements(result) - _elements((args, kwargs)), 0)
        return result


def listed(tensor: Tensor) -> Any:
    """Return the numbers of a constant that holds sizes, axes or amounts, as a list.

    Raises:
        UnsupportedError: There are more numbers than sizes, axes or amounts can be.
    """
    if tensor.numel() > MOST_NUMBERS:
        raise UnsupportedError(
            f"{tensor.numel():,} sizes, axes or amounts, expected at most {MOST_NUMBERS:,}"
        )
    return tensor.tolist()
