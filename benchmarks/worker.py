"""A process of its own for what would disturb the others, or needs other settings.

`python -m benchmarks.worker NAME JSON` is started by benchmarks/sections/processes.py and prints
its tables as JSON.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack

from benchmarks.competitors import Maker, layer_cases
from benchmarks.layers import Layer, read_layers
from benchmarks.tables import Settings, Table, Variant
from benchmarks.timing import Module, compare


def _tensorflow_maker() -> Maker:
    """TensorFlow's convolution, which on CPU knows channels_last alone."""
    import tensorflow as tf  # here, for it is not to be loaded in the other process

    tf.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def make(layer: Layer, sym: nn.Conv2d, _: Variant) -> Module:
        strides = [1, *layer.stride, 1]
        depthwise = layer.depthwise
        convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        assert sym.bias is not None
        weight = tf.constant(sym.weight.permute(order).detach().numpy())
        bias = tf.constant(sym.bias.detach().numpy())

        run = tf.function(
            lambda input: tf.nn.bias_add(convolve(input, weight, strides, "SAME"), bias)
        )

        def module(input: Tensor) -> Tensor:
            output = run(tf.experimental.dlpack.from_dlpack(input.permute(0, 2, 3, 1).__dlpack__()))
            return from_dlpack(tf.experimental.dlpack.to_dlpack(output)).permute(0, 3, 1, 2)

        return module

    return make


def tensorflow(settings: Settings) -> Table:
    """TensorFlow on the layers."""
    variant = Variant("channels_last")
    cases = layer_cases(
        read_layers(settings.batches), variant, ("sym",), {"tensorflow": _tensorflow_maker()}
    )
    return compare(f"TensorFlow, {variant}", variant, cases, settings)


def default_allocator(settings: Settings) -> Table:
    """samepad and timm, as this process's allocator has it."""
    variant = Variant()
    cases = layer_cases(
        read_layers(settings.batches), variant, ("sym", "pad+conv", "samepad", "timm")
    )
    return compare(f"{variant}, default allocator", variant, cases, settings)


WORKERS: dict[str, Callable[[Settings], Table]] = {
    "tensorflow": tensorflow,
    "default allocator": default_allocator,
}


def main() -> None:
    """Do what the command line asks for."""
    arguments = json.loads(sys.argv[2])
    torch.set_num_threads(arguments["threads"])
    table = WORKERS[sys.argv[1]](Settings(**arguments["settings"]))
    print(json.dumps([asdict(table)]))


if __name__ == "__main__":
    main()
