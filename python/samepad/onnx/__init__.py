"""ONNX models in PyTorch, with equal outputs.

    module = samepad.onnx.load("model.onnx")

Needs the package onnx; samepad itself does not import it.
"""

from pathlib import Path
from typing import Any

try:
    import onnx
except ImportError as error:
    raise ImportError("samepad.onnx needs the package onnx: pip install onnx") from error
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import fx

from samepad.onnx.call import Builder, Call, UnsupportedError
from samepad.onnx.operators import OPERATORS

__all__ = ["load"]


def _read(model: Any) -> Any:
    if not isinstance(model, (str, Path)):
        if not isinstance(model, onnx.ModelProto):
            raise TypeError(
                f"model must be a path or an onnx.ModelProto, not {type(model).__name__}"
            )
        return model
    if not Path(model).is_file():
        raise ValueError(f"there is no file {model}")
    try:
        read = onnx.load(model)
        onnx.checker.check_model(read)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{model} is no ONNX model that can be read: {reason[0]}") from error
    return read


def load(model: Any) -> fx.GraphModule:
    """A PyTorch module that computes what an ONNX model computes.

    Convolutions and pools become layers of samepad where their padding is `auto_pad` or differs
    between the sides, and torch.nn's elsewhere; what depends on constants alone is computed now.
    The module is in evaluation mode: ONNX models are for inference.

    Args:
        model: Path of a file, or an onnx.ModelProto. Tensors kept beside a file are read from its
            folder. Nothing in a file is run as code.

    Returns:
        The module. It takes the model's inputs, in order, as tensors of ONNX's shapes, and returns
        a tensor, or a tuple where the model has several outputs.

    Raises:
        TypeError: `model` is neither a path nor a model.
        ValueError: The file is missing or no ONNX model; or operators, or attributes of some, have
            no counterpart: the message names all of these nodes.
    """
    proto = _read(model)
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
