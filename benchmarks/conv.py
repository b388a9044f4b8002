"""Times samepad's convolution beside what people use instead, in one process.

Every competitor of a layer runs in turn, round after round, so that a slow moment of the machine
hits all of them; a figure is the ratio of medians. The allocator's settings are fixed, because
glibc's mmap threshold alone moves such figures several-fold.

    python benchmarks/conv.py                   # the table
    python benchmarks/conv.py --json out.json   # and the figures
"""

import argparse
import json
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Keeps memory that has been freed, so that no call pays for fresh pages.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(2**26),
}


def with_fixed_allocator() -> None:
    """Start this program again with the settings, which are read when a process starts."""
    if any(os.environ.get(key) != value for key, value in ALLOCATOR.items()):
        os.environ.update(ALLOCATOR)
        os.execv(sys.executable, [sys.executable, *sys.argv])


if __name__ == "__main__":
    with_fixed_allocator()

import samepad
import torch
import torch.nn.functional as F
from samepad import _C
from torch import Tensor, nn
from tqdm import tqdm

Run = Callable[[], object]


@dataclass(frozen=True)
class Layer:
    """One convolution of layers.json."""

    batch: int
    channels: int
    size: tuple[int, int]
    out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: int
    groups: int

    def __str__(self) -> str:
        """Input size, output channels, kernel, stride and kind, as short as the table wants it."""
        kind = "depthwise" if self.groups == self.channels else "dense"
        shape = "x".join(map(str, (self.batch, self.channels, *self.size)))
        return f"{shape} -> {self.out}, {self.kernel[0]}x{self.kernel[1]}/{self.stride[0]} {kind}"


def read_layers() -> list[Layer]:
    """The layers beside this file."""
    rows = json.loads(Path(__file__).with_name("layers.json").read_text())["conv2d"]
    return [
        Layer(n, c, tuple(size), out, tuple(kernel), tuple(stride), dilation, groups)
        for n, c, size, out, kernel, stride, dilation, groups in rows
    ]


