"""Convolutions of kinds that PyTorch's own libraries have computed wrongly, or crashed in.

`test_library_faults.py` runs this as a program, so that a crash ends the program alone:

    python library_faults.py listed
    python library_faults.py SEED COUNT
    python library_faults.py module    (or another of WAYS)

It prints each call before it is made, and what is wrong with it after. The references are PyTorch's
convolutions of explicitly padded, contiguous tensors in float64, which is none of oneDNN's types.
"""

import contextlib
import math
import random
import resource
import sys
from dataclasses import dataclass
from typing import Any

import samepad.functional
import torch
import torch.nn.functional as F
from samepad import _C
from torch import Tensor

Pairs = tuple[tuple[int, int], ...]

#: Largest error, as a part of what the absolute values of all factors come to.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2**-6, torch.float16: 2**-9, torch.float64: 1e-12}


@dataclass(frozen=True)
class Case:
    size: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | Pairs = "same"
    dilation: tuple[int, ...] | None = None
    groups: int = 1
    batch: int = 2
    dtype: torch.dtype = torch.bfloat16
    channels_last: bool = True
    #: The dimensions of the weight from the outermost in memory to the innermost, where it is a
    #: view of a tensor in that order.
    order: tuple[int, ...] | None = None
    transposed: bool = False
    threads: int = 2
    repeat: int = 1
    #: Whether only PyTorch's plans are chosen from, as where samepad has no kernels.
    pytorchs: bool = True

    @property
    def dimensions(self) -> int:
        return len(self.size)

    @property
    def dilations(self) -> tuple[int, ...]:
        return self.dilation or (1,) * self.dimensions

    @property
    def image(self) -> tuple[int, ...]:
        """Spatial sizes of the convolution's input, which is the transposed one's output."""
        if not self.transposed:
            return self.size
        return tuple(n * s for n, s in zip(self.size, self.stride, strict=True))

    @property
    def pairs(self) -> Pairs:
        if not isinstance(self.padding, str):
            return self.padding
        return samepad.same_padding(
            self.image, self.weight[2:], self.stride, self.dilations, self.padding
        )

    def tensors(self) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        channels = self.weight[0] if self.transposed else self.weight[1] * self.groups
        input = torch.randn(self.batch, channels, *self.size, dtype=self.dtype)
        weight = torch.randn(self.weight, dtype=self.dtype)
        if self.channels_last:
            axes = (0, *range(2, input.dim()), 1)
            back = (0, input.dim() - 1, *range(1, input.dim() - 1))
            input = input.permute(axes).contiguous().permute(back)
        if self.order is not None:
            back = tuple(self.order.index(i) for i in range(weight.dim()))
            weight = weight.permute(self.order).contiguous().permute(back)
        return input.requires_grad_(), weight.requires_grad_()


def run(case: Case, input: Tensor, weight: Tensor) -> Tensor:
    kind = "conv_transpose" if case.transposed else "conv"
    function = getattr(samepad.functional, f"{kind}{case.dimensions}d")
    with _C._force_plan("symmetric") if case.pytorchs else contextlib.nullcontext():
        result: Tensor = function(
            input,
            weight,
            stride=case.stride,
            padding=case.padding,
            dilation=case.dilations,
            groups=case.groups,
        )
    return result


def reference(case: Case, input: Tensor, weight: Tensor) -> Tensor:
    amounts = [amount for pair in reversed(case.pairs) for amount in pair]

    def conv(image: Tensor) -> Tensor:
        function = getattr(F, f"conv{case.dimensions}d")
        result: Tensor = function(
            F.pad(image, amounts), weight, None, case.stride, 0, case.dilations, case.groups
        )
        return result

    if not case.transposed:
        return conv(input)
    channels = weight.shape[1] * case.groups
    image = torch.zeros(case.batch, channels, *case.image, dtype=input.dtype, requires_grad=True)
    (result,) = torch.autograd.grad(conv(image), image, input, create_graph=True)
    return result


