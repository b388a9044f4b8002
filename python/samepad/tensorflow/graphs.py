"""Reads TensorFlow's graphs, and refuses those that do more than compute, before anything runs.

TensorFlow's own advice is to treat a file as a program: its graphs may read and write files. So
the operators of all graphs that loading or running a file could run are checked.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Operators with a state or an effect that stays within the computation. All others that
#: TensorFlow calls stateful are refused, such as those that write files.
_ALLOWED = re.compile(
    r"Stateful(PartitionedCall|Uniform.*|StandardNormal.*|TruncatedNormal)"
    r"|_?(If|While|Case)|Assert|CheckNumerics(V2)?|GuaranteeConst|Empty"
    r"|Random(Uniform|UniformInt|StandardNormal|Shuffle|Gamma|PoissonV2)|TruncatedNormal|Multinomial"
    r"|Variable(V2|Shape)?|VarHandleOp|VarIsInitializedOp|ReadVariableOp|Assign\w*VariableOp"
    r"|DisableCopyOnRead|DestroyResourceOp|Resource(Gather|GatherNd|Scatter\w+)|RestoreV2"
    r"|(Hash|MutableHash)Table(V2)?|LookupTable(Find|Size|Insert|Import)V2|InitializeTableV2"
    r"|TensorArray\w*|Stack(V2|PushV2|PopV2|CloseV2)|CudnnRNN(V2|V3)?|_Arg|_Retval"
)
#: Operators that are not called stateful, but read files, write them or call Python.
_REFUSED = re.compile(r".*(File|PyFunc|Debug|Snapshot|Dataset|Reader|VocabRemapping).*")


#: Operators whose results are no outputs, even if nothing takes them.
_SILENT = ("Const", "NoOp", "Assert", "Placeholder", "PlaceholderWithDefault")


class RefusedError(Exception):
    """A file is broken or is refused, or an argument does not fit it; the message says why."""


@dataclass(frozen=True)
class Ends:
    """Where a graph begins and ends."""

    #: Names of tensors.
    inputs: list[str]
    outputs: list[str]
    #: Names of placeholders that have a default value, which is used.
    defaults: list[str]


def _parsed(message: Any, path: Path, what: str) -> Any:
    """Read a message of protobuf from a file.

    Raises:
        RefusedError: The file is not such a message.
    """
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise RefusedError(f"it is no {what} that can be read: {error}") from error
    return message


def read_graph(path: Path) -> Any:
    """Read a frozen graph, and check its operators.

    Raises:
        RefusedError: The file is no graph, or the graph does more than compute.
    """
    from tensorflow.core.framework import graph_pb2

    graph = _parsed(graph_pb2.GraphDef(), path, "frozen graph")
    if not graph.node:
        raise RefusedError("it is no frozen graph that can be read: it has no operators")
    _check(_operators(graph, (node.name for node in graph.node), []))
    return graph


def graph_ends(graph: Any, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Ends:
    """Return the ends of a graph: the given ones, or else those that the graph has.

    Raises:
        RefusedError: The graph has no operator of a given name, or no input or output.
    """
    kinds = {node.name: node.op for node in graph.node}
    taken = {_node(name) for node in graph.node for name in node.input}
    placeholders = [name for name, kind in kinds.items() if kind == "Placeholder"]
    last = [name for name, kind in kinds.items() if name not in taken and kind not in _SILENT]
    begin = _tensors(kinds, "inputs", inputs or placeholders)
    end = _tensors(kinds, "outputs", outputs or last)
    open_ends = {_node(name) for name in begin}
    defaults = [
        name
        for name, kind in kinds.items()
        if kind == "PlaceholderWithDefault" and name not in open_ends
    ]
    return Ends(begin, end, defaults)


def _tensors(kinds: dict[str, str], what: str, names: Sequence[str]) -> list[str]:
    """Return the names of tensors, each of which may be a node's, which then means its first one.

    Raises:
        RefusedError: There are none, or a node does not exist.
    """
    unknown = [name for name in names if _node(name) not in kinds]
    if unknown:
        raise RefusedError(f"{what} has {unknown}, expected names of tensors, such as 'x:0'")
    if not names:
        raise RefusedError(f"the graph has no {what} of its own: name tensors as {what}")
    return [name if ":" in name else f"{name}:0" for name in names]


def read_saved_model(folder: Path, signature: str | None) -> str:
    """Read a SavedModel and check its operators; return the name of the signature to convert.

    Raises:
        RefusedError: The SavedModel is broken or does more than compute, or it has no such
            signature.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    model = _parsed(saved_model_pb2.SavedModel(), folder / "saved_model.pb", "SavedModel")
    graphs = [each for each in model.meta_graphs if "serve" in each.meta_info_def.tags]
    if not graphs:
        raise RefusedError("it is a SavedModel without a graph that is tagged 'serve'")
    for each in model.meta_graphs:
        functions = each.object_graph_def.concrete_functions
        _check(_operators(each.graph_def, _run_nodes(each), functions))
    names = [n for n, s in graphs[0].signature_def.items() if n[:2] != "__" and s.outputs]
    usual = names if len(names) == 1 else ["serving_default"]
    chosen = usual[0] if signature is None else signature
    if chosen not in names:
        raise RefusedError(
            f"signature is {signature!r}, expected one of its signatures: {sorted(names)}"
        )
    return chosen


