"""Loads an ONNX file or model as a torch.fx.GraphModule."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor, fx

from samepad._building import UnsupportedError
from samepad.onnx import inference, legacy, limits, sizes, tensors
from samepad.onnx.call import Body, Builder, Call, Kind, Sizes, Value, kind_of
from samepad.onnx.inference import sizes_of
from samepad.onnx.operators import TABLES

__all__ = ["load", "read", "sizes_of"]

#: Before this opset, the shape of Reshape was an attribute, and much else was different.
OLDEST_OPSET = 5
#: Most lines in an error message.
_MOST_LINES = 200


def read(model: Any) -> Any:
    """Read a model from a path, or take a model, and check it.

    Raises:
        TypeError: `model` is neither a path nor a model.
        ValueError: There is no such file, or ONNX's checker does not accept the model.
    """
    if isinstance(model, onnx.ModelProto):
        proto, name = model, "the model"
    elif isinstance(model, (str, Path)):
        if not Path(model).is_file():
            raise ValueError(f"there is no file {model}")
        proto, name = None, str(model)
    else:
        raise TypeError(f"model must be a path or an onnx.ModelProto, not {type(model).__name__}")
    try:
        proto = onnx.load(model) if proto is None else proto
        limits.check_expansion(proto)
        _check(proto, name)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is no ONNX model that can be read: {reason}") from error
    return inference.with_ranks(proto)


def _check(proto: Any, path: str) -> None:
    """Run ONNX's checker, but let it accept inputs and outputs without a shape.

    Raises:
        ValueError: Weights are missing.
        onnx.checker.ValidationError: The checker refuses the model.
    """
    unread = [t.name for t in proto.graph.initializer if t.data_location == t.EXTERNAL]
    if unread:
        raise ValueError(
            f"its initializers {', '.join(unread)} are kept in files that were not read; pass the "
            "model's path, or call onnx.load_external_data_for_model first"
        )
    if proto.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:  # it checks large models only from a file
        return onnx.checker.check_model(path)
    # Exporters leave out shapes that they do not know, and ONNX Runtime accepts that too.
    values = [*proto.graph.input, *proto.graph.output]
    shapeless = [position for position, value in enumerate(values) if _lacks_shape(value)]
    if shapeless:
        filled = onnx.ModelProto()
        filled.CopyFrom(proto)
        values = [*filled.graph.input, *filled.graph.output]
        for position in shapeless:
            values[position].type.tensor_type.shape.SetInParent()
        proto = filled
    return onnx.checker.check_model(proto)


def _lacks_shape(value: Any) -> bool:
    kind = value.type
    return kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")


def _attribute(proto: Any) -> Any:
    """Return an attribute's value; for float32, the shortest decimal number equal to it."""
    value = onnx.helper.get_attribute_value(proto)
    if proto.type == onnx.AttributeProto.FLOAT:
        return float(str(np.float32(value)))
    if proto.type == onnx.AttributeProto.FLOATS:
        return [float(str(np.float32(each))) for each in value]
    return value


def _resolved(node: Any, attributes: dict[str, Any]) -> Any:
    """Replace references to a function's attributes in its node by the call's attributes."""
    if not any(each.ref_attr_name for each in node.attribute):
        return node
    resolved = onnx.NodeProto()
    resolved.CopyFrom(node)
    del resolved.attribute[:]
    for each in node.attribute:
        if not each.ref_attr_name:
            resolved.attribute.append(each)
        elif each.ref_attr_name in attributes:
            resolved.attribute.append(attributes[each.ref_attr_name])
            resolved.attribute[-1].name = each.name
    return resolved


def _opset(imports: Any) -> int:
    """Return the version of ONNX's own operator set."""
    opsets = {entry.domain: entry.version for entry in imports}
    return int(opsets.get("", opsets.get("ai.onnx", OLDEST_OPSET)))