def results(compute: Any, case: Case, input: Tensor, weight: Tensor, way: Tensor) -> list[Tensor]:
    """The output, the gradients of input and weight, and a gradient of a gradient."""
    output = compute(case, input, weight)
    gradients = torch.autograd.grad(output, (input, weight), way, create_graph=True)
    return [output, *gradients, *torch.autograd.grad(gradients[0], weight, input.detach())]


NAMES = ("inferred output", "output", "input's gradient", "weight's gradient", "second gradient")


def problem(case: Case) -> str | None:
    torch.set_num_threads(case.threads)
    input, weight = case.tensors()
    exact = [t.detach().double().contiguous().requires_grad_() for t in (input, weight)]
    way = torch.randn_like(reference(case, *exact)).to(case.dtype)
    wanted = results(reference, case, *exact, way.double())
    absolute = [t.detach().abs().requires_grad_() for t in exact]
    most = results(reference, case, *absolute, way.double().abs())
    for _ in range(case.repeat):
        with torch.no_grad():
            inferred = run(case, input, weight)
        found = results(run, case, input, weight, way)
        both = [inferred, *found]
        for name, a, b, size in zip(
            NAMES[: len(both)], both, [wanted[0], *wanted], [most[0], *most], strict=True
        ):
            error = (a.detach().double() - b).abs()
            if a.shape != b.shape or not bool((error <= BOUNDS[case.dtype] * size + 1e-6).all()):
                return f"{name}: {error.max():.3g} off of {b.abs().max():.3g}"
    return None


SINGLE: Any = {"dtype": torch.float32}

