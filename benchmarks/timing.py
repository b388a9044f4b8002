"""Timing: competitors in turn, in one process, so that a slow moment of the machine hits all."""

import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.tables import Settings, Table, Variant

Run = Callable[[], object]
#: A module, or what is called as one.
Module = Callable[[Tensor], Tensor]

#: What one measurement lasts at least, so that reading the clock is nothing of it.
MEASUREMENT = 1e-4


@dataclass(frozen=True)
class Case:
    """A row of a table: modules, and the input that they are timed on."""

    label: str
    input: Tensor
    modules: dict[str, Module]


def interleaved(
    runs: dict[str, Run], seconds: float, synchronize: Run = lambda: None
) -> dict[str, float]:
    """Median seconds of each run, after a warm-up, all of them in turn for about `seconds`."""

    def measure(run: Run, calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        synchronize()
        return (time.perf_counter() - start) / calls

    for run in runs.values():
        measure(run, 1)
    fastest = min(measure(run, 1) for run in runs.values())
    calls = max(1, round(MEASUREMENT / fastest))
    times: dict[str, list[float]] = {name: [] for name in runs}
    # A new order each round: what ran before leaves its memory in the caches.
    order = list(runs)
    shuffle = random.Random(0).shuffle
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[order[0]]) < 3:
        shuffle(order)
        for name in order:
            times[name].append(measure(runs[name], calls))
    return {name: statistics.median(values) for name, values in times.items()}


def training_step(module: nn.Module, input: Tensor) -> Run:
    """One forward and backward call, with gradients of the input too."""
    input = input.clone().requires_grad_()
    gradient = torch.randn_like(module(input))

    def run() -> None:
        module.zero_grad(set_to_none=True)
        input.grad = None
        module(input).backward(gradient)

    return run


def compare(
    title: str, variant: Variant, cases: Iterable[Case], settings: Settings, unit: str = "ms"
) -> Table:
    """The table of these cases, whose figures are seconds of a call, or of a training step."""
    step = training_step if variant.training else partial
    synchronize = torch.cuda.synchronize if variant.device == "cuda" else lambda: None
    rows = {}
    with torch.set_grad_enabled(variant.training):
        for case in tqdm(cases, desc=title, leave=False):
            runs: dict[str, Run] = {
                name: step(module, case.input) for name, module in case.modules.items()
            }
            rows[case.label] = interleaved(runs, settings.seconds, synchronize)
    return Table(title, rows, unit)
