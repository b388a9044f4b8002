"""Turns operations that change an operand in place into others, and back where nobody can tell."""

import inspect
import operator
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from samepad.inference.modules import _FusedConvNd
from samepad.inference.tracing import is_elementwise, module_of, name_of, seen

#: Functions and methods whose result may share the memory of their first operand.
_ALIASING = frozenset(
    (
        "adjoint", "as_strided", "broadcast_to", "chunk", "contiguous", "detach", "diagonal",
        "expand", "expand_as", "flatten", "getattr", "getitem", "imag", "moveaxis", "movedim",
        "narrow", "permute", "ravel", "real", "reshape", "reshape_as", "select", "split", "squeeze",
        "swapaxes", "swapdims", "t", "tensor_split", "to", "transpose", "type_as", "unbind",
        "unfold", "unflatten", "unsqueeze", "view", "view_as",
    )
)  # fmt: skip
_ALIASING_MODULES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.modules.dropout._DropoutNd)

_CHANGING_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def _may_alias(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node's value may share memory with an operand, or it is not known."""
    if node.op in ("placeholder", "get_attr", "output"):
        return True
    module = module_of(graph, node)
    if module is not None:
        known = type(module).__module__.startswith(("torch.nn.modules.", "samepad."))
        return not known or isinstance(module, (*_ALIASING_MODULES, fx.GraphModule))
    return name_of(node) in _ALIASING


def _inplace_option(node: fx.Node) -> bool:
    """Whether a node calls a function with inplace=True."""
    if node.op != "call_function" or not callable(node.target):
        return False
    try:
        bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    except (TypeError, ValueError):  # builtin functions have no signature
        return node.kwargs.get("inplace") is True
    return bound.arguments.get("inplace") is True


def _changes_operand(graph: fx.GraphModule, node: fx.Node) -> bool:
    module = module_of(graph, node)
    if module is not None:
        return getattr(module, "inplace", None) is True
    name = name_of(node)
    changing = name.endswith("_") and not name.endswith("__")
    return (
        changing
        or node.target in _CHANGING_OPERATORS
        or node.target is operator.setitem
        or "out" in node.kwargs
        or _inplace_option(node)
    )


def _without_option(node: fx.Node) -> None:
    bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    arguments = {key: value for key, value in bound.arguments.items() if key != "inplace"}
    first, *_ = arguments
    node.args = (arguments.pop(first),)
    node.kwargs = arguments


def _make_pure(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Let a node compute the same without changing its operand; return whether there is a way."""
    module: Any = module_of(graph, node)
    if module is not None:
        module.inplace = False
        return True
    name = name_of(node).removesuffix("_")
    target: Any = node.target
    if target in _CHANGING_OPERATORS:
        node.target = _CHANGING_OPERATORS[target]
    elif _inplace_option(node):
        _without_option(node)
    elif node.op == "call_method" and hasattr(torch.Tensor, name):
        node.target = name
    elif node.op == "call_function" and "out" not in node.kwargs:
        pure = getattr(F, name, None) or getattr(torch, name, None)
        if target is operator.setitem or pure is None:
            return False
        node.target = pure
    else:
        return False
    return True


def _is_shared_view(graph: fx.GraphModule, value: fx.Node) -> bool:
    """Whether a value may share memory with one that something else uses."""
    while value.op not in ("placeholder", "get_attr") and _may_alias(graph, value):
        bases = value.all_input_nodes
        if len(bases) != 1 or len(bases[0].users) > 1:
            return True
        value = bases[0]
    return value.op == "get_attr"


def without_changes(graph: fx.GraphModule) -> str | None:
    """Let every node compute a new value instead of changing an operand.

    Nodes that use a changed value later use the new one.

    Returns:
        None, or why that can't be done; the graph must not be used then.
    """
    order = {node: position for position, node in enumerate(graph.graph.nodes)}
    for node in list(graph.graph.nodes):
        if not _changes_operand(graph, node):
            continue
        value = node.args[0] if node.args else None
        doubt = f"{node.name} changes a value in place that others may share"
        if not isinstance(value, fx.Node):
            return doubt
        shared = _is_shared_view(graph, value)
        for user in list(value.users):
            if user is node:
                continue
            if order[user] > order[node]:
                user.replace_input_with(value, node)
            else:
                shared = shared or _may_alias(graph, user)
        if shared or not _make_pure(graph, node):
            return doubt
    return None


#: Layers whose result is new memory, which nothing else refers to.
_MAKES_NEW = (
    _FusedConvNd,
    _ConvNd,
    _BatchNorm,
    nn.Linear,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
)


#: For functions and methods that compute something new: the method that changes its operand.
_CHANGING_METHODS = {
    **{name: f"{name}_" for name in ("add", "sub", "mul", "div", "relu", "sigmoid", "tanh")},
    "multiply": "mul_",
    "truediv": "div_",
    "true_divide": "div_",
}
#: The same for modules without an option `inplace`.
_MODULE_METHODS: dict[type[nn.Module], str] = {nn.Sigmoid: "sigmoid_", nn.Tanh: "tanh_"}

_COMMUTATIVE = ("add", "mul", "multiply")

#: Functions of torch.nn.functional with an argument `inplace`.
_WITH_OPTION = (
    "elu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "mish",
    "relu6",
    "silu",
)


def _is_new(graph: fx.GraphModule, value: object) -> bool:
    if not isinstance(value, fx.Node):
        return False
    if isinstance(module_of(graph, value), _MAKES_NEW):
        return True
    name = name_of(value)
    return is_elementwise(graph, value) or name in _CHANGING_METHODS.values()


def reuse_memory(graph: fx.GraphModule) -> None:
    """Let elementwise operations write over their first operand, where nothing needs it any more.

    The values that they write over are those that layers have just made, so that they are in the
    caches. No value outside of the graph is changed.
    """
    order = {node: position for position, node in enumerate(graph.graph.nodes)}
    calls = Counter(module_of(graph, node) for node in graph.graph.nodes)

    def is_free(value: object, node: fx.Node) -> bool:
        """Whether nothing but `node` needs a value any more, and it is like the node's."""
        return (
            _is_new(graph, value)
            and isinstance(value, fx.Node)
            and seen(value) is not None
            and seen(value) == seen(node)
            and all(
                user is node or (order[user] < order[node] and not _may_alias(graph, user))
                for user in value.users
            )
            and sum(argument is value for argument in node.args) == 1
        )

    for node in list(graph.graph.nodes):
        if not is_elementwise(graph, node) or not node.args:
            continue
        name = name_of(node)
        if name in _COMMUTATIVE and len(node.args) == 2 and not is_free(node.args[0], node):
            swapped = node.args[1], node.args[0]
            if is_free(swapped[0], node):
                node.args = swapped
        if not is_free(node.args[0], node):
            continue
        module: Any = module_of(graph, node)
        if module is not None:
            if hasattr(module, "inplace") and calls[module] == 1:
                module.inplace = True
            elif method := _MODULE_METHODS.get(type(module)):
                node.op, node.target = "call_method", method
        elif name in _CHANGING_METHODS:
            node.op, node.target = "call_method", _CHANGING_METHODS[name]
        elif name in _WITH_OPTION and getattr(F, name) is node.target:
            node.kwargs = {**node.kwargs, "inplace": True}