class Scope:
    """The values by name in a graph, or in one call of a function."""

    def __init__(self, nodes: Any, outputs: list[str], opset: int, declared: Any) -> None:
        """Note the declared types and count the uses of each name; there are no values yet."""
        self.nodes = nodes
        self.outputs = outputs
        self.opset = opset
        self.declared = inference.tensor_types(declared)
        self.uses = Counter([*(name for node in nodes for name in _used(node)), *outputs])
        self.values: dict[str, Value | None] = {"": None}
        #: Constants that are read only once, however often the body of a loop is written out.
        self.constants: dict[str, Value | None] = {}
        #: Returns a value from around this graph.
        self.around: Callable[[str], Value | None] | None = None
        #: The attributes that a call passes to a function.
        self.attributes: dict[str, Any] = {}
        #: Prefix of the names of layers.
        self.prefix = ""

    def __getitem__(self, name: str) -> Value | None:
        """Return a value by its name, from this graph or from around it."""
        if name not in self.values and self.around is not None:
            return self.around(name)
        return self.values[name]


def _used(node: Any) -> Iterator[str]:
    """Return the names that a node uses; those in its graphs twice, as loops may repeat them."""
    yield from node.input
    for graph in limits.graphs_of(node):
        for each in (graph, *_inner(graph)):
            for name in (*(n for inner in each.node for n in inner.input), *_names(each.output)):
                yield from (name, name)


def _names(values: Any) -> list[str]:
    return [value.name for value in values]


class Subgraphs:
    """Converts the graphs in the attributes of one node: see call.Graphs."""

    def __init__(self, loader: "Loader", scope: Scope, node: Any, name: str) -> None:
        """Note the node, its name, and the scope that it is in."""
        self.loader, self.scope, self.node, self.name = loader, scope, node, name
        self.scopes: dict[int, tuple[Any, Scope]] = {}

    def _begin(self, graph: Any, given: Sequence[Value | None]) -> Scope:
        """Return the scope of a graph, in which only constants and inputs have values."""
        if id(graph) not in self.scopes:
            declared = (*graph.input, *graph.value_info, *graph.output)
            body = Scope(list(graph.node), _names(graph.output), self.scope.opset, declared)
            body.attributes = self.scope.attributes
            self.loader.constants(graph, body)
            body.constants |= body.values
            self.scopes[id(graph)] = graph, body  # the graph is kept, so that its id stays its own
        body = self.scopes[id(graph)][1]
        body.values, body.around = dict(body.constants), self.scope.__getitem__
        body.prefix = self.name + "."
        if len(given) != len(graph.input):
            raise UnsupportedError(f"a graph of {len(graph.input)} inputs, expected {len(given)}")
        for name, value in zip(_names(graph.input), given, strict=True):
            self.loader.keep(body, name, value)
        return body

    def inline(self, graph: Any, given: list[Value | None]) -> list[Value]:
        """Convert a graph where the node is, and return its outputs."""
        return self.loader.run(self._begin(graph, given))

    def module(self, graph: Any, name: str, given: list[Kind]) -> Body:
        """Convert a graph to a module, whose inputs have the types `given`.

        The module's result is a tuple. Nodes from around the graph become further inputs, but sizes
        are computed again from the tensors whose sizes they are, because torch.cond takes tensors
        only.
        """
        outer, builder = self.loader.b, Builder(self.loader.b)
        inputs = [builder.placeholder(value) for value in _names(graph.input)]
        for node, (dtype, dims) in zip(inputs, given, strict=True):
            found = {"dtype": dtype, "dims": dims}
            node.meta |= {key: value for key, value in found.items() if value is not None}
        captured: dict[fx.Node, fx.Node] = {}
        body = self._begin(graph, inputs)
        body.around = lambda wanted: _captured(self.scope[wanted], builder, captured)
        body.prefix = ""
        self.loader.b = builder
        try:
            outputs = [builder.tensor(value) for value in self.loader.run(body)]
        finally:
            self.loader.b = outer
        results = tuple(builder.node(value) for value in outputs)
        made = builder.finish(results, name)
        target = outer.name(name)
        outer.root.add_module(target, made)
        module = outer.graph.get_attr(target)
        kinds = [kind_of(value) for value in outputs]
        return Body(module, list(captured), [d for _, d in kinds], [t for t, _ in kinds])

    def repeat(self, graph: Any, times: int) -> bool:
        """Say that a graph will be converted so often; False if that would be too many nodes."""
        nodes = times * (1 + limits.count_nodes(graph))
        if nodes > self.loader.unrolled_left:
            return False
        self.loader.unrolled_left -= nodes
        return True

    def depends(self, graph: Any, output: str, names: set[str]) -> bool:
        """Whether an output of a graph depends on inputs among `names` or on the model's inputs."""
        makers = {result: node for node in graph.node for result in node.output}
        constant = {tensor.name for tensor in graph.initializer}
        inside = {name for each in _inner(graph) for name in _defined(each)}
        own, waiting, seen = set(_names(graph.input)), [output], {""}
        while waiting:
            name = waiting.pop()
            if name in seen or name in constant:
                continue
            seen.add(name)
            if name in makers:
                waiting += _used(makers[name])
            elif name in own:
                if name in names:
                    return True
            elif name not in inside and not isinstance(self.scope[name], Tensor):
                return True
        return False

    def rank_by_use(self) -> list[int | None]:
        """Return the number of dimensions that the use of each of the node's outputs implies."""
        users: dict[str, list[Any]] = {}
        for node in self.scope.nodes:
            for given in node.input:
                users.setdefault(given, []).append(node)
        ranks = {
            name: value.dim()
            for name, value in self.scope.values.items()
            if isinstance(value, Tensor)
        }
        return [inference.rank_by_use(name, users, ranks) for name in self.node.output]


