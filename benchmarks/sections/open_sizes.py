"""Compiling and exporting nets whose sizes are left open, beside the same nets padded by hand."""

import os
import random
import signal
from collections.abc import Callable
from typing import Any

import samepad
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.checks import check
from benchmarks.competitors import PadConv2d
from benchmarks.sections.pools import CropConvTranspose2d, PadAvgPool2d, PadMaxPool2d
from benchmarks.tables import Settings, Table

CHANNELS = 8
#: By kind: what is written by hand, and samepad's.
_CONVS = PadConv2d, samepad.SamePadConv2d
_KINDS: dict[str, tuple[Any, Any]] = {
    "conv": _CONVS,
    "depthwise": _CONVS,
    "max": (PadMaxPool2d, samepad.SamePadMaxPool2d),
    "average": (PadAvgPool2d, samepad.SamePadAvgPool2d),
    "transposed": (CropConvTranspose2d, samepad.SamePadConvTranspose2d),
}
#: Kind, kernel and stride.
Drawn = tuple[str, int, int]


def draw(depth: int, generator: random.Random) -> list[Drawn]:
    """So many layers, of which four at most halve their input and others double it again."""
    layers: list[Drawn] = []
    halved = 0
    for _ in range(depth):
        kind = generator.choice([*_KINDS, "conv"])
        if kind == "transposed" and not halved:
            kind = "conv"
        stride = 2 if kind == "transposed" else generator.choice([1, 2, 2] if halved < 4 else [1])
        # 1 and sometimes 2 are smaller than the stride; by hand a transposed one has nothing there.
        kernel = generator.choice([2, 3, 4] if kind == "transposed" else [1, 2, 3, 3, 5])
        halved += {"transposed": -1}.get(kind, stride - 1)
        layers.append((kind, kernel, stride))
    return layers


def build(layers: list[Drawn], ours: bool) -> nn.Module:
    """The net; with the same parameters whichever of the two it is."""
    torch.manual_seed(0)
    net: list[nn.Module] = []
    for kind, kernel, stride in layers:
        make = _KINDS[kind][ours]
        if kind in ("max", "average"):
            net.append(make((kernel, kernel), (stride, stride)))
        else:
            groups = {"groups": CHANNELS} if kind == "depthwise" else {}
            net += [
                make(CHANNELS, CHANNELS, kernel, stride, **groups),
                nn.BatchNorm2d(CHANNELS),
                nn.ReLU6(),
            ]
    return nn.Sequential(*net, nn.AdaptiveAvgPool2d(1)).eval()


_INPUT, _ANOTHER = (torch.rand(2, CHANNELS, *size) for size in ((101, 143), (96, 128)))
Module = Callable[[Tensor], Tensor]


def _compiled(net: nn.Module) -> Module:
    torch._dynamo.reset()
    return torch.compile(net, dynamic=True)


def _compiled_again(net: nn.Module) -> Module:
    """By default the first size is taken for the only one, and the second opens it."""
    torch._dynamo.reset()
    compiled = torch.compile(net)
    compiled(_ANOTHER)
    return compiled


def _exported(net: nn.Module) -> Module:
    auto = torch.export.Dim.AUTO
    sizes = ({2: auto, 3: auto},)
    # Within what is timed: exported when it is called.
    return lambda x: torch.export.export(net, (x,), dynamic_shapes=sizes).module()(x)


#: By title: what makes a module that does the work at its first call.
WAYS: dict[str, Callable[[nn.Module], Module]] = {
    "torch.compile, dynamic": _compiled,
    "torch.compile, second size": _compiled_again,
    "torch.export": _exported,
}


def _cpu_seconds() -> float:
    """Of this process and of the compilers that it has run."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


#: CPU seconds after which a net is given up; it then counts as if it had taken as long. PyTorch's
#: compiler spends many minutes on simplifying the indices of some nets that pad by hand.
_LIMIT = 180.0


class _GivenUp(BaseException):
    """Raised from a signal; no part of PyTorch's compiler catches it."""


def _give_up(*_: object) -> None:
    raise _GivenUp


def _measure(layers: list[Drawn], way: Callable[[nn.Module], Module]) -> dict[str, float]:
    """CPU seconds to the first answer."""
    seconds, answers = {}, {}
    for name, ours in (("by hand", False), ("samepad", True)):
        module = way(build(layers, ours))
        start = _cpu_seconds()
        signal.setitimer(signal.ITIMER_PROF, _LIMIT)
        try:
            answers[name] = module(_INPUT)
        except _GivenUp:
            pass
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        seconds[name] = _cpu_seconds() - start
    if len(answers) == 2:
        check(f"samepad in {layers}", answers["samepad"], answers["by hand"].double())
    return seconds


def open_sizes(settings: Settings) -> list[Table]:
    """Nets of 2 to 8 layers, drawn by chance but the same each time."""
    signal.signal(signal.SIGPROF, _give_up)
    generator = random.Random(0)
    nets = [draw(depth, generator) for depth in ((2, 4) if settings.quick else range(2, 9))]
    caches = {"force_disable_caches": True, "compile_threads": 1}
    tables = []
    with torch.no_grad(), torch._inductor.config.patch(caches):
        for title, way in WAYS.items():
            _measure([("conv", 3, 2)], way)  # what is done once is not the first net's
            rows = {
                f"{len(net)}: " + ", ".join(f"{kind} {k}/{s}" for kind, k, s in net): _measure(
                    net, way
                )
                for net in tqdm(nets, desc=title, leave=False)
            }
            tables.append(Table(f"open sizes, {title}", rows, "s"))
    return tables
