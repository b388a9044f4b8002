"""Tests samepad's kernels in every layout, type, stride and instruction set, with gradients.

The reference is PyTorch's convolution of an explicitly padded input in float64.
"""

import os
import random
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import samepad.functional
import torch
import torch.nn.functional as F
from samepad import _C
from torch import Tensor

#: Largest error, relative to the largest value of the result.
BOUNDS = {
    torch.float32: 2e-6,
    torch.float64: 1e-14,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-11,
}


def has_avx512() -> bool:
    """Whether there are dense kernels for bfloat16."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@dataclass(frozen=True)
class Case:
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    batch: int
    channels: int
    filters: int
    groups: int
    dtype: torch.dtype
    layout: str
    bias: bool

    @property
    def plan(self) -> Any:
        return "depthwise" if self.groups == self.channels > 1 else "dense"

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
        shapes = [
            (self.batch, self.channels, *self.size),
            (self.filters, self.channels // self.groups, *self.kernel),
        ]
        tensors = [torch.randn(shape, dtype=self.dtype) for shape in shapes]
        if self.layout == "channels_last":
            # In a network all tensors are channels_last, but one is enough for PyTorch.
            which = [[0, 1], [0], [1]][self.filters % 3]
            for i in which:
                tensors[i] = tensors[i].to(memory_format=torch.channels_last)
        if self.layout == "transposed":
            tensors[0] = tensors[0].transpose(1, -1).contiguous().transpose(1, -1)
        if self.bias:
            tensors.append(torch.randn(self.filters, dtype=self.dtype))
        return [tensor.requires_grad_() for tensor in tensors]


def draw(rng: random.Random) -> Case | None:
    d = rng.choice([1, 2, 2, 2])
    most = rng.choice([6, 20, 70])

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randint(low, high) for _ in range(d))

    kernel = each(1, 6)
    layout = rng.choice(["contiguous", "transposed", *["channels_last"] * (d == 2)])
    if rng.random() < 0.5:
        # Fewer and more channels than fill one or two vectors of any instruction set.
        groups = channels = rng.choice([1, 2, 3, 8, 16, 17, 40, 70])
        filters = channels * (1 if layout == "channels_last" else rng.choice([1, 1, 2, 3]))
        dtype = rng.choice([torch.float32, *BOUNDS])
    else:
        groups = 1 if layout == "channels_last" else rng.choice([1, 1, 2, 3])
        channels = groups * rng.choice([2, 3, 5, 8, 17, 40])
        # Also fewer and more filters than are computed together.
        filters = groups * rng.choice([1, 2, 5, 6, 16, 33, 64, 70, 130])
        dtypes = [torch.float32, torch.float64]
        if groups == 1 and has_avx512():
            dtypes.append(torch.bfloat16)
        dtype = rng.choice(dtypes)
    case = Case(
        each(1, most),
        kernel,
        each(1, 4),
        rng.choice([(1,) * d, each(1, 3)]),
        rng.choice(["same", "same_lower", tuple((rng.randint(-1, k), k // 2) for k in kernel)]),
        rng.randint(1, 3),
        channels,
        filters,
        groups,
        dtype,
        layout,
        rng.random() < 0.5,
    )
    fits = all(
        n + sum(pair) > (k - 1) * r
        for n, pair, k, r in zip(case.size, case.pairs, case.kernel, case.dilation, strict=True)
    )
    # PyTorch computes equal amounts, and rounds differently.
    ours = isinstance(case.padding, str) or any(before != after for before, after in case.pairs)
    return case if fits and ours else None


def run(case: Case, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the output and the gradients of all tensors."""
    convolution = getattr(samepad.functional, f"conv{len(case.size)}d")
    bias = tensors[2] if case.bias else None
    with _C._force_plan(case.plan):
        output = convolution(
            *tensors[:2], bias, case.stride, case.padding, case.dilation, case.groups
        )
    cotangent = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape).sin()
    return output, *torch.autograd.grad(output, tensors, cotangent.to(output.dtype))