def _defined(graph: Any) -> Iterator[str]:
    """Return the names to which a graph itself gives values."""
    yield from _names(graph.input)
    yield from _names(graph.initializer)
    for node in graph.node:
        yield from node.output


def _inner(graph: Any) -> Iterator[Any]:
    """Return all graphs inside of a graph."""
    for node in graph.node:
        for each in limits.graphs_of(node):
            yield each
            yield from _inner(each)


def _captured(value: Any, builder: Builder, captured: dict[fx.Node, fx.Node]) -> Any:
    """Return a value from around a graph for the graph's own builder."""

    def number(item: Any) -> Any:
        """Compute a size, or what is computed from sizes, again.

        A stack instead of recursion, because such computations can be long.
        """
        waiting = [item] if isinstance(item, fx.Node) else []
        while waiting:
            node = waiting[-1]
            if node in builder.cached:
                waiting.pop()
            elif node.op == "call_method" and node.target == "size":
                tensor, dim = cast(tuple[fx.Node, int], node.args)
                builder.cached[node] = builder.size(_captured(tensor, builder, captured), dim)
            elif missing := [
                a for a in node.args if isinstance(a, fx.Node) and a not in builder.cached
            ]:
                waiting += missing
            else:
                assert callable(node.target)
                given = [builder.cached[a] if isinstance(a, fx.Node) else a for a in node.args]
                copy = builder.call(node.target, *given)
                if isinstance(copy, fx.Node) and "float" in node.meta:
                    copy.meta["float"] = node.meta["float"]
                builder.cached[node] = copy
        return builder.cached[item] if isinstance(item, fx.Node) else item

    if isinstance(value, Sizes):
        return Sizes(tuple(map(number, value.items)), value.shape, value.dtype)
    if not isinstance(value, fx.Node):
        return value
    if value not in captured:
        captured[value] = builder.placeholder(value.name)
        kept = {key: value.meta[key] for key in ("dims", "dtype") if key in value.meta}
        captured[value].meta |= kept | {"once": False}
    return captured[value]


