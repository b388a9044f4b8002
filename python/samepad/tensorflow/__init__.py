"""TensorFlow's files in PyTorch, with equal outputs: SavedModels, frozen graphs and .tflite files.

    module = samepad.tensorflow.load("model.tflite")

The file is converted to ONNX by the package tf2onnx, which needs TensorFlow, and the ONNX model to
PyTorch by samepad.onnx. Neither package is needed to run the resulting module.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import fx

__all__ = ["load"]


def load(
    path: str | Path,
    signature: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> fx.GraphModule:
    """Convert a file of TensorFlow to a PyTorch module that computes the same.

    tf2onnx runs in a process of its own. Operators of TensorFlow that use files, the network or
    Python are refused before TensorFlow runs any part of the file.

    Args:
        path: A .tflite file, the folder of a SavedModel, or a .pb file with a frozen graph.
        signature: Of a SavedModel: the name of the signature to convert. By default it is
            "serving_default", or the only one.
        inputs: Of a frozen graph: the names of the tensors to take as inputs, such as "x:0". By
            default these are the results of all placeholders without a default value.
        outputs: Of a frozen graph: the names of the tensors to return. By default these are the
            results that no operator takes.

    Returns:
        The module, as samepad.onnx.load makes it. It takes and returns tensors of the same shapes
        as in TensorFlow: images are (N, H, W, C). Several outputs are returned as a tuple. A
        quantized model takes and returns the same integers as in TensorFlow.

    Raises:
        ImportError: tf2onnx, onnx or TensorFlow is not installed.
        ValueError: There is no such file; it is none of the three kinds, or is broken; an argument
            does not fit it; it has operators that use files, the network or Python; tf2onnx cannot
            convert it; or samepad.onnx.load refuses what tf2onnx makes of it.
    """
    from samepad import onnx
    from samepad.tensorflow.converting import export

    return onnx.load(export(Path(path), signature, inputs, outputs).proto)
