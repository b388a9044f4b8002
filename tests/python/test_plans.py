"""Forces every plan of the table on random convolutions, and compares with a float64 loop."""

from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
import samepad
import torch
from samepad import _C, backends

SPEED = Path(__file__).parents[2] / "docs" / "speed.md"


def draw(rng: np.random.Generator, plan: str) -> tuple[Any, ...]:
    """Draw a convolution, of a shape that the plan can often run."""
    dimensions = int(rng.integers(1, 3))
    groups = int(rng.choice([1, 1, 2, 4]))
    per_group = 1 if plan == "depthwise" else int(rng.integers(1, 4))
    groups = max(groups, 2) if plan == "depthwise" else groups
    filters = groups * int(rng.integers(1, 4))
    size = tuple(int(n) for n in rng.integers(1, 9, dimensions))
    kernel = tuple(int(k) for k in rng.integers(1, 5, dimensions))
    options = {
        "stride": tuple(int(s) for s in rng.integers(1, 5, dimensions)),
        "dilation": tuple(int(d) for d in rng.integers(1, 3, dimensions)),
        "groups": groups,
    }
    batch = int(rng.integers(1, 3))
    shapes = ((batch, groups * per_group, *size), (filters, per_group, *kernel), (filters,))
    tensors = [torch.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    if dimensions == 2 and rng.random() < 0.5:
        tensors[0] = tensors[0].detach().contiguous(memory_format=torch.channels_last)
        tensors[0].requires_grad_()
    return tensors, options, str(rng.choice(["same", "same_lower"]))


@pytest.mark.parametrize("plan", backends.plans())
def test_plan_agrees_with_the_loop(plan: str) -> None:
    rng = np.random.default_rng(5)
    ran = 0
    for _ in range(60):
        tensors, options, mode = draw(rng, plan)
        dimensions = tensors[0].dim() - 2
        run = getattr(samepad.functional, f"conv{dimensions}d")
        with _C._force_plan(plan):
            explained = _C._explain_conv(
                *tensors,
                options["stride"],
                mode,
                options["dilation"],
                options["groups"],
                "zeros",
                False,
            )
            output = run(*tensors, padding=mode, **options)
        if explained[0] != plan:
            continue
        ran += 1
        pads = [
            naive.pads(mode, n, k, s, d)
            for n, k, s, d in zip(
                tensors[0].shape[2:],
                tensors[1].shape[2:],
                options["stride"],
                options["dilation"],
                strict=True,
            )
        ]
        message = f"{[tuple(t.shape) for t in tensors]} {options} {mode}"
        arrays = [tensor.detach().numpy() for tensor in tensors]
        expected = naive.conv(
            *arrays, options["stride"], pads, options["dilation"], options["groups"]
        )
        np.testing.assert_allclose(
            output.detach().numpy(), expected, rtol=1e-10, atol=1e-10, err_msg=message
        )
        # The convolution is linear in each argument. So the sum of an argument times its gradient
        # equals the sum of the output (without the bias, for input and weight) times the output's
        # gradient.
        gradient = torch.tensor(rng.standard_normal(output.shape))
        gradients = torch.autograd.grad(output, tensors, gradient)
        total = float((gradient * output.detach()).sum())
        from_bias = float((gradients[2] * tensors[2].detach()).sum())
        for tensor, own in zip(tensors[:2], gradients[:2], strict=True):
            assert own.shape == tensor.shape, message
            assert float((own * tensor.detach()).sum()) == pytest.approx(
                total - from_bias, abs=1e-8
            ), message
    assert ran >= 10


def test_names_are_those_of_the_table() -> None:
    for plan, summary in backends.plans().items():
        assert f"`{plan}`" in SPEED.read_text()
        assert len(summary) > 20


def test_the_plan_that_is_estimated_to_be_the_fastest_is_chosen() -> None:
    rng = np.random.default_rng(7)
    chosen = set()
    for _ in range(200):
        channels, filters = (int(rng.choice([1, 3, 8, 64, 256])) for _ in range(2))
        size, kernel = int(rng.integers(4, 40)), int(rng.choice([1, 2, 3, 5, 9]))
        stride, dilation = (int(rng.integers(1, 3)) for _ in range(2))
        input = torch.zeros(1, channels, size, size)
        layer = samepad.SamePadConv2d(channels, filters, kernel, stride, dilation=dilation)
        works = _C._works(input, layer.weight, layer.stride, layer.dilation, layer.groups)
        times = {plan: nanoseconds for plan, _, _, nanoseconds in works}
        assert all(0 < time < 1e12 for time in times.values())
        plan = samepad.explain(layer, input).plan
        assert times[plan] == min(times.values())
        chosen.add(plan)
    assert len(chosen) > 1
