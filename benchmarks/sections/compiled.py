"""Compiled by Inductor: samepad's layers beside symmetric ones."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch._inductor import metrics

from benchmarks.checks import checked_case
from benchmarks.competitors import MODULES
from benchmarks.layers import Layer, read_layers
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.timing import Case, compare

NAMES = ("sym", "pad+conv", "samepad")
NET = [
    Layer(8, 3, (224, 224), 32, (3, 3), (2, 2), 1, 1),
    Layer(8, 32, (112, 112), 32, (3, 3), (2, 2), 1, 32),
    Layer(8, 32, (56, 56), 64, (3, 3), (2, 2), 1, 1),
]


def _net(name: str, layers: Iterable[Layer]) -> nn.Sequential:
    """ReLUs and convolutions in turn: what comes before a convolution could write its padding."""
    return nn.Sequential(*(m for layer in layers for m in (nn.ReLU(), MODULES[name](layer))))


def _case(label: str, layers: list[Layer], variant: Variant) -> Case:
    torch.manual_seed(0)
    nets: dict[str, nn.Module] = {name: _net(name, layers) for name in NAMES}
    for net in nets.values():
        net.load_state_dict(nets["sym"].state_dict())
        variant.place(net)
    torch._dynamo.reset()
    compiled: dict[str, Any] = {
        name: torch.compile(net, fullgraph=True, dynamic=False) for name, net in nets.items()
    }
    input = variant.place(torch.randn(layers[0].input_shape))
    return checked_case(label, input, compiled, nets["pad+conv"], nets["sym"], variant)


def _cases(variant: Variant, settings: Settings) -> Iterable[Case]:
    yield _case("net of three convolutions", NET, variant)
    if not settings.quick:
        for layer in read_layers((8,))[::3]:  # a stem, a depthwise and a dense one
            yield _case(f"ReLU, {layer}", [layer], variant)


def _kernels(layer: Layer) -> dict[str, float]:
    """How many kernels Inductor makes of a ReLU and the layer."""
    numbers = {}
    for name in NAMES:
        torch._dynamo.reset()
        metrics.reset()
        with torch.no_grad():
            torch.compile(_net(name, [layer]), fullgraph=True)(torch.randn(layer.input_shape))
        numbers[name] = float(metrics.generated_kernel_count)
    return numbers


def compiled(settings: Settings) -> list[Table]:
    """The times, and in how many kernels: no more with a pad where the ReLU writes it."""
    layers = read_layers((1,))[: 2 if settings.quick else None]
    return [
        *(
            compare(f"compiled, {variant}", variant, _cases(variant, settings), settings)
            for variant in VARIANTS
        ),
        Table(
            "kernels that Inductor makes of ReLU and layer",
            {str(layer): _kernels(layer) for layer in layers},
            "kernels",
        ),
    ]
