"""samepad.explain and samepad.backends: which plan runs, and the choice by measurement."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import samepad
import torch
from samepad import _C, backends
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode


@pytest.fixture
def _measuring() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small calls on many threads mostly wait for each other
    backends.reset()
    backends.benchmark = True
    yield
    backends.benchmark = False
    backends.reset()
    torch.set_num_threads(threads)


SAME = samepad.SamePadConv2d
#: A type that the kernels for dense convolutions do not support.
HALF = torch.float16
EXPLAINED: list[tuple[str, nn.Module, tuple[int, ...], str, int]] = [
    # Nothing is copied if PyTorch pads both sides equally, or if samepad's kernels run.
    ("symmetric", SAME(64, 64, 3, dtype=HALF), (2, 64, 24, 24), "equal on both sides", 0),
    # A few multiplications cost less than a call of PyTorch's convolution.
    ("dense", SAME(3, 8, 3), (2, 3, 9, 8), "estimated to be faster", 0),
    # A long kernel over one channel, as for audio.
    ("dense", samepad.SamePadConv1d(1, 8, 400, 160), (2, 1, 1601), "kernels that pad", 0),
    ("symmetric", SAME(4, 4, 3, 2, 1, groups=4), (2, 4, 9, 8), "PyTorch's to compute", 0),
    ("depthwise", SAME(4, 8, 3, 2, groups=4), (2, 4, 9, 8), "kernels for depthwise", 0),
    ("depthwise", samepad.SamePadConv1d(4, 4, 3, 2, groups=4), (4, 8), "kernels", 0),
    ("dense", SAME(3, 64, 3, 2), (2, 3, 8, 8), "kernels that pad on the way", 0),
    ("dense", samepad.SamePadConv1d(4, 6, 3, 2, groups=2), (4, 8), "kernels", 0),
    # The copy has one row and one column more than the input.
    ("pad", SAME(3, 64, 3, 2, dtype=HALF), (2, 3, 8, 8), "a copy costs less", 2 * 3 * 9 * 9 * 2),
    # Of the pads (1, 2), PyTorch's convolution adds (1, 1), so the copy adds only (0, 1).
    ("pad", SAME(3, 64, 5, 2, dtype=HALF), (2, 3, 8, 8), "a copy costs less", 2 * 3 * 9 * 9 * 2),
    ("pad", SAME(3, 4, 2, padding_mode="reflect"), (3, 8, 8), "no other plan", 3 * 9 * 9 * 4),
    # The output is copied if it is smaller than the input.
    ("crop", SAME(64, 1, 3, 2, dtype=HALF), (1, 64, 40, 40), "extra outputs", 20 * 20 * 2),
    ("pad", SAME(3, 8, 2).to("meta"), (1, 3, 8, 8), "every device", 3 * 9 * 9 * 4),
]
if torch.backends.cpu.get_cpu_capability() == "AVX512":
    bfloat16 = SAME(64, 64, 3, 2, dtype=torch.bfloat16)
    EXPLAINED.append(("dense", bfloat16, (1, 64, 40, 40), "kernels that pad on the way", 0))


@pytest.mark.parametrize(("plan", "layer", "size", "reason", "copied"), EXPLAINED)
def test_explains(plan: str, layer: Any, size: tuple[int, ...], reason: str, copied: int) -> None:
    input = torch.randn(size, device=layer.weight.device, dtype=layer.weight.dtype)
    with torch.no_grad():
        explained = samepad.explain(layer, input)
        with FlopCounterMode(display=False) as counter:
            output = layer(input)
    assert explained.plan == plan
    assert reason in explained.reason
    assert explained.bytes_copied == copied
    assert explained.output_size == output.shape
    assert explained.flops == counter.get_total_flops()
    if isinstance(layer.padding, str):
        expected = samepad.same_padding(
            size[-layer._dimensions :], layer.kernel_size, layer.stride, layer.dilation
        )
        assert explained.pads == expected
    assert str(explained).startswith(f"{plan}: ")


def test_products_of_matrices_count_as_slow_where_mkl_leaves_vectors_unused() -> None:
    intel = "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    layer = SAME(3, 8, 1, 1)
    works = _C._works(torch.zeros(2, 3, 9, 8), layer.weight, (1, 1), (1, 1), 1)
    (amounts,) = (amounts for plan, _, amounts, _ in works if plan == "symmetric")
    multiplications, without_fast_code = amounts[1], amounts[4]
    assert multiplications == 2 * 3 * 8 * 9 * 8
    assert without_fast_code == (multiplications if wide and not intel else 0)


def test_explanations_follow_what_is_forced() -> None:
    layer, input = SAME(4, 4, 3, 2, groups=4), torch.randn(1, 4, 8, 8)
    with _C._force_plan("crop"):
        assert samepad.explain(layer, input).plan == "crop"


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "samepad.convert makes one", lambda: samepad.explain(nn.Conv2d(1, 1, 1), 0)),  # type: ignore[arg-type]
        (TypeError, "'input' must be", lambda: samepad.explain(SAME(1, 1, 1), 0)),  # type: ignore[arg-type]
        (
            RuntimeError,
            "expected input to have 1 channels",
            lambda: samepad.explain(SAME(1, 1, 1), torch.ones(1, 2, 3, 3)),
        ),
        (
            RuntimeError,
            "expected an input with elements",
            lambda: samepad.explain(SAME(1, 1, 1), torch.ones(1, 1, 0, 3)),
        ),
        (TypeError, "benchmark must be bool, not int", lambda: setattr(backends, "benchmark", 1)),
    ],
)
def test_refuses(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()


def test_nothing_is_measured_unless_asked() -> None:
    assert backends.benchmark is False
    backends.reset()
    SAME(4, 4, 3, 2, groups=4)(torch.randn(1, 4, 8, 8))
    assert backends.measurements() == []


@pytest.mark.usefixtures("_measuring")
def test_plans_are_measured_once_and_the_fastest_runs() -> None:
    layer, input = SAME(8, 8, 3, 2, groups=8), torch.randn(2, 8, 20, 20)
    expected = nn.functional.conv2d(
        nn.functional.pad(input, (0, 1, 0, 1)), layer.weight, layer.bias, 2, groups=8
    )
    for _ in range(2):
        torch.testing.assert_close(layer(input), expected)
    (measurement,) = backends.measurements()
    assert set(measurement.seconds) == {"depthwise", "crop", "pad"}
    assert "[2, 8, 20, 20]" in measurement.convolution
    assert "training" in measurement.convolution
    assert "us" in str(measurement)
    times = list(measurement.seconds.values())
    assert times == sorted(times)
    explained = samepad.explain(layer, input)
    assert explained.plan == next(iter(measurement.seconds))
    assert "measured" in explained.reason
    with torch.no_grad():
        layer(input)
        layer(input[:1])
    assert len(backends.measurements()) == 3
    # If only one plan can run, nothing is measured.
    SAME(3, 4, 2, padding_mode="reflect")(torch.randn(1, 3, 8, 8))
    SAME(3, 4, 3, dtype=HALF)(torch.randn(1, 3, 8, 8, dtype=HALF))
    assert len(backends.measurements()) == 3
    backends.reset()
    assert backends.measurements() == []


@pytest.mark.usefixtures("_measuring")
def test_measuring_leaves_gradients_and_hooks_alone() -> None:
    layer, calls = SAME(4, 4, 3, 2, groups=4), []
    layer.weight.register_hook(lambda gradient: calls.append(gradient))
    input = torch.randn(1, 4, 8, 8, requires_grad=True)
    output = layer(input)
    assert layer.weight.grad is None
    assert input.grad is None
    assert calls == []
    output.sum().backward()
    assert len(calls) == 1


@pytest.mark.usefixtures("_measuring")
def test_transforms_and_modes_are_not_measured() -> None:
    layer = SAME(4, 4, 3, 2, groups=4)
    stacked = torch.randn(3, 2, 4, 8, 8)
    with torch.no_grad():
        torch.vmap(layer)(stacked)
    with FlopCounterMode(display=False):
        layer(stacked[0])
    assert backends.measurements() == []


@pytest.mark.usefixtures("_measuring")
def test_only_the_last_measurements_are_kept() -> None:
    weight = torch.ones(2, 1, 3)
    with torch.no_grad():
        for size in range(2, 2 + 1040):
            samepad.functional.conv1d(torch.ones(1, 2, 2 * size), weight, None, 2, groups=2)
    kept = backends.measurements()
    assert len(kept) == 1024
    assert "[1, 2, 2082]" in kept[-1].convolution


@pytest.mark.usefixtures("_measuring")
def test_threads_may_measure_at_once() -> None:
    layer = SAME(4, 4, 3, 2, groups=4)
    inputs = [torch.randn(1, 4, 8 + 2 * i, 8) for i in range(4)]
    results: list[tuple[int, Tensor]] = []

    def call() -> None:
        with torch.no_grad():
            results.extend((i, layer(input)) for i, input in enumerate(inputs))

    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    backends.benchmark = False
    assert len(backends.measurements()) == 4
    for i, result in results:
        torch.testing.assert_close(result, layer(inputs[i]))


@pytest.mark.usefixtures("_measuring")
def test_measures_unseen_by_what_watches_the_caller() -> None:
    layer = SAME(8, 8, 3, 2)
    seen: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        seen.append(tensor)
        return tensor

    input = torch.randn(2, 8, 12, 12, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, keep):
        layer(input)
    assert len(seen) == 2
    backends.reset()
    checkpoint(layer, input, use_reentrant=False).sum().backward()
    backends.reset()
    assert samepad.explain(layer, input).reason == "it was the fastest when it was measured"


@pytest.mark.usefixtures("_measuring")
def test_a_forced_plan_is_no_measurement() -> None:
    layer, input = SAME(64, 64, 4, 2), torch.randn(1, 64, 57, 57)
    with torch.no_grad(), _C._force_plan("depthwise"):  # which cannot run
        layer(input)
    assert backends.measurements() == []


FORK_WHILE_MEASURING = """
import os, signal, threading, warnings, torch, samepad
warnings.simplefilter("ignore")
torch.set_num_threads(1)
samepad.backends.benchmark = True
input, done = torch.randn(1, 8, 20, 20), threading.Event()

def measure():
    size = 1
    while not done.is_set():
        samepad.functional.conv2d(input[..., : size % 20 + 1], torch.randn(8, 8, 3, 3), stride=2)
        size += 1
        samepad.backends.reset_measurements()

thread = threading.Thread(target=measure)
thread.start()
failed = 0
for _ in range(40):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for a lock for ever dies of this
        samepad.functional.conv2d(input, torch.randn(8, 8, 5, 5), stride=2)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
done.set()
thread.join()
raise SystemExit(failed)
"""


def test_a_process_can_fork_while_plans_are_measured() -> None:
    subprocess.run([sys.executable, "-c", FORK_WHILE_MEASURING], check=True, timeout=900)
