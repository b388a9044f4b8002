"""Whole nets in inference: as they are, optimized, compiled, and run by other libraries."""

import copy
import ctypes
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import samepad
import torch
from torch import Tensor, nn

from benchmarks.checks import check
from benchmarks.nets import NETS, Net
from benchmarks.runtimes import OnnxRuntime, OpenVino
from benchmarks.sections.net import symmetric
from benchmarks.tables import Settings, Table, Variant
from benchmarks.timing import Case, Module, compare

#: Makes a competitor from a net with samepad's layers and an input.
Maker = Callable[[nn.Module, Tensor], Module]


def _exported(net: nn.Module, images: Tensor) -> bytes:
    """The ONNX model, for inputs of this size."""
    file: Any = io.BytesIO()
    torch.onnx.export(
        net, (images,), file, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"]
    )
    return file.getvalue()  # type: ignore[no-any-return]


def _compiled(net: nn.Module, images: Tensor, freezing: bool = False) -> Module:
    compiled: Module = torch.compile(
        copy.deepcopy(net), dynamic=False, options={"freezing": freezing}
    )
    compiled(images)
    return compiled


def _onnxruntime(net: nn.Module, images: Tensor) -> Module:
    return OnnxRuntime(_exported(net, images), net(images).shape)


#: By the competitor's name; `samepad` is the net after optimize_for_inference.
MAKERS: dict[str, Maker] = {
    "sym": lambda net, _: symmetric(net),
    "convert": lambda net, _: copy.deepcopy(net),
    "fuse_conv_bn": lambda net, _: samepad.fuse_conv_bn(net),
    "samepad": lambda net, images: samepad.optimize_for_inference(net, images),
    "compile": _compiled,
    "compile, freezing": lambda net, images: _compiled(net, images, freezing=True),
    "onnxruntime": _onnxruntime,
    "openvino": lambda net, images: OpenVino(_exported(net, images)),
}

#: Those that --quick measures, and how many of the nets.
_QUICK = ("sym", "convert", "samepad", "onnxruntime", "openvino")
_QUICK_NETS = 2


def _resident(key: str) -> int:
    """Bytes that Linux counts for this process: VmRSS now, or VmHWM at most since the last reset.

    Before, memory that has been freed is given back, which the allocator would keep.
    """
    if key == "VmRSS":
        ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def _with_memory(make: Maker, net: nn.Module, images: Tensor) -> tuple[Module, float]:
    """Make a module, and return also by how many bytes the process grows until a call's peak."""
    before = _resident("VmRSS")
    module = make(net, images)
    _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    module(images)
    return module, float(max(_resident("VmHWM") - before, 1))


def _case(net: Net, batch: int, makers: dict[str, Maker], memory: dict[str, float]) -> Case:
    """A net's competitors, checked; notes the memory that each takes."""
    made = net.made()
    images = torch.randn(batch, *net.size, generator=torch.Generator().manual_seed(0))
    modules: dict[str, Module] = {}
    for name, make in makers.items():
        modules[name], memory[name] = _with_memory(make, made, images)
    for name, module in modules.items():
        expected = symmetric(made) if name == "sym" else copy.deepcopy(made)
        check(f"{name} of {net.name}", module(images), expected.double()(images.double()))
    return Case(net.name, images, modules)


def nets(settings: Settings) -> list[Table]:
    """Times and memory of every net, for batches of 1 and 8."""
    settings = replace(settings, seconds=5 * settings.seconds)
    chosen = NETS[:_QUICK_NETS] if settings.quick else NETS
    makers = {name: MAKERS[name] for name in _QUICK} if settings.quick else MAKERS
    tables = []
    for batch in settings.batches:
        title = f"nets, batch {batch}"
        memory: dict[str, dict[str, float]] = {net.name: {} for net in chosen}
        # One after the other, so that one at a time is in memory.
        cases = (_case(net, batch, makers, memory[net.name]) for net in chosen)
        tables.append(compare(title, Variant(), cases, settings))
        tables.append(Table(f"{title}, memory", memory, "MB", note=_MEMORY))
    return tables


_MEMORY = (
    "By how much the process grows from before a competitor is made to the peak of a call: "
    "weights, packed weights, results of layers; for those that compile, what compiling leaves."
)