def _run_nodes(meta_graph: Any) -> Iterator[str]:
    """Return the nodes that loading a SavedModel or calling its signatures may run.

    Saving, which writes files, is not among them.
    """
    for signature in meta_graph.signature_def.values():
        for tensor in signature.outputs.values():
            yield _node(tensor.name)
            for part in tensor.composite_tensor.components:
                yield _node(part.name)
            sparse = tensor.coo_sparse
            yield from map(
                _node,
                (
                    sparse.values_tensor_name,
                    sparse.indices_tensor_name,
                    sparse.dense_shape_tensor_name,
                ),
            )
    yield _node(meta_graph.saver_def.restore_op_name)
    for collection in meta_graph.collection_def.values():
        yield from map(_node, collection.node_list.value)


def _node(name: str) -> str:
    """Return the node's name in the name of a tensor or of a control input."""
    return name.removeprefix("^").partition(":")[0]


def _operators(graph: Any, nodes: Iterable[str], functions: Iterable[str]) -> set[str]:
    """Return the operators that nodes of a graph and functions of its library may run."""
    by_name = {node.name: node for node in graph.node}
    library = {function.signature.name: function for function in graph.library.function}
    found: set[str] = set()
    seen: set[tuple[bool, str]] = set()
    waiting = [(False, name) for name in nodes] + [(True, name) for name in functions]
    while waiting:
        entry = waiting.pop()
        is_function, name = entry
        if entry in seen or name not in (library if is_function else by_name):
            continue
        seen.add(entry)
        inner = library[name].node_def if is_function else [by_name[name]]
        for node in inner:
            found.add(node.op)
            waiting.append((True, node.op))  # a function may be called as an operator
            waiting += [(True, called) for value in node.attr.values() for called in _called(value)]
            if not is_function:
                waiting += [(False, _node(given)) for given in node.input]
    return found - set(library)


def _called(value: Any) -> Iterator[str]:
    """Return the names of functions in the value of an attribute."""
    if value.HasField("func"):
        yield value.func.name
    for function in value.list.func:
        yield function.name


def _check(operators: set[str]) -> None:
    """Refuse operators that do more than compute.

    Raises:
        RefusedError: There are some; the message names them.
    """
    from tensorflow.python.framework import op_def_registry

    refused = []
    for name in sorted(operators):
        definition = op_def_registry.get(name)
        stateful = definition is None or definition.is_stateful
        if _REFUSED.fullmatch(name) or (stateful and not _ALLOWED.fullmatch(name)):
            refused.append(name if definition is not None else f"{name} (unknown to TensorFlow)")
    if refused:
        raise RefusedError(
            "it has operators that may use files, the network or Python, or that keep a state: "
            f"{', '.join(refused)}; export the model without them"
        )