class Loader:
    """Converts a model: holds its module so far, and the reasons why nodes were refused."""

    def __init__(self, proto: Any, bound: Mapping[str, Any]) -> None:
        """Begin with the constants and inputs of a model, of which some are bound to values."""
        graph = proto.graph
        self.name = graph.name
        self.functions = {limits.function_key(each): each for each in proto.functions}
        self.b = Builder()
        self.b.fold.allow_for_file(proto.ByteSize())
        self.unsupported: list[str] = []
        declared = (*graph.input, *graph.value_info, *graph.output)
        outputs = [output.name for output in graph.output]
        self.scope = Scope(graph.node, outputs, _opset(proto.opset_import), declared)
        if self.scope.opset < OLDEST_OPSET:
            raise ValueError(
                f"cannot convert the ONNX model {self.name!r}: its opset is {self.scope.opset}, "
                f"expected at least {OLDEST_OPSET}; onnx.version_converter may bring it there"
            )
        self.unrolled_left = limits.MOST_UNROLLED
        self.constants(graph, self.scope)
        self.bind(graph.input, bound)
        for given in graph.input:
            if given.name not in self.scope.values:
                self.keep(self.scope, given.name, self.b.placeholder(given.name))

    def bind(self, inputs: Any, bound: Mapping[str, Any]) -> None:
        """Give inputs constant values.

        Raises:
            ValueError: The model has no such input, or a value does not fit its type.
        """
        kinds = inference.tensor_types(inputs)
        free = [name for name in kinds if name not in self.scope.values]
        for name, value in bound.items():
            if name not in free:
                raise ValueError(f"constants has {name!r}, expected names of inputs: {free}")
            self.scope.values[name] = _bound(name, value, kinds[name])

    def constants(self, graph: Any, scope: Scope) -> None:
        """Read the constants of a graph."""
        for tensor in graph.initializer:
            self.constant(scope, tensor.name, tensors.tensor, tensor)
        for sparse in graph.sparse_initializer:
            self.constant(scope, sparse.values.name, self.b.fold, tensors.dense, sparse)

    def constant(self, scope: Scope, name: str, read: Any, *arguments: Any) -> None:
        """Read a constant of the file; if it cannot be read, note why."""
        try:
            value = read(*arguments)
            self.b.names[id(value)] = name
        except (UnsupportedError, TypeError, ValueError, IndexError, RuntimeError) as error:
            # NumPy and PyTorch raise the other errors for data that does not fit its shape.
            self.unsupported.append(f"initializer {name}: {error}")
            value = torch.zeros(())
        scope.values[name] = value

    def keep(self, scope: Scope, name: str, value: Any, found: Any = None) -> None:
        """Store a value by its name; note its type, and whether it is used only once."""
        scope.values[name] = value
        if isinstance(value, fx.Node):
            value.meta["once"] = value.meta.get("once", True) and scope.uses[name] == 1
            inference.note(value, found, scope.declared.get(name))

    def run(self, scope: Scope) -> list[Any]:
        """Convert the nodes of a scope, and return its outputs."""
        for position, node in enumerate(scope.nodes):
            self.convert(_resolved(node, scope.attributes), position, scope)
        return [scope[name] for name in scope.outputs]

    def convert(self, node: Any, position: int, scope: Scope) -> None:
        """Convert a node; if it has no counterpart, note why.

        Raises:
            ValueError: Its inputs or attributes do not fit each other.
        """
        if scope.constants and all(name in scope.constants for name in node.output):
            return
        # If a converter has fused operators, take the name of the first one.
        name = scope.prefix + (node.name.partition(";")[0] or f"{node.op_type}_{position}")
        given = [scope[input] for input in node.input]
        function = self.functions.get(limits.function_key(node))
        if function is not None:
            results: Any = self.run(self.called(function, node, name, given))
        else:
            results = self.computed(node, name, given, scope)
        kinds: dict[str, Any] = {}
        # The outputs of a node with graphs have the types of what these compute.
        flat = function is None and not limits.graphs_of(node)
        if flat and any(isinstance(value, fx.Node) for value in results):
            kinds = inference.inferred(node, given, scope.opset)
        for output, value in zip(node.output, results, strict=False):
            if output:
                self.keep(scope, output, value, kinds.get(output))
                if node.op_type == "Constant" and not node.domain:
                    scope.constants[output] = value

    def called(self, function: Any, node: Any, name: str, given: list[Any]) -> Scope:
        """Return the scope for one call of a function, with the given values and attributes."""
        body = Scope(
            function.node,
            list(function.output),
            _opset(function.opset_import),
            function.value_info,
        )
        body.prefix = name + "."
        body.attributes = {each.name: each for each in (*function.attribute_proto, *node.attribute)}
        for position, inner in enumerate(function.input):
            self.keep(body, inner, given[position] if position < len(given) else None)
        return body

    def computed(self, node: Any, name: str, given: list[Any], scope: Scope) -> list[Any]:
        """Convert an operator and return its outputs; if it has no counterpart, note why.

        Raises:
            ValueError: Its inputs or attributes do not fit each other.
        """
        attributes = {a.name: _attribute(a) for a in node.attribute}
        domain = "" if node.domain == "ai.onnx" else node.domain
        rule = TABLES.get(domain, {}).get(node.op_type, _no_counterpart)
        outputs, graphs = len(node.output), Subgraphs(self, scope, node, name)
        call = Call(
            self.b, name, node.op_type, given, attributes, scope.opset, outputs, domain, graphs
        )
        results: Any = [torch.zeros(())] * len(node.output)  # used if the operator is refused
        try:
            updated = call if domain else legacy.updated(call)
            as_sizes = None if domain else sizes.computed(updated)
            results = rule(updated) if as_sizes is None else as_sizes
        except UnsupportedError as error:
            self.unsupported.append(f"{call.description}: {error}")
        except Exception as error:
            # After the first refusal, nodes may fail only because they get placeholder values.
            if not self.unsupported:
                reason = str(error) or repr(error)
                raise ValueError(f"cannot convert {call.description}: {reason}") from error
        return results if isinstance(results, list) else [results]

    def finish(self, outputs: list[Any]) -> fx.GraphModule:
        """Return the finished module, in evaluation mode."""
        found = [self.b.node(self.b.tensor(value)) for value in outputs]
        result = found[0] if len(found) == 1 else tuple(found)
        module = self.b.finish(result, "OnnxModel").eval()
        if self.b.notes:
            module.meta["notes"] = "\n".join(dict.fromkeys(self.b.notes))
        return module


