"""What other libraries run: convolutions with the weights of a torch layer, and ONNX models."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from benchmarks.competitors import Maker
from benchmarks.layers import Layer
from benchmarks.tables import Variant

assert keras.backend.backend() == "torch", "KERAS_BACKEND has to be set before Keras is imported"


class KerasConv:
    """Keras's layer on its torch backend, in the layout given."""

    def __init__(self, layer: Layer, sym: nn.Conv2d, variant: Variant) -> None:
        """Make the layer and give it the weights."""
        self.channels_last = variant.layout == "channels_last"
        if layer.depthwise:
            make, kernel = keras.layers.DepthwiseConv2D, sym.weight.permute(2, 3, 0, 1)
        else:
            make = functools.partial(keras.layers.Conv2D, layer.out)
            kernel = sym.weight.permute(2, 3, 1, 0)
        order = "channels_last" if self.channels_last else "channels_first"
        self.layer = make(layer.kernel, layer.stride, padding="same", data_format=order)
        channels = (layer.channels,)
        shape = (*layer.size, *channels) if self.channels_last else (*channels, *layer.size)
        self.layer.build((None, *shape))
        assert sym.bias is not None
        self.layer.set_weights([kernel.detach().numpy(), sym.bias.detach().numpy()])

    def __call__(self, input: Tensor) -> Tensor:
        """Convolve; moving the channels is a view."""
        if self.channels_last:
            input = input.permute(0, 2, 3, 1)
        output: Tensor = self.layer(input)
        return output.permute(0, 3, 1, 2) if self.channels_last else output


class OnnxRuntime:
    """A model with the input "x" and the output "y", both bound ahead of time, so not copied.

    Its threads do not spin between runs, which would slow down the other competitors.
    """

    def __init__(self, model: bytes, output_shape: Sequence[int]) -> None:
        """Load the model, whose output has this shape."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.binding = self.session.io_binding()
        self.output = torch.empty(*output_shape)
        self._bind(self.binding.bind_output, "y", self.output)
        self.bound: Tensor | None = None

    def __call__(self, input: Tensor) -> Tensor:
        """Run the model."""
        if self.bound is not input:
            self._bind(self.binding.bind_input, "x", input)
            self.bound = input
        self.session.run_with_iobinding(self.binding)
        return self.output

    @staticmethod
    def _bind(bind: Any, name: str, tensor: Tensor) -> None:
        bind(name, "cpu", 0, np.float32, list(tensor.shape), tensor.data_ptr())


class OpenVino:
    """A model of one input and one output, computed in float32 even where the CPU has bfloat16."""

    def __init__(self, model: bytes) -> None:
        """Compile the ONNX model for a single request at a time."""
        import openvino  # here, for the other sections do not need it

        options = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        core = openvino.Core()
        self.request = core.compile_model(
            core.read_model(model), "CPU", options
        ).create_infer_request()
        self.wrap = openvino.Tensor
        self.bound: Tensor | None = None

    def __call__(self, input: Tensor) -> Tensor:
        """Run the model; neither the input nor the output is copied."""
        if self.bound is not input:
            self.request.set_input_tensor(self.wrap(input.numpy(), shared_memory=True))
            self.bound = input
        self.request.infer()
        return torch.from_numpy(self.request.get_output_tensor().data)


def _onnx_conv(layer: Layer, sym: nn.Conv2d, variant: Variant) -> OnnxRuntime:
    """A model of one Conv node; its weights are constants, so that the runtime may pack them."""
    assert variant.layout == "NCHW"
    pads = zip(*layer.same_pads, strict=True)  # all before, then all after
    node = helper.make_node(
        "Conv",
        ["x", "weight", "bias"],
        ["y"],
        group=layer.groups,
        strides=layer.stride,
        dilations=[layer.dilation] * 2,
        pads=list(itertools.chain(*pads)),
    )
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(p.detach().numpy(), n) for n, p in sym.named_parameters()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxRuntime(model.SerializeToString(), layer.output_shape)


def makers(variant: Variant) -> dict[str, Maker]:
    """Those that run this variant: in inference, in float32; ONNX Runtime knows NCHW alone."""
    if variant.training or variant.dtype != torch.float32 or variant.device != "cpu":
        return {}
    found: dict[str, Maker] = {"keras": KerasConv}
    if variant.layout == "NCHW":
        found["onnxruntime"] = _onnx_conv
    return found