LISTED = [
    # The process aborts, or the heap is overwritten.
    Case((9, 8), (16, 256, 1, 8), (8, 8), repeat=20),
    Case((9, 8), (16, 256, 1, 8), (8, 8), ((0, 0), (0, 0)), repeat=20),
    Case((224, 224), (16, 3, 1, 1), (2, 2), batch=8, repeat=5),
    # Outputs of one element.
    Case((4, 4), (32, 16, 4, 4), (4, 4), batch=1),
    Case((3, 1), (36, 1, 4, 2), (1, 2), ((1, 2), (1, 1)), groups=9, batch=4),
    Case((7, 2), (16, 64, 4, 3), (1, 2), ((1, 1), (1, 1)), batch=3, channels_last=False),
    Case((9, 2), (24, 1, 5, 5), (1, 2), ((1, 1), (2, 2)), threads=4, **SINGLE),
    Case((2, 1), (128, 48, 5, 4), (1, 8), "same", (1, 2), transposed=True, batch=8),
    # Weight gradients that are not written.
    Case((8, 1), (16, 16, 3, 3), (2, 2)),
    Case((8, 1), (16, 16, 3, 3), (2, 2), channels_last=False),
    Case((2,), (48, 128, 3), (3,), ((1, 1),), batch=3),
    Case((30, 33), (8, 1, 3, 3), (1, 1), ((1, 1), (0, 0)), (2, 1), groups=8),
    Case((30, 64), (24, 24, 3, 3), (1, 1), ((2, 2), (1, 1)), (2, 1)),
    # Parts of the kernel, or outputs, that see padding alone.
    Case((2, 36), (16, 17, 4, 1), (1, 3), ((4, 4), (0, 0)), (3, 1)),
    Case((2, 2, 3), (27, 9, 5, 3, 1), (3, 3, 1), ((4, 4), (1, 1), (0, 0)), groups=9, **SINGLE),
    Case((1, 2, 2), (96, 1, 5, 2, 5), (1, 1, 2), ((2, 2), (0, 0), (3, 3)), groups=32, batch=8),
    # A stride that exceeds the kernel, in three dimensions.
    Case((15, 2, 16), (7, 48, 1, 1, 5), (9, 1, 1), ((0, 0),) * 3, batch=8),
    # A stride of the height that exceeds the kernel, with padding.
    Case((37, 38), (3, 16, 4, 4), (8, 1), "same_lower", (1, 3), batch=1),
    Case((22, 31), (8, 16, 1, 2), (9, 1), ((0, 0), (2, 2)), (1, 3), channels_last=False),
    Case((66, 34), (16, 17, 2, 4), (7, 1), ((3, 3), (0, 0)), (3, 1), batch=1),
    # As much padding before the depth as the kernel reaches, which cropping would use too.
    Case((5, 7, 5), (16, 48, 5, 5, 5), (3, 2, 1), groups=8, **SINGLE),
    Case((3, 6, 9), (128, 16, 6, 5, 1), (2, 1, 4), ((5, 5), (0, 0), (0, 0)), groups=8, **SINGLE),
    Case((5, 16, 16), (16, 8, 7, 7, 7), (2, 2, 2), groups=2, **SINGLE),
    Case((5, 6, 7), (3, 8, 7, 1, 3), (3, 1, 1), groups=3, **SINGLE),
    Case((2, 8, 8), (16, 16, 3, 3, 3), (1, 1, 1)),
    Case((5, 4, 4), (8, 16, 5, 3, 1), (3, 1, 3)),
    # Rows of a kernel that fill whole blocks of products, with few channels.
    Case((56, 56), (32, 16, 4, 4), (4, 4)),
    Case((64, 64), (32, 8, 8, 8), (8, 8), channels_last=False),
    Case((64, 64), (32, 16, 8, 8), (8, 8)),
    Case((40,), (16, 16, 4), (1,)),
    Case((9, 8, 8), (8, 16, 1, 4, 4), (1, 4, 4)),
    Case((14, 14), (8, 16, 4, 4), (4, 4), transposed=True),
    # Large kernels in groups, with an output 1 wide.
    Case(
        (16, 16),
        (32, 16, 16, 16),
        (1, 1),
        ((0, 0), (0, 0)),
        groups=2,
        channels_last=False,
        **SINGLE,
    ),
    Case((3, 4), (32, 48, 16, 16), (16, 16), groups=2),
    Case((18, 17), (48, 16, 17, 17), (1, 1), ((0, 0), (0, 0)), groups=3, **SINGLE),
    # Windows far apart.
    Case((9, 291), (5, 3, 1, 1), (1, 37), ((0, 0), (0, 0)), batch=3, channels_last=False, repeat=5),
    Case((20, 319), (16, 1, 6, 4), (4, 40), channels_last=False, repeat=5),
    Case((5, 300), (16, 16, 1, 1), (1, 36), transposed=True),
    # 1x1x1 kernels over few channels.
    Case((1, 64, 61), (64, 2, 1, 1, 1), (1, 1, 1)),
    # Gradients of gradients.
    Case((15, 8), (16, 8, 5, 3), (3, 1), batch=8, channels_last=False, threads=1),
    Case((32, 15), (8, 2, 5, 4), (2, 1), "same_lower", (2, 3), 8, 8, channels_last=False),
    Case((8,), (2, 16, 5), (1,), "same", (2,), batch=8, order=(2, 1, 0), transposed=True),
    Case((16, 8), (1, 2, 1, 3), (3, 1), "same", (1, 2), batch=8, transposed=True),
    # Weights that are dense in no memory format.
    Case((5, 4), (3, 9, 1, 3), (1, 1), ((0, 0), (2, 0)), groups=3, order=(0, 3, 2, 1), **SINGLE),
    Case((6, 7), (14, 5, 7, 1), (1, 1), groups=2, order=(0, 3, 2, 1), **SINGLE),
    Case((2, 4), (24, 2, 4, 1), (1, 2), ((1, 1), (0, 0)), (1, 2), 3, order=(3, 0, 2, 1), **SINGLE),
    Case((5, 6), (4, 6, 1, 3), (1, 1), ((0, 0), (1, 1)), order=(0, 3, 1, 2), dtype=torch.float64),
    Case((5, 6), (6, 4, 1, 3), (1, 1), order=(0, 3, 1, 2), transposed=True, dtype=torch.float64),
]


