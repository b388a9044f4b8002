"""Finds the graph of a module, and what is known about the values in it."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_map_only

from samepad.inference.activations import recognize
from samepad.modules.padded import Padded

#: Layers that compute what their input is, in eval mode.
_IDENTITIES = (nn.Identity, nn.modules.dropout._DropoutNd)

#: Functions and methods that compute each element of the result from one of each operand, by their
#: names without the underscore of those that change their first operand.
ELEMENTWISE = frozenset(
    (
        "abs", "add", "celu", "clamp", "clamp_max", "clamp_min", "div", "divide", "elu", "erf",
        "exp", "expm1", "gelu", "hard_sigmoid", "hardsigmoid", "hardswish", "hardtanh",
        "leaky_relu", "log1p", "maximum", "minimum", "mish", "mul", "multiply", "neg", "negative",
        "pow", "power", "reciprocal", "relu", "relu6", "rsqrt", "selu", "sigmoid", "silu",
        "softplus", "softsign", "sqrt", "square", "sub", "subtract", "swish", "tanh", "true_divide",
        "truediv", "where",
    )
)  # fmt: skip

#: The modules whose functions of these names are elementwise.
_ELEMENTWISE_FROM = (
    "torch",
    "torch._C._nn",
    "torch.nn.functional",
    "_operator",
    "samepad.keras.ops",
    "samepad.onnx.ops",
)


@dataclass(frozen=True)
class Seen:
    """A tensor that a node computed from the example inputs."""

    shape: torch.Size
    dtype: torch.dtype
    #: The order in memory; None if it is neither contiguous nor channels_last.
    layout: torch.memory_format | None


def layout_of(tensor: Tensor) -> torch.memory_format | None:
    """Return in which of the usual orders a tensor lies in memory, if any."""
    candidates = [torch.contiguous_format]
    candidates += {4: [torch.channels_last], 5: [torch.channels_last_3d]}.get(tensor.dim(), [])
    return next((each for each in candidates if tensor.is_contiguous(memory_format=each)), None)


def has_hooks(module: nn.Module) -> bool:
    """Whether something else is called when a module is called."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


#: What `is_activation` has found for modules that exist.
_found: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def is_activation(module: nn.Module) -> bool:
    """Whether a module, of whatever package, computes an activation that is known."""
    if has_hooks(module) or any(module._modules or module._parameters or module._buffers):
        return False
    if module not in _found:
        found = recognize(copy.deepcopy(module))
        _found[module] = found is not None and found[0] != "identity"
    return _found[module]


def _is_leaf(module: nn.Module) -> bool:
    """Whether a module stays one node of the graph: a layer, an activation, or one with hooks."""
    return (
        isinstance(module, (_ConvNd, _BatchNorm, Padded))
        or has_hooks(module)
        or is_activation(module)
        or fx.Tracer().is_leaf_module(module, "")
    )


