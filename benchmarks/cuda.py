"""Times samepad's plans on a CUDA device: `benchmarks/cuda.sh` runs this.

It needs nothing but PyTorch, samepad and tqdm, because machines with a GPU are often bare and
without a network.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import samepad
import torch
from samepad import _C
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.layers import Layer, read_layers
from benchmarks.tables import VARIANTS, Variant
from benchmarks.timing import interleaved, training_step

#: PyTorch's layer with symmetric padding, samepad's own choice, and the plans to choose from.
COMPETITORS = ("sym", "samepad", "crop", "pad")
#: How the layers are called. A graph is replayed, so that the time of the calls does not count.
WAYS = ("eager", "CUDA graph", "compiled")
#: Layers that are also compiled, which takes long: a stem, a depthwise and a dense one.
COMPILED = 3
#: Calls between two readings of the clock.
CALLS = 20
TOLERANCE = {torch.float32: 1e-2, torch.bfloat16: 1e-1}


def forced(name: str) -> AbstractContextManager[Any]:
    """Force the plan of this name, if it is one."""
    return _C._force_plan(name) if name in ("crop", "pad") else nullcontext()


def make(name: str, layer: Layer, variant: Variant) -> nn.Module:
    """Make the competitor's module, with the same parameters for all competitors."""
    torch.manual_seed(0)
    if name == "sym":
        module: nn.Module = nn.Conv2d(
            *layer.arguments, padding=layer.symmetric_padding, **layer.options
        )
    else:
        module = samepad.SamePadConv2d(*layer.arguments, **layer.options)
    return variant.place(module)


def check(name: str, module: nn.Module, layer: Layer, input: Tensor) -> None:
    """Compare the output with the one that is padded by hand and computed in float64 on the CPU."""
    if name == "sym":
        return
    (top, bottom), (left, right) = layer.same_pads
    padded = nn.functional.pad(input.double().cpu(), (left, right, top, bottom))
    weight, bias = (tensor.detach().double().cpu() for tensor in module.parameters())
    expected = nn.functional.conv2d(padded, weight, bias, layer.stride, **layer.options)
    with torch.no_grad(), forced(name):
        difference = (module(input).double().cpu() - expected).abs().max()
    assert difference <= TOLERANCE[input.dtype] * expected.abs().max(), (name, str(layer))


def graphed(run: Callable[[], object]) -> Callable[[], object]:
    """Record `run` in a CUDA graph, and return what replays it."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def make_run(
    name: str, module: nn.Module, input: Tensor, training: bool, way: str
) -> Callable[[], object]:
    """Return what is timed: `CALLS` calls, or training steps."""
    called: Any = module
    if way == "compiled":
        torch._dynamo.reset()
        called = torch.compile(module, fullgraph=True, dynamic=False)
    step = training_step(called, input) if training else lambda: called(input)

    def once() -> None:
        with forced(name):
            step()

    with torch.set_grad_enabled(training):
        once()
        single = graphed(once) if way == "CUDA graph" else once

    def many() -> None:
        with torch.set_grad_enabled(training):
            for _ in range(CALLS):
                single()

    return many


def measure(layer: Layer, variant: Variant, way: str, seconds: float) -> dict[str, float]:
    """Return the seconds of one call of each competitor."""
    # The plan of a compiled layer is chosen when its graph is made, or by its operator.
    names = COMPETITORS if way != "compiled" else ("sym", "samepad")
    input = variant.place(torch.randn(layer.input_shape))
    runs = {}
    for name in names:
        module = make(name, layer, variant)
        check(name, module, layer, input)
        runs[name] = make_run(name, module, input, variant.training, way)
    synchronize = torch.cuda.synchronize if variant.device == "cuda" else lambda: None
    return {name: time / CALLS for name, time in interleaved(runs, seconds, synchronize).items()}


def tables(
    device: str, within: float, layers: list[Layer]
) -> Iterable[tuple[str, dict[str, dict[str, float]]]]:
    """Yield a title and the layers' times, until the time is up."""
    end = time.monotonic() + within
    ways = WAYS if device == "cuda" else ("eager", "compiled")
    planned = [
        (way, replace(variant, dtype=dtype, device=device))
        for way in ways
        for dtype in (torch.float32, torch.bfloat16)
        for variant in VARIANTS
    ]
    for number, (way, variant) in enumerate(tqdm(planned)):
        chosen = layers[:COMPILED] if way == "compiled" else layers
        # What is left is shared among what is left; making and checking a layer takes time too.
        share = (end - time.monotonic()) / (len(planned) - number) / len(chosen)
        rows: dict[str, dict[str, float]] = {}
        for layer in chosen:
            if time.monotonic() < end:
                rows[str(layer)] = measure(layer, variant, way, share / 4)
        if rows:
            yield f"{way}, {variant}", rows


def markdown(title: str, rows: dict[str, dict[str, float]]) -> str:
    """Write one table: times of sym, ratios of the others, and their geometric means."""
    names = [name for name in next(iter(rows.values())) if name != "sym"]
    lines = [
        f"### {title}\n",
        "| | sym, us |" + "".join(f" {name} / sym |" for name in names),
        "|---|---:|" + "---:|" * len(names),
    ]
    for label, times in rows.items():
        ratios = "".join(f" {times[name] / times['sym']:.2f} |" for name in names)
        lines.append(f"| {label} | {times['sym'] * 1e6:.1f} |{ratios}")
    means = (
        math.exp(statistics.mean(math.log(times[name] / times["sym"]) for times in rows.values()))
        for name in names
    )
    lines.append("| geometric mean | |" + "".join(f" {mean:.2f} |" for mean in means))
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and write the files after each table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--within", type=float, default=300, help="seconds in all (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("build/cuda"), help="without .json")
    options = parser.parse_args()
    described = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "CPU: a dry run",
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "samepad": samepad.__version__,
        "python": platform.python_version(),
    }
    layers = read_layers((8,))
    written: dict[str, Any] = {"environment": described, "tables": {}}
    text = " · ".join(f"{key} {value}" for key, value in described.items()) + "\n\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for title, rows in tables(options.device, options.within, layers):
        written["tables"][title] = rows
        text += markdown(title, rows) + "\n"
        options.output.with_suffix(".json").write_text(json.dumps(written, indent=1))
        options.output.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
