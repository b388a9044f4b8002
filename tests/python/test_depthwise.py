"""The depthwise kernels: every layout, type, stride and instruction set, with gradients.

The reference is PyTorch's convolution of an explicitly padded input in float64.
"""

import os
import random
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import samepad.functional
import torch
import torch.nn.functional as F
from samepad import _C
from torch import Tensor

#: Largest error, as a part of the largest value of the result.
BOUNDS = {
    torch.float32: 2e-6,
    torch.float64: 1e-14,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-11,
}


@dataclass(frozen=True)
class Case:
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    batch: int
    channels: int
    multiplier: int
    dtype: torch.dtype
    layout: str
    bias: bool

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        if not isinstance(self.padding, str):
            return self.padding  # type: ignore[no-any-return]
        return samepad.same_padding(
            self.size,
            self.kernel,
            self.stride,
            self.dilation,
            self.padding,  # type: ignore[arg-type]
        )

    def tensors(self) -> list[Tensor]:
        torch.manual_seed(0)
        filters = self.channels * self.multiplier
        shapes = [(self.batch, self.channels, *self.size), (filters, 1, *self.kernel)]
        tensors = [torch.randn(shape, dtype=self.dtype) for shape in shapes]
        if self.layout == "channels_last":
            tensors[0] = tensors[0].to(memory_format=torch.channels_last)
        if self.layout == "transposed":
            tensors[0] = tensors[0].transpose(1, -1).contiguous().transpose(1, -1)
        if self.bias:
            tensors.append(torch.randn(filters, dtype=self.dtype))
        return [tensor.requires_grad_() for tensor in tensors]