def interleaved(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Median seconds of each run, after a warm-up, all of them in turn for about `seconds`."""
    for run in runs.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    # A new order each round: what ran before leaves its memory in the caches.
    order = list(runs)
    shuffle = random.Random(0).shuffle
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[order[0]]) < 5:
        shuffle(order)
        for name in order:
            start = time.perf_counter()
            runs[name]()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class PadConv2d(nn.Conv2d):
    """What people write by hand: F.pad, then the convolution."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad as TensorFlow does, then convolve."""
        (top, bottom), (left, right) = samepad.same_padding(
            input.shape[-2:], self.kernel_size, self.stride, self.dilation
        )
        return super().forward(F.pad(input, (left, right, top, bottom)))


class PlannedConv2d(samepad.SamePadConv2d):
    """samepad's, by one given plan."""

    def __init__(self, plan: Any, *args: Any, **kwargs: Any) -> None:
        """Take the plan's name, then SamePadConv2d's arguments."""
        super().__init__(*args, **kwargs)
        self.plan = plan

    def forward(self, input: Tensor) -> Tensor:
        """Convolve by the plan."""
        with _C._force_plan(self.plan):
            return super().forward(input)


def competitors(layer: Layer, memory_format: torch.memory_format) -> tuple[Tensor, dict[str, Any]]:
    """An input and the modules to time on it, all with the same parameters."""
    arguments = (layer.channels, layer.out, layer.kernel, layer.stride)
    options: dict[str, Any] = {"dilation": layer.dilation, "groups": layer.groups}
    half: Any = tuple((k - 1) * layer.dilation // 2 for k in layer.kernel)
    modules: dict[str, Any] = {
        "sym": nn.Conv2d(*arguments, padding=half, **options),
        "pad+conv": PadConv2d(*arguments, **options),
        "samepad": samepad.SamePadConv2d(*arguments, **options),
        "crop": PlannedConv2d("crop", *arguments, **options),
        "pad": PlannedConv2d("pad", *arguments, **options),
    }
    for module in modules.values():
        module.load_state_dict(modules["sym"].state_dict())
        module.to(memory_format=memory_format)
    input = torch.randn(layer.batch, layer.channels, *layer.size)
    input = input.contiguous(memory_format=memory_format)
    expected = modules["pad+conv"](input)
    for name in ("samepad", "crop", "pad"):
        torch.testing.assert_close(modules[name](input), expected, rtol=1e-4, atol=1e-4)
    return input, modules


def inference(module: nn.Module, input: Tensor) -> Run:
    """One forward call without gradients."""

    def run() -> None:
        with torch.no_grad():
            module(input)

    return run


def training(module: nn.Module, input: Tensor) -> Run:
    """One forward and backward call, with gradients for the input too."""
    input = input.clone().requires_grad_()
    gradient = torch.randn_like(module(input))

    def run() -> None:
        module.zero_grad(set_to_none=True)
        input.grad = None
        module(input).backward(gradient)

    return run


def geometric_mean(values: Sequence[float]) -> float:
    """The mean for ratios."""
    return math.exp(statistics.fmean(map(math.log, values)))


def compare(
    layers: list[Layer],
    memory_format: torch.memory_format,
    step: Callable[..., Run],
    seconds: float,
) -> list[dict[str, float]]:
    """Median seconds of each competitor on each layer."""
    rows = []
    for layer in tqdm(layers, leave=False):
        torch.manual_seed(0)
        input, modules = competitors(layer, memory_format)
        runs = {name: step(module, input) for name, module in modules.items()}
        rows.append(interleaved(runs, seconds))
    return rows


def overhead(seconds: float) -> dict[str, float]:
    """Median seconds of one call of each module on a tiny input, where calls are all there is."""
    input = torch.randn(1, 4, 8, 8)
    modules = {
        "nn.Conv2d": nn.Conv2d(4, 4, 3, padding=1),
        "samepad, padding=1": samepad.SamePadConv2d(4, 4, 3, padding=1),
        "samepad, same": samepad.SamePadConv2d(4, 4, 3),
        "pad+conv, stride 2": PadConv2d(4, 4, 3, stride=2),
        "samepad, same, stride 2": samepad.SamePadConv2d(4, 4, 3, stride=2),
    }
    return interleaved({name: inference(m, input) for name, m in modules.items()}, seconds)


def print_table(title: str, layers: list[Layer], rows: list[dict[str, float]]) -> None:
    """Ratios to nn.Conv2d with symmetric padding, which pads less and so answers otherwise."""
    names = list(rows[0])
    print(f"\n### {title}\n\n| layer | sym, ms | {' | '.join(f'{n} / sym' for n in names[1:])} |")
    print("|---|" + "---:|" * len(names))
    ratios = [{name: row[name] / row["sym"] for name in names} for row in rows]
    for layer, row, ratio in zip(layers, rows, ratios, strict=True):
        cells = " | ".join(f"{ratio[name]:.2f}" for name in names[1:])
        print(f"| {layer} | {row['sym'] * 1e3:.3f} | {cells} |")
    means = " | ".join(f"{geometric_mean([r[name] for r in ratios]):.2f}" for name in names[1:])
    print(f"| geometric mean | | {means} |")
    worst = max(row["samepad"] / row["pad+conv"] for row in rows)
    print(f"\nWorst layer of samepad against pad+conv: {worst:.2f}")


def environment() -> dict[str, Any]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), ""
    )
    return {
        "cpu": model or platform.machine(),
        "threads": torch.get_num_threads(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "samepad": samepad.__version__,
        "python": platform.python_version(),
        "allocator": ALLOCATOR,
    }


def main() -> None:
    """Measure, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="per layer and table")
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    layers = read_layers()
    results: dict[str, Any] = {"environment": environment()}
    print(" · ".join(f"{key} {value}" for key, value in results["environment"].items()))

    calls = results["call"] = overhead(10 * options.seconds)
    print("\n### One call on 1x4x8x8\n\n| module | us | / nn.Conv2d |\n|---|---:|---:|")
    for name, value in calls.items():
        print(f"| {name} | {value * 1e6:.1f} | {value / calls['nn.Conv2d']:.2f} |")

    for format_name, memory_format in (
        ("NCHW", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    ):
        for step_name, step in (("inference", inference), ("training", training)):
            title = f"{step_name}, {format_name}"
            rows = compare(layers, memory_format, step, options.seconds)
            print_table(title, layers, rows)
            results[title] = {str(layer): row for layer, row in zip(layers, rows, strict=True)}

    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
