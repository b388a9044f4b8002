"""How much of a model is converted: what a small file may ask for can be more than any memory."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from onnx import AttributeProto
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from samepad._building import UnsupportedError

#: Nodes, those of functions once for each call.
MOST_NODES = 1_000_000
#: Functions that call each other, one inside of the other.
MOST_NESTED = 100
#: Elements that computing with constants adds to those in the file: 0.6 GB of float32.
MOST_ELEMENTS = 150_000_000
#: Numbers in a constant that says sizes, axes or amounts.
MOST_NUMBERS = 10_000


def function_key(proto: Any) -> tuple[str, str, str]:
    """What a function is called by: the name of a FunctionProto, the operator of a NodeProto."""
    name = proto.op_type if hasattr(proto, "op_type") else proto.name
    return proto.domain, name, proto.overload


def check_expansion(model: Any) -> None:
    """Refuse a model that is too large once each call of a function is written out.

    Functions are counted, not written out, and each of them once.

    Raises:
        ValueError: There are too many nodes, or functions call each other too deep or in a circle.
    """
    functions = {function_key(function): function for function in model.functions}
    #: The nodes of each function with those of its calls, and how deep they are nested.
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


def graphs_of(node: Any) -> list[Any]:
    """The graphs in a node's attributes, which are run by its own rules."""
    graphs = [each.g for each in node.attribute if each.type == AttributeProto.GRAPH]
    return graphs + [g for each in node.attribute for g in each.graphs]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses an operator that would make a large tensor of small ones, before it runs."""

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
            pass  # its size depends on values, and on no more than there are; or it is an error
        else:
            check_growth(_elements(result) - _elements(given), self.allowed)
        return func(*args, **kwargs)


def _elements(structure: Any) -> int:
    """Of all tensors in a structure, each of them once."""
    found = {id(leaf): leaf.numel() for leaf in tree_leaves(structure) if isinstance(leaf, Tensor)}
    return sum(found.values())


def check_growth(more: int, allowed: int) -> None:
    """Refuse more elements than are allowed.

    Raises:
        UnsupportedError: There are more.
    """
    if more > allowed:
        raise UnsupportedError(
            f"it makes {more:,} elements out of constants, expected at most {allowed:,} of the "
            f"{MOST_ELEMENTS:,} for the whole model"
        )


class Folding:
    """Computes with constants while a model is converted, within a limit for all of it."""

    def __init__(self) -> None:
        """Nothing computed yet."""
        self.left = MOST_ELEMENTS

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a function computes.

        Raises:
            UnsupportedError: More elements come of it than are left to be made.
        """
        with _Watch(self.left), torch.no_grad():
            result = function(*args, **kwargs)
        self.left -= max(_elements(result) - _elements((args, kwargs)), 0)
        return result


def listed(tensor: Tensor) -> Any:
    """The numbers of a constant that says sizes, axes or amounts.

    Raises:
        UnsupportedError: There are too many for that.
    """
    if tensor.numel() > MOST_NUMBERS:
        raise UnsupportedError(
            f"{tensor.numel():,} sizes, axes or amounts, expected at most {MOST_NUMBERS:,}"
        )
    return tensor.tolist()
