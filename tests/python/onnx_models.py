"""Makes small ONNX models, and runs models in ONNX Runtime."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import samepad.onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from samepad.source import write_source
from torch import nn


def run(model: Any, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the outputs that ONNX Runtime computes."""
    content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))  # type: ignore[no-any-return]


def assert_as_onnxruntime(model: Any, *arrays: NDArray[Any], tolerance: float = 1e-5) -> Any:
    module = samepad.onnx.load(model)
    with torch.no_grad():
        found = module(*map(torch.from_numpy, arrays))
    found = found if isinstance(found, tuple) else (found,)
    for ours, theirs in zip(found, run(model, *arrays), strict=True):
        assert ours.shape == theirs.shape
        scale = max(float(np.abs(theirs).max(initial=0)), 1e-6)
        assert np.abs(ours.numpy() - theirs).max(initial=0) <= tolerance * scale
    return module


def one_node(
    kind: str,
    shape: Any,
    weights: list[NDArray[Any] | None],
    opset: int = 18,
    outputs: int = 1,
    **attributes: Any,
) -> Any:
    """Make a model of one node; inputs for weights that are None are left out."""
    given = {f"w{i}": weight for i, weight in enumerate(weights)}
    names = [name if weight is not None else "" for name, weight in given.items()]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, ["x", *names], results, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
        [numpy_helper.from_array(w, name) for name, w in given.items() if w is not None],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def from_source(module: Any) -> nn.Module:
    """Return an instance of the class in a module's source, with the module's weights."""
    namespace: dict[str, Any] = {}
    exec(write_source(module), namespace)
    twin: nn.Module = namespace["Model"]().eval()
    twin.load_state_dict(module.state_dict())
    return twin
