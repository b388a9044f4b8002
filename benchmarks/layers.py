"""The layers of layers.json and networks.json."""

import json
import math
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Pair = tuple[int, int]

#: Written by benchmarks/harvest.py.
NETWORKS = Path(__file__).with_name("networks.json")


def same_pads(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """The padding before and after, as TensorFlow documents it and people write it by hand."""
    extent = (kernel - 1) * dilation + 1
    # With sizes that a graph leaves open this form is the best for what is computed from it.
    total = (size - 1) // stride * stride + extent - size
    if extent < stride:
        total = torch.sym_max(total, 0)  # type: ignore[no-untyped-call]
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Layer:
    """One convolution."""

    batch: int
    channels: int
    size: Pair
    out: int
    kernel: Pair
    stride: Pair
    dilation: int
    groups: int

    def __str__(self) -> str:
        """Input size, output channels, kernel, stride and kind, as short as the table wants it."""
        shape = "x".join(map(str, self.input_shape))
        down, across = self.stride
        stride = f"{down}" if down == across else f"{down},{across}"
        dilation = f" dilated {self.dilation}" if self.dilation > 1 else ""
        if self.depthwise:
            kind = "depthwise"
        elif self.groups > 1:
            kind = f"{self.groups} groups"
        else:
            kind = "dense"
        return f"{shape} -> {self.out}, {self.kernel[0]}x{self.kernel[1]}/{stride}{dilation} {kind}"

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved alone, and there are several."""
        return self.groups == self.channels > 1

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """In PyTorch's order."""
        return self.batch, self.channels, *self.size

    @property
    def arguments(self) -> tuple[int, int, Pair, Pair]:
        """What nn.Conv2d takes first."""
        return self.channels, self.out, self.kernel, self.stride

    @property
    def options(self) -> dict[str, Any]:
        """What nn.Conv2d takes by name."""
        return {"dilation": self.dilation, "groups": self.groups}

    @property
    def same_pads(self) -> list[Pair]:
        """Of the height and the width."""
        dilation = (self.dilation, self.dilation)
        sizes = zip(self.size, self.kernel, self.stride, dilation, strict=True)
        return [same_pads(*of_one) for of_one in sizes]

    @property
    def symmetric_padding(self) -> Pair:
        """What nn.Conv2d is given where SAME is wanted and not to be had."""
        height, width = ((k - 1) * self.dilation // 2 for k in self.kernel)
        return height, width

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """In PyTorch's order."""
        (height, width), (down, across) = self.size, self.stride
        return self.batch, self.out, -(-height // down), -(-width // across)

    @property
    def outputs(self) -> int:
        """Elements of the output."""
        return math.prod(self.output_shape)

    @property
    def elements(self) -> int:
        """Of the input, the weight and the output: what has to be moved."""
        return math.prod(self.input_shape) + self.out * self._products + self.outputs

    @property
    def flops(self) -> int:
        """Two for each product, those with padding too."""
        return 2 * self.outputs * self._products

    @property
    def _products(self) -> int:
        """Of one output element."""
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]


def read_layers(batches: Container[int] = (1, 8)) -> list[Layer]:
    """The layers of these batches; the file has no others."""
    rows = json.loads(Path(__file__).with_name("layers.json").read_text())["conv2d"]
    return [
        Layer(n, c, tuple(size), out, tuple(kernel), tuple(stride), dilation, groups)
        for n, c, size, out, kernel, stride, dilation, groups in rows
        if n in batches
    ]


#: Kind ("convolution", "transposed", "max pool", "average pool"), channels, size, filters, kernel,
#: stride, dilation, groups.
Published = tuple[str, int, tuple[int, ...], int, tuple[int, ...], tuple[int, ...], int, int]


def read_networks() -> list[Published]:
    """Every distinct layer that benchmarks/harvest.py has found in published networks."""
    networks = json.loads(NETWORKS.read_text())
    distinct = {
        (kind, channels, tuple(size), out, tuple(kernel), tuple(stride), dilation, groups)
        for rows in networks.values()
        for kind, channels, size, out, kernel, stride, dilation, groups, _ in rows
    }
    return sorted(distinct)