def reference(
    case: Case, tensors: list[Tensor], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, ...]:
    """Return what PyTorch computes in this type."""
    theirs = [tensor.detach().to(dtype).contiguous().requires_grad_() for tensor in tensors]
    padded = F.pad(theirs[0], [amount for pair in reversed(case.pairs) for amount in pair])
    bias = theirs[2] if case.bias else None
    convolution = getattr(F, f"conv{len(case.size)}d")
    output = convolution(padded, theirs[1], bias, case.stride, 0, case.dilation, case.groups)
    cotangent = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape).sin()
    # Round the cotangent as for the other computation.
    cotangent = cotangent.to(case.dtype).to(dtype)
    return output, *torch.autograd.grad(output, theirs, cotangent)


def order(tensor: Tensor) -> list[int]:
    """Return dimensions from the innermost one, without those of one element."""
    wide = [i for i in range(tensor.dim()) if tensor.shape[i] > 1]
    return sorted(wide, key=tensor.stride)


def problem(case: Case) -> str | None:
    tensors = case.tensors()
    results = run(case, tensors)
    names = ["output", "input's gradient", "weight's gradient", "bias's gradient"]
    for name, result, expected in zip(names, results, reference(case, tensors), strict=False):
        # The rounding error of a sum of terms of both signs grows with the root of their number.
        terms = {
            "output": tensors[1][0].numel(),
            "input's gradient": tensors[1][:, 0].numel(),
        }.get(name, results[0][:, 0].numel())
        scale = max(expected.abs().max().item(), terms**0.5)
        error = (result.double() - expected).abs().max().item() / scale
        if not error <= BOUNDS[case.dtype] * (1 + terms**0.5 / 50):
            return f"{name} is off by {error:.1e}"
    padding = [(k - 1) * d for k, d in zip(case.kernel, case.dilation, strict=True)]
    convolution = getattr(F, f"conv{len(case.size)}d")
    input, weight = (tensor.detach() for tensor in tensors[:2])
    theirs = convolution(input, weight, None, case.stride, padding, case.dilation, case.groups)
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
    """PyTorch and samepad use the best instruction set that the variable and the CPU allow."""
    known = ["default", "avx2", "avx512"]
    has = torch.backends.cpu.get_cpu_capability().lower()
    if has not in known or known.index(has) < known.index(capability):
        pytest.skip(f"this CPU has {has} only")
    code = (
        "import test_kernels, torch\n"
        "print(torch.backends.cpu.get_cpu_capability())\n"
        "print(*test_kernels.problems(seed=1, count=200), sep='\\n')\n"
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


#: Sizes, kernels and strides: planes are wide, narrow, or one vector wide with several bands.
SHAPES = [((9, 40), 3, 2), ((30, 31), 2, 3), ((14, 14), 5, 2), ((7, 7), 3, 1), ((300, 16), 4, 2)]
every_shape = pytest.mark.parametrize(("size", "kernel", "stride"), SHAPES, ids=str)
every_format = pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=str
)


#: The groups for which each plan computes a layer of 20 channels.
every_plan = pytest.mark.parametrize("groups", [20, 1], ids=["depthwise", "dense"])


def layer_case(
    size: tuple[int, int], kernel: int, stride: int, memory_format: Any, groups: int
) -> Case:
    layout = "channels_last" if memory_format is torch.channels_last else "contiguous"
    return Case(
        size,
        (kernel, kernel),
        (stride, stride),
        (1, 1),
        "same",
        3,
        20,
        20,
        groups,
        torch.float32,
        layout,
        bias=True,
    )


@every_shape
@every_format
@every_plan
def test_any_number_of_threads_gives_the_same(
    size: tuple[int, int], kernel: int, stride: int, memory_format: Any, groups: int
) -> None:
    check_threads(layer_case(size, kernel, stride, memory_format, groups))