def draw(rng: random.Random) -> Case | None:
    d = rng.choice([1, 2, 2, 2])
    most = rng.choice([6, 20, 70])

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randint(low, high) for _ in range(d))

    kernel = each(1, 6)
    layout = rng.choice(["contiguous", "transposed", *["channels_last"] * (d == 2)])
    case = Case(
        each(1, most),
        kernel,
        each(1, 4),
        rng.choice([(1,) * d, each(1, 3)]),
        rng.choice(["same", "same_lower", tuple((rng.randint(-1, k), k // 2) for k in kernel)]),
        rng.randint(1, 3),
        # Fewer and more than fill a vector, or two, of any instruction set.
        rng.choice([1, 2, 3, 8, 16, 17, 40, 70]),
        1 if layout == "channels_last" else rng.choice([1, 1, 2, 3]),
        rng.choice([torch.float32, *BOUNDS]),
        layout,
        rng.random() < 0.5,
    )
    fits = all(
        n + sum(pair) > (k - 1) * r
        for n, pair, k, r in zip(case.size, case.pairs, case.kernel, case.dilation, strict=True)
    )
    # Equal amounts are left to PyTorch, which rounds at other times.
    ours = isinstance(case.padding, str) or any(before != after for before, after in case.pairs)
    return case if fits and ours else None


def run(case: Case, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """The output, and the gradients of all tensors."""
    convolution = getattr(samepad.functional, f"conv{len(case.size)}d")
    bias = tensors[2] if case.bias else None
    with _C._force_plan("depthwise"):
        output = convolution(
            *tensors[:2], bias, case.stride, case.padding, case.dilation, case.channels
        )
    cotangent = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape).sin()
    return output, *torch.autograd.grad(output, tensors, cotangent.to(output.dtype))


def reference(case: Case, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    doubles = [tensor.detach().double().requires_grad_() for tensor in tensors]
    padded = F.pad(doubles[0], [amount for pair in reversed(case.pairs) for amount in pair])
    bias = doubles[2] if case.bias else None
    convolution = getattr(F, f"conv{len(case.size)}d")
    output = convolution(padded, doubles[1], bias, case.stride, 0, case.dilation, case.channels)
    cotangent = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape).sin()
    # What the other was given.
    cotangent = cotangent.to(case.dtype).double()
    return output, *torch.autograd.grad(output, doubles, cotangent)


def order(tensor: Tensor) -> list[int]:
    """Dimensions from the innermost, those of one element left out."""
    wide = [i for i in range(tensor.dim()) if tensor.shape[i] > 1]
    return sorted(wide, key=tensor.stride)


def problem(case: Case) -> str | None:
    tensors = case.tensors()
    results = run(case, tensors)
    names = ["output", "input's gradient", "weight's gradient", "bias's gradient"]
    for name, result, expected in zip(names, results, reference(case, tensors), strict=False):
        scale = max(expected.abs().max().item(), 1)
        error = (result.double() - expected).abs().max().item() / scale
        # Sums of many products of either sign: rounding errors add up to about their root.
        terms = max(expected.numel(), 1) if "gradient" in name else 1
        if not error <= BOUNDS[case.dtype] * (1 + terms**0.5 / 50):
            return f"{name} is off by {error:.1e}"
    padding = [(k - 1) * d for k, d in zip(case.kernel, case.dilation, strict=True)]
    convolution = getattr(F, f"conv{len(case.size)}d")
    input, weight = (tensor.detach() for tensor in tensors[:2])
    theirs = convolution(input, weight, None, case.stride, padding, case.dilation, case.channels)
    if theirs.shape == results[0].shape and order(results[0]) != order(theirs):
        return f"has strides {results[0].stride()}, not {theirs.stride()}"
    return None


def problems(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    cases = [case for case in (draw(rng) for _ in range(count)) if case]
    found = ((problem(case), case) for case in cases)
    return [f"{what}: {case}" for what, case in found if what]


def test_random_cases_agree_with_float64() -> None:
    found = problems(seed=0, count=600)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_every_instruction_set(capability: str) -> None:
    """PyTorch and samepad use what this variable allows and the CPU has."""
    known = ["default", "avx2", "avx512"]
    has = torch.backends.cpu.get_cpu_capability().lower()
    if has not in known or known.index(has) < known.index(capability):
        pytest.skip(f"this CPU has {has} only")
    code = (
        "import test_depthwise, torch\n"
        "print(torch.backends.cpu.get_cpu_capability())\n"
        "print(*test_depthwise.problems(seed=1, count=200), sep='\\n')\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
        check=True,
    )
    used, found = result.stdout.split("\n", 1)
    assert used.lower() == capability
    assert not found.strip()


SHAPES = [((9, 40), 3, 2), ((14, 14), 5, 2), ((7, 7), 3, 1), ((30, 31), 2, 3)]
every_shape = pytest.mark.parametrize(("size", "kernel", "stride"), SHAPES, ids=str)
every_format = pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=str
)


def layer_case(size: tuple[int, int], kernel: int, stride: int, memory_format: Any) -> Case:
    layout = "channels_last" if memory_format is torch.channels_last else "contiguous"
    return Case(
        size,
        (kernel, kernel),
        (stride, stride),
        (1, 1),
        "same",
        3,
        20,
        1,
        torch.float32,
        layout,
        bias=True,
    )


@every_shape
@every_format
def test_any_number_of_threads_gives_the_same(
    size: tuple[int, int], kernel: int, stride: int, memory_format: Any
) -> None:
    case = layer_case(size, kernel, stride, memory_format)
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        # The bias's gradient is PyTorch's sum.
        results.append(run(case, case.tensors())[:3])
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@every_format
def test_many_threads_may_call_at_once(memory_format: Any) -> None:
    case = layer_case((14, 14), 5, 2, memory_format)
    tensors = case.tensors()
    expected = run(case, tensors)
    results: list[tuple[Tensor, ...]] = []

    def call() -> None:
        results.extend(run(case, tensors) for _ in range(20))

    callers = [threading.Thread(target=call) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 320
    for result in results:
        assert all(map(torch.equal, result[:3], expected))


@every_shape
@every_format
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_go_where_a_window_sees_them(
    size: tuple[int, int], kernel: int, stride: int, memory_format: Any, value: float
) -> None:
    case = layer_case(size, kernel, stride, memory_format)
    tensors = case.tensors()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        tensors[0][torch.rand(tensors[0].shape, generator=generator) < 0.01] = value
        for channel in range(0, 20, 5):
            tensors[1][channel] = value
    output, input_gradient, weight_gradient, _ = run(case, tensors)
    theirs = reference(case, tensors)
    # What a weight that is not finite makes of padding differs between PyTorch's own kernels: a
    # NaN, or nothing. Of the channels with such weights, compare the inside.
    inside = (..., slice(kernel, -kernel), slice(kernel, -kernel))
    finite = [channel for channel in range(20) if channel % 5]
    for mine, expected in ((output, theirs[0]), (input_gradient, theirs[1])):
        for part in ((slice(None), finite), inside):
            torch.testing.assert_close(
                mine[part].double(), expected[part], equal_nan=True, rtol=1e-4, atol=1e-4
            )
    torch.testing.assert_close(
        weight_gradient.double(), theirs[2], equal_nan=True, rtol=1e-4, atol=1e-4
    )


@every_format
def test_what_no_window_sees_does_not_matter(memory_format: Any) -> None:
    """With stride 3 and a kernel of 1, two of three rows and columns are never read."""
    case = layer_case((13, 29), 1, 3, memory_format)
    tensors = case.tensors()
    expected = run(case, tensors)
    with torch.no_grad():
        unseen = torch.ones(13, 29, dtype=torch.bool)
        unseen[::3, ::3] = False
        tensors[0][:, :, unseen] = float("nan")
    results = run(case, tensors)
    for mine, wanted in zip(results, expected, strict=True):
        assert torch.equal(mine, wanted)


@every_format
def test_what_is_saved_for_the_backward_pass_is_the_input_itself(memory_format: Any) -> None:
    case = layer_case((9, 40), 3, 2, memory_format)
    tensors = case.tensors()
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run(case, tensors)
    assert [each.data_ptr() for each in saved] == [each.data_ptr() for each in tensors[:2]]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_can_go_on() -> None:
    """After a fork, as in DataLoader workers."""
    case = layer_case((14, 14), 5, 2, torch.contiguous_format)
    with torch.no_grad():
        tensors = [tensor.detach() for tensor in case.tensors()]
    samepad.functional.conv2d(*tensors, 2, "same", 1, 20)
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        samepad.functional.conv2d(*tensors, 2, "same", 1, 20)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("stride", [2**12, 2**20, 2**40, 2**62])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_enormous_strides(stride: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    input = torch.randn(2, 8, 7, 6).to(memory_format=layout).requires_grad_()
    weight = torch.randn(8, 1, 3, 3, requires_grad=True)
    output = samepad.functional.conv2d(input, weight, stride=stride, groups=8)
    # The one window begins at the input's first pixel, as any stride of at least 7 has it.
    expected = F.conv2d(input, weight, stride=7, groups=8)
    torch.testing.assert_close(output, expected)
    for ours, theirs in zip(
        torch.autograd.grad(output.sum(), [input, weight]),
        torch.autograd.grad(expected.sum(), [input, weight]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_enormous_dilations() -> None:
    input, weight = torch.randn(1, 8, 7), torch.randn(8, 1, 2)
    output = samepad.functional.conv1d(input, weight, padding="causal", dilation=2**20, groups=8)
    # The other tap meets padding alone.
    torch.testing.assert_close(output, input * weight[:, :, 1])