def draw(rng: random.Random) -> Case:
    while True:
        d = rng.choice([1, 2, 2, 2, 3])
        transposed = rng.random() < 0.2
        most = rng.choice([4, 8, 16, 40, 70] if d < 3 else [4, 8])
        size = tuple(rng.randint(1, most) for _ in range(d))
        kernel = tuple(rng.randint(1, 5) for _ in range(d))
        stride = tuple(rng.choice([1, 1, 2, 3, rng.randint(1, 9)]) for _ in range(d))
        dilation = tuple(rng.choice([1, 1, 1, 2, 3]) for _ in range(d))
        if rng.random() < 0.1:  # patches, as of a vision transformer
            kernel = stride = (rng.choice([2, 4, 6, 8, 14, 16] if d < 3 else [2, 3, 4]),) * d
            dilation = (1,) * d
        if rng.random() < 0.1:  # windows far apart, as of spectrograms
            stride = (*stride[:-1], rng.randint(10, 70))
            outputs = rng.choice([2, 5, 9])
            size = (*size[:-1], outputs if transposed else stride[-1] * outputs - rng.randint(0, 9))
        if d == 3 and rng.random() < 0.2:  # larger volumes, of 1x1x1 layers
            kernel = stride = dilation = (1, 1, 1)
            size = (rng.randint(1, 3), rng.randint(1, 70), rng.randint(1, 70))
        amounts = tuple(
            rng.choice([0, rng.randint(0, k + s)]) for k, s in zip(kernel, stride, strict=True)
        )
        groups = rng.choice([1, 1, 2, 3, 8])
        inside = rng.choice([1, 1, 2, 4, 5, 8, 12, 16, 24, 28, 48])
        filters = groups * rng.choice([1, 2, 3, 16, 64])
        order = rng.sample(range(d + 2), d + 2)
        case = Case(
            size,
            (filters, inside, *kernel),
            stride,
            "same"
            if transposed
            else rng.choice(["same", "same_lower", tuple((a, a) for a in amounts)]),
            dilation,
            groups,
            rng.choice([1, 2, 8]),
            rng.choice([torch.bfloat16, torch.bfloat16, torch.float32, torch.float16]),
            rng.random() < 0.6,
            tuple(order) if rng.random() < 0.2 else None,
            transposed,
            rng.choice([1, 2, 2, 5]),
            pytorchs=rng.random() < 0.5,
        )
        extents = [(k - 1) * r + 1 for k, r in zip(kernel, dilation, strict=True)]
        sizes = [n + sum(pair) for n, pair in zip(case.image, case.pairs, strict=True)]
        elements = case.batch * max(filters, inside * groups) * math.prod(case.image)
        if elements < 2**21 and all(n >= e for n, e in zip(sizes, extents, strict=True)):
            return case


def module_problem(way: str) -> str | None:
    """A layer whose gradient was not written, as users call it."""
    layer = samepad.SamePadConv2d(16, 16, 3, 2)
    exact = torch.nn.Conv2d(16, 16, 3, 2, (1, 1)).double()
    exact.load_state_dict(layer.state_dict())
    if way != "autocast":
        layer = layer.bfloat16()
    call: Any = layer
    if way.startswith("compiled"):
        call = torch.compile(layer, fullgraph=True, dynamic="open" in way, backend="aot_eager")
    for size in (9, 9, 7) if "open" in way else (9,):
        input = torch.randn(2, 16, size, 1)
        layer.zero_grad()
        exact.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
            output = call(input if way == "autocast" else input.bfloat16())
        output.float().square().sum().backward()
        wanted = exact(input.double())
        wanted.square().sum().backward()
        pairs = [(output, wanted), (layer.weight.grad, exact.weight.grad)]
        for found, right in pairs:
            error = (found.detach().double() - right).abs().max() / right.abs().max()
            if not error < 0.05:
                return f"{way}, {size}: {error:.3g} off"
    return None


WAYS = ("module", "autocast", "compiled", "compiled with open sizes")


def main(arguments: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if arguments[0] in WAYS:
        found = module_problem(arguments[0])
        print(found)
        return int(found is not None)
    if arguments == ["listed"]:
        cases = LISTED
    else:
        rng = random.Random(int(arguments[0]))
        cases = [draw(rng) for _ in range(int(arguments[1]))]
    failed = 0
    for case in cases:
        print(case, flush=True)
        found = problem(case)
        if found is not None:
            failed += 1
            print(f"WRONG {found}", flush=True)
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