@every_format
@pytest.mark.parametrize("kernel", [2, 7])
def test_bands_of_few_channels_go_on_where_the_last_one_ended(
    memory_format: Any, kernel: int
) -> None:
    """Each image takes several bands, and a thread may begin with any of them."""
    case = replace(layer_case((90, 61), kernel, 2, memory_format, 1), channels=3)
    assert problem(case) is None
    check_threads(case)


@every_format
@pytest.mark.parametrize(
    ("result", "size", "channels", "filters", "kernel", "groups"),
    [
        ("output", 8, 2048, 32, 3, 1),
        ("output", 6, 4096, 8, 7, 1),
        ("output", 12, 64, 16, 16, 1),
        ("input's gradient", 8, 32, 4096, 3, 1),
        ("input's gradient", 8, 4, 4096, 3, 1),
        ("weight's gradient", 250, 16, 16, 3, 1),
        ("weight's gradient", 250, 16, 16, 3, 16),
    ],
)
def test_long_sums_are_about_as_exact_as_pytorchs(
    result: str,
    size: int,
    channels: int,
    filters: int,
    kernel: int,
    groups: int,
    memory_format: Any,
) -> None:
    """Sums have 10,000 and more products; PyTorch is most exact with contiguous tensors."""
    case = replace(
        layer_case((size, size), kernel, 2, memory_format, groups),
        batch=1,
        channels=channels,
        filters=filters,
        bias=False,
    )
    tensors = case.tensors()
    which = ["output", "input's gradient", "weight's gradient"].index(result)
    exact = reference(case, tensors)[which]

    def error(results: tuple[Tensor, ...]) -> float:
        return (results[which].double() - exact).square().mean().sqrt().item()

    mine, theirs = error(run(case, tensors)), error(reference(case, tensors, torch.float32))
    assert mine <= 2 * theirs


in_bfloat16 = pytest.mark.skipif(not has_avx512(), reason="dense bfloat16 is for AVX-512 alone")


@in_bfloat16
@every_format
@pytest.mark.parametrize("channels", [1024, 3000])
def test_bfloat16_sums_of_several_blocks(memory_format: Any, channels: int) -> None:
    """A block has 8192 products."""
    case = layer_case((7, 8), 3, 1, memory_format, 1)
    case = replace(case, channels=channels, filters=40, dtype=torch.bfloat16)
    assert problem(case) is None
    check_threads(case)