class _Tracer(fx.Tracer):
    """Keeps layers whole, and graphs of other origin, which are inlined afterwards."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # While torch.fx traces, modules can't be called to see what they compute.
        self._leaves = {part for part in module.modules() if _is_leaf(part)}

    def is_leaf_module(self, module: nn.Module, _: str) -> bool:
        return module in self._leaves or isinstance(module, fx.GraphModule)


def _constants(module: nn.Module, inputs: Sequence[Any]) -> dict[str, Any]:
    """Return the arguments of `forward` that the graph is to be traced for, by their names.

    They are all that the example inputs leave at their defaults, or that are no tensors.
    """
    constants = {}
    parameters = list(inspect.signature(module.forward).parameters.values())
    for position, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        given = inputs[position] if position < len(inputs) else parameter.default
        if given is None or isinstance(given, (bool, int, float, str)):
            constants[parameter.name] = given
    return constants


def _graph_of(module: nn.Module, inputs: Sequence[Any]) -> fx.Graph:
    if isinstance(module, fx.GraphModule):
        graph = fx.Graph()
        copied: dict[fx.Node, fx.Node] = {}
        graph.output(graph.graph_copy(module.graph, copied))
        for old, new in copied.items():
            new.target = old.target  # of arguments, a copy changes the names
        graph.set_codegen(copy.copy(module.graph._codegen))
        return graph
    constants = _constants(module, inputs)
    graph = _Tracer(module).trace(module, constants)
    names = list(inspect.signature(module.forward).parameters)
    placeholders = (node for node in graph.nodes if node.op == "placeholder")
    for name, node in zip(names, placeholders, strict=False):
        if name in constants:  # their placeholders have got other names
            node.target = name
    return graph


def _inline(graph: fx.Graph, module: nn.Module) -> None:
    """Replace the calls of modules that are no leaves by their graphs, as far as there are any."""
    for node in graph.nodes:  # the nodes that are inserted come before the present one
        if node.op != "call_module":
            continue
        called = module.get_submodule(str(node.target))
        if _is_leaf(called) or (node.kwargs and isinstance(called, fx.GraphModule)):
            continue
        try:
            inner = _graph_of(called, node.args)
        except Exception:  # a module's code may raise any error when it is given proxies
            continue
        _inline(inner, called)
        placeholders = [each for each in inner.nodes if each.op == "placeholder"]
        result = next(each for each in inner.nodes if each.op == "output").args[0]
        if len(placeholders) != len(node.args) or not isinstance(result, fx.Node) or node.kwargs:
            continue
        copied: dict[fx.Node, Any] = dict(zip(placeholders, node.args, strict=True))
        with graph.inserting_before(node):
            value = graph.graph_copy(inner, copied)
        for old, new in copied.items():
            if old.op in ("call_module", "get_attr"):
                new.target = f"{node.target}.{old.target}"
        assert isinstance(value, fx.Node)
        node.replace_all_uses_with(value)
        graph.erase_node(node)


def trace(module: nn.Module, inputs: Sequence[Any]) -> fx.GraphModule:
    """Return a module's graph, which shares the module's layers; each value is `Seen`.

    Raises:
        Exception: Any kind of error, if the module can't be traced.
    """
    graph = _graph_of(module, inputs)
    _inline(graph, module)
    graph._tracer_cls = None  # or pickling would need the tracer
    traced = fx.GraphModule(module, graph, type(module).__name__)
    traced.meta.update(getattr(module, "meta", {}))
    with torch.no_grad():
        _Recorder(traced).run(*tree_map_only(Tensor, Tensor.clone, tuple(inputs)))
    return traced


class _Recorder(fx.Interpreter):
    """Runs a graph and notes the tensors that its nodes compute."""

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if isinstance(value, Tensor):
            node.meta["seen"] = Seen(value.shape, value.dtype, layout_of(value))
        return value


def seen(node: object) -> Seen | None:
    """Return what is known of a node's value, or None if it is no tensor."""
    return node.meta.get("seen") if isinstance(node, fx.Node) else None


def module_of(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls, or None if it calls none."""
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def name_of(node: fx.Node) -> str:
    """Return the name of the function or method that a node calls, or "" if it calls neither."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def is_elementwise(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether each element of a node's value depends on one element of each operand alone."""
    if node.op == "call_module":
        module = module_of(graph, node)
        assert module is not None
        return len(node.args) == 1 and not node.kwargs and is_activation(module)
    if node.op == "call_function":
        origin = getattr(node.target, "__module__", None) or "torch"
        if origin not in _ELEMENTWISE_FROM:
            return False
    return name_of(node).removesuffix("_") in ELEMENTWISE


def is_identity(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node computes its first operand itself."""
    module = module_of(graph, node)
    if module is not None:
        return isinstance(module, _IDENTITIES) and not module.training and not has_hooks(module)
    if "dropout" in name_of(node):
        return node.kwargs.get("training") is False or (
            len(node.args) > 2 and node.args[2] is False
        )
    return False


def without_identities(graph: fx.GraphModule) -> None:
    """Remove the nodes that compute their first operand itself."""
    for node in list(graph.graph.nodes):
        if is_identity(graph, node) and node.args and isinstance(node.args[0], fx.Node):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