def _no_counterpart(_: Call) -> Any:
    raise UnsupportedError("no counterpart")


def _bound(name: str, value: Any, kind: Any) -> Tensor:
    """Return the constant value of an input as a tensor of the input's type.

    Raises:
        ValueError: The value is no number or array of numbers, or has another shape.
    """
    try:
        tensor = torch.as_tensor(value).to(tensors.dtype(kind.elem_type))
    except (TypeError, ValueError, RuntimeError, UnsupportedError) as error:
        raise ValueError(f"constants[{name!r}] is {value!r}, expected numbers: {error}") from error
    dims = sizes_of(kind) if kind.HasField("shape") else list(tensor.shape)
    if tensor.dim() == 0 and all(size in (1, None) for size in dims):
        tensor = tensor.reshape([1] * len(dims))
    fits = len(dims) == tensor.dim() and all(
        size in (None, found) for size, found in zip(dims, tensor.shape, strict=True)
    )
    if not fits:
        expected = ", ".join("?" if size is None else str(size) for size in dims)
        raise ValueError(
            f"constants[{name!r}] has shape {tuple(tensor.shape)}, expected ({expected})"
        )
    return tensor


def load(model: Any, constants: Mapping[str, Any] | None = None) -> fx.GraphModule:
    """See samepad.onnx.load, which makes sure that the package onnx is installed."""
    loader = Loader(read(model), constants or {})
    outputs = loader.run(loader.scope)
    if loader.unsupported:
        lines = loader.unsupported[:_MOST_LINES]
        if len(loader.unsupported) > len(lines):
            lines.append(f"and {len(loader.unsupported) - len(lines):,} more")
        raise ValueError(
            f"cannot convert the ONNX model {loader.name!r} (opset {loader.scope.opset}):\n  "
            + "\n  ".join(lines)
        )
    return loader.finish(outputs)