@in_bfloat16
@every_shape
@every_format
@pytest.mark.parametrize("channels", [1, 3, 20, 32, 33])
def test_bfloat16_infinities_stay_in_their_windows(
    size: Any, kernel: int, stride: int, memory_format: Any, channels: int
) -> None:
    """Tiles are padded by zeros, and an infinity times zero would be NaN."""
    case = replace(
        layer_case(size, kernel, stride, memory_format, 1),
        channels=channels,
        dtype=torch.bfloat16,
    )
    input, *others = (tensor.detach() for tensor in case.tensors())
    input[0, :, size[0] // 2, size[1] // 2] = float("inf")
    input[1, 0, -1, -1] = float("nan")
    outputs, wanted = (
        of(case, [input.clone().requires_grad_(), *(t.requires_grad_() for t in others)])[0]
        for of in (run, reference)
    )
    assert torch.equal(outputs.isfinite(), wanted.isfinite())
    assert not wanted.isfinite().all()


COUNT = """
import os, torch, samepad
torch.set_num_threads(3)
tensors = torch.empty(1, 64, 90, 90), torch.empty(64, 64 // {groups}, 3, 3)
before = len(os.listdir("/proc/self/task"))
samepad.functional.conv2d(*tensors, None, 2, "same", 1, {groups})
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.parametrize("groups", [1, 64])
def test_threads_are_made_use_of(groups: int) -> None:
    """The first kernel that is divided among threads starts OpenMP's threads."""
    program = [sys.executable, "-c", COUNT.format(groups=groups)]
    assert subprocess.run(program, check=True, capture_output=True, text=True).stdout == "2\n"


def check_threads(case: Case) -> None:
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        # PyTorch sums up the bias's gradient and, for dense layers in bfloat16, the weight's.
        ours = 2 if case.plan == "dense" and case.dtype == torch.bfloat16 else 3
        results.append(run(case, case.tensors())[:ours])
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@every_format
@every_plan
def test_many_threads_may_call_at_once(memory_format: Any, groups: int) -> None:
    case = layer_case((14, 14), 5, 2, memory_format, groups)
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
@every_plan
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_go_where_a_window_sees_them(
    size: tuple[int, int], kernel: int, stride: int, memory_format: Any, groups: int, value: float
) -> None:
    case = layer_case(size, kernel, stride, memory_format, groups)
    tensors = case.tensors()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        tensors[0][torch.rand(tensors[0].shape, generator=generator) < 0.01] = value
        for channel in range(0, 20, 5):
            tensors[1][channel] = value
    output, input_gradient, weight_gradient, _ = run(case, tensors)
    theirs = reference(case, tensors)
    # PyTorch's own kernels differ in what a weight that is not finite gives with padding, a NaN or
    # nothing. For channels with such weights, compare only the inside.
    inside = (..., slice(kernel, -kernel), slice(kernel, -kernel))
    finite = (slice(None), [channel for channel in range(20) if channel % 5])
    # Every input channel of a dense layer is multiplied by such weights.
    parts = [(inside, finite), (inside, finite) if groups > 1 else (inside,)]
    for mine, expected, some in zip((output, input_gradient), theirs, parts, strict=False):
        for part in some:
            torch.testing.assert_close(
                mine[part].double(), expected[part], equal_nan=True, rtol=1e-4, atol=1e-4
            )
    torch.testing.assert_close(
        weight_gradient.double(), theirs[2], equal_nan=True, rtol=1e-4, atol=1e-4
    )


@every_format
@every_plan
def test_what_no_window_sees_does_not_matter(memory_format: Any, groups: int) -> None:
    """With stride 3 and a kernel of 1, two in three rows and columns are never read."""
    case = layer_case((13, 29), 1, 3, memory_format, groups)
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
@every_plan
def test_what_is_saved_for_the_backward_pass_is_the_input_itself(
    memory_format: Any, groups: int
) -> None:
    case = layer_case((9, 40), 3, 2, memory_format, groups)
    tensors = case.tensors()
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run(case, tensors)
    assert [each.data_ptr() for each in saved] == [each.data_ptr() for each in tensors[:2]]


CHILD = """
import os, warnings, torch, samepad
warnings.simplefilter("ignore")
tensors = torch.randn(3, 20, 14, 14), torch.randn(20, 20 // {groups}, 5, 5)
with torch.no_grad():
    expected = samepad.functional.conv2d(*tensors, None, 2, "same", 1, {groups})
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        output = samepad.functional.conv2d(*tensors, None, 2, "same", 1, {groups})
        os._exit(0 if torch.equal(output, expected) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@every_plan
def test_a_child_process_can_go_on(groups: int) -> None:
    """A forked child, as a DataLoader worker, can run kernels; no other library has threads."""
    subprocess.run([sys.executable, "-c", CHILD.format(groups=groups)], check=True)


# There is no (2**20, 1), for which PyTorch's own backward pass crashes.
@pytest.mark.parametrize(
    ("stride", "groups"), [(2**12, 8), (2**12, 1), (2**20, 8), (2**40, 8), (2**40, 1), (2**62, 8)]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_enormous_strides(stride: int, groups: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    input = torch.randn(2, 8, 7, 6).to(memory_format=layout).requires_grad_()
    weight = torch.randn(8, 8 // groups, 3, 3, requires_grad=True)
    output = samepad.functional.conv2d(input, weight, stride=stride, groups=groups)
    # Any stride of at least 7 gives a single window, at the input's first pixel.
    expected = F.conv2d(input, weight, stride=7, groups=groups)
    torch.testing.assert_close(output, expected)
    for ours, theirs in zip(
        torch.autograd.grad(output.sum(), [input, weight]),
        torch.autograd.grad(expected.sum(), [input, weight]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("groups", [8, 1])
def test_enormous_dilations(groups: int) -> None:
    input, weight = torch.randn(1, 8, 7), torch.randn(8, 8 // groups, 2)
    output = samepad.functional.conv1d(
        input, weight, padding="causal", dilation=2**20, groups=groups
    )
    # The other kernel element is multiplied only by padding.
    torch.testing.assert_close(output, F.conv1d(input, weight[:, :, 1:], groups=groups))


@pytest.mark.parametrize("padding", ["same", 1])
def test_layouts_that_kernels_cannot_read_are_pytorchs(padding: Any) -> None:
    input, weight = torch.randn(2, 8, 9, 9), torch.randn(8, 8, 3, 3)
    output = samepad.functional.conv2d(input.to_mkldnn(), weight, padding=padding)
    expected = F.conv2d(input, weight, padding=1)
    torch.testing.assert_close(output.to_dense(), expected, rtol=1e-4, atol=1e-4)


def test_every_plan_gives_an_unbatched_output_the_layout_of_pytorchs() -> None:
    input = torch.randn(8, 9, 10)
    weight = torch.randn(16, 8, 3, 3).to(memory_format=torch.channels_last)
    expected = F.conv2d(input, weight, stride=2, padding=1).stride()
    for plan in ("dense", "crop", "pad"):
        with _C._force_plan(plan):
            assert samepad.functional.conv2d(input, weight, None, 2).stride() == expected


def test_gradients_that_would_copy_too_much_at_once_are_pytorchs() -> None:
    torch.manual_seed(0)
    layer = samepad.SamePadConv2d(2048, 8, 3, 2, dilation=18)
    input = torch.randn(1, 2048, 48, 48, requires_grad=True)
    gradient = torch.randn(1, 8, 24, 24)
    gradients = torch.autograd.grad(layer(input), (input, layer.weight), gradient)
    with _C._force_plan("pad"):
        expected = torch.autograd.grad(layer(input), (input, layer.weight), gradient)
    for mine, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("depth", [(1, -1), (1, 0)])
def test_a_single_slice_of_padding(depth: tuple[int, int], groups: int) -> None:
    """The only slice of the output reads padding, not the only slice of the input."""
    torch.manual_seed(0)
    input = torch.randn(2, 4, 1, 7, 7, requires_grad=True)
    weight = torch.randn(4, 4 // groups, 1, 3, 3, requires_grad=True)
    pads = (depth, (1, 1), (1, 1))
    for plan in ("dense", "depthwise", "pad"):
        with _C._force_plan(plan):
            output = samepad.functional.conv3d(input, weight, None, (2, 1, 1), pads, 1, groups)
            gradients = torch.autograd.grad(output.sum(), (input, weight))
        assert all(not tensor.any() for tensor in (output, *gradients))


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "stride"),
    [
        ((8, 64, 12, 12), 1, 3, 2),
        ((2, 64, 2, 2), 32, 3, 2),
        ((2, 64, 14, 14), 64, 1, 2),
        ((16, 16, 1, 1), 64, 1, 1),
        ((8, 16, 1, 40), 16, 3, 1),
    ],
)
def test_strides_where_a_size_is_one(
    shape: tuple[int, ...], filters: int, kernel: int, stride: int
) -> None:
    """Both layouts are the same in memory then; what follows tells them apart by the strides."""
    input = torch.randn(shape, requires_grad=True)
    weight = torch.randn(filters, shape[1], kernel, kernel, requires_grad=True)
    with _C._force_plan("dense"):
        output = samepad.functional.conv2d(input, weight, stride=stride)
        results = [output, *torch.autograd.grad(output.square().sum(), [input, weight])]
    for result in results:
        assert result.stride() == torch.empty(result.shape).stride()
