"""Tests on a CUDA device, where there is one. `benchmarks/cuda.sh` runs this file on bare machines,
so nothing that it imports needs more than torch and samepad.
"""

import copy

import pytest
import samepad
import torch
from every_layer import images, model

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.row("CUDA: graphs, channels_last, half"),
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_on_cuda(dtype: torch.dtype, layout: torch.memory_format) -> None:
    eager = model().eval()
    twin = copy.deepcopy(eager).to("cuda", dtype, memory_format=layout)
    for input in images():
        output = twin(input.to("cuda", dtype, memory_format=layout))
        tolerance = 1e-3 if dtype is torch.float32 else 0.1
        torch.testing.assert_close(
            output.float().cpu(), eager(input), rtol=tolerance, atol=tolerance
        )


def test_cuda_graphs() -> None:
    twin = model().eval().cuda()
    inputs = [input.cuda() for input in images(*[(41, 37)] * 3)]
    with torch.no_grad():
        graphed = torch.cuda.make_graphed_callables(twin, (inputs[0],))
        for input in inputs:
            torch.testing.assert_close(graphed(input), twin(input))


@pytest.mark.parametrize("plan", ["crop", "pad"])
def test_gradients_of_plans(plan: str) -> None:
    layer = samepad.SamePadConv2d(3, 8, 3, stride=2).double()
    twin = copy.deepcopy(layer).cuda()
    for input in images():
        mine, other = (
            tensor.requires_grad_() for tensor in (input.double(), input.double().cuda())
        )
        expected = torch.autograd.grad(layer(mine).sin().sum(), (mine, *layer.parameters()))
        with samepad._C._force_plan(plan):
            found = torch.autograd.grad(twin(other).sin().sum(), (other, *twin.parameters()))
        torch.testing.assert_close([value.cpu() for value in found], list(expected))


def test_compiled() -> None:
    twin = model().eval().cuda()
    compiled = torch.compile(twin, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for input in images():
            torch.testing.assert_close(
                compiled(input.cuda()), twin(input.cuda()), rtol=1e-3, atol=1e-3
            )
