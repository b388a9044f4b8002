"""From an ONNX file or model to a torch.fx.GraphModule."""

from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import fx

from samepad.onnx.call import Builder, Call, UnsupportedError
from samepad.onnx.operators import OPERATORS


def read(model: Any) -> Any:
    """The model that a path leads to, checked; a model as it is."""
    if not isinstance(model, (str, Path)):
        if not isinstance(model, onnx.ModelProto):
            raise TypeError(
                f"model must be a path or an onnx.ModelProto, not {type(model).__name__}"
            )
        return model
    if not Path(model).is_file():
        raise ValueError(f"there is no file {model}")
    try:
        proto = onnx.load(model)
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{model} is no ONNX model that can be read: {reason[0]}") from error
    return proto


def load(model: Any) -> fx.GraphModule:
    """samepad.onnx.load, where the package onnx is known to be there."""
    proto = read(model)
    graph = proto.graph
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 1))
    b = Builder()
    values: dict[str, Any] = {"": None}
    for tensor in graph.initializer:
        values[tensor.name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    for given in graph.input:
        if given.name not in values:
            values[given.name] = b.graph.placeholder(b.name(given.name))
    unsupported = []
    for position, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{position}"
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        outputs = [output for output in node.output if output]
        results: Any = [torch.zeros(())] * len(outputs)  # stands in for what cannot be computed
        try:
            if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
                raise UnsupportedError("no counterpart")
            inputs = [values[input] for input in node.input]
            call = Call(b, name, inputs, attributes, opset, len(node.output))
            results = OPERATORS[node.op_type](call)
        except Exception as error:
            # After the first, others fail for want of values that were not computed.
            if isinstance(error, UnsupportedError):
                shown = {
                    k: v for k, v in attributes.items() if isinstance(v, (int, float, list, bytes))
                }
                unsupported.append(f"{name} ({node.op_type} {shown}): {error}")
            elif not unsupported:
                raise ValueError(
                    f"cannot convert node {name!r} ({node.op_type}): {error}"
                ) from error
        if not isinstance(results, list):
            results = [results]
        values.update(zip(node.output, results, strict=False))
    if unsupported:
        raise ValueError(
            f"cannot convert the ONNX model {graph.name!r} (opset {opset}):\n  "
            + "\n  ".join(unsupported)
        )
    found = [b.node(values[output.name], output.name) for output in graph.output]
    b.graph.output(found[0] if len(found) == 1 else tuple(found))
    module = fx.GraphModule(b.root, b.graph, class_name="OnnxModel")
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return module.eval()
