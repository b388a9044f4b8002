"""Converts whole published models, and runs them in Python and, exported, in C++."""

import copy
import subprocess
from pathlib import Path

import pytest
import samepad
import torch
from peers import MODELS
from torch import Tensor, nn

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp"
SIZE = (65, 64)

pytestmark = pytest.mark.parametrize("name", MODELS)


def both(name: str) -> tuple[nn.Module, nn.Module]:
    """Return the published model and the converted one, both in eval mode."""
    torch.manual_seed(0)
    theirs = MODELS[name]().eval()
    if hasattr(theirs, "set_swish"):
        theirs.set_swish(memory_efficient=False)  # or it does not export
    ours, report = samepad.convert(copy.deepcopy(theirs), return_report=True)
    assert report.replaced
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return theirs, ours


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = expected.abs().max()
    assert scale > 0
    assert (found - expected).abs().max() <= tolerance * scale


def test_outputs_and_gradients(name: str) -> None:
    """Compares in float64, to see small errors. EfficientNet-PyTorch pads for one size."""
    theirs, ours = both(name)
    size = (224, 224) if name.startswith("efficientnet-") else SIZE
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    results = []
    for model in (theirs.double(), ours.double()):
        image = images.clone().requires_grad_()
        output = model(image)
        parameters = dict(model.named_parameters())
        cotangent = torch.linspace(-1, 1, output.numel(), dtype=torch.float64)
        gradients = torch.autograd.grad(
            output, [image, *parameters.values()], cotangent.view_as(output)
        )
        results.append([output, *gradients])
    for expected, found in zip(*results, strict=True):
        if expected.abs().max() > 1e-9:  # 0 for a bias before a normalization by the batch
            assert_close(found, expected, 1e-9)


@pytest.fixture(scope="module")
def run_torchscript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the C++ example that runs TorchScript, and return its path."""
    build = tmp_path_factory.mktemp("build")
    prefix = f"-DCMAKE_PREFIX_PATH={samepad.cmake_prefix_path};{torch.utils.cmake_prefix_path}"
    for command in (
        ["cmake", "-S", EXAMPLE, "-B", build, "-G", "Ninja", prefix],
        ["cmake", "--build", build, "--target", "run_torchscript"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return build / "run_torchscript"


def test_torchscript_in_cpp(name: str, run_torchscript: Path, tmp_path: Path) -> None:
    _, ours = both(name)
    file = tmp_path / "model.pt"
    torch.jit.trace(ours, torch.randn(1, 3, *SIZE), check_trace=False).save(str(file))
    printed = subprocess.run(
        [run_torchscript, file, *map(str, SIZE)], check=True, capture_output=True, text=True
    )
    with torch.no_grad():
        expected = ours(torch.ones(1, 3, *SIZE))
    shape, total = printed.stdout.rsplit(" ", 1)
    assert shape == str(list(expected.shape))
    assert abs(float(total) - float(expected.sum())) <= 1e-4 * float(expected.abs().sum())


def test_aot_inductor_in_cpp(name: str, run_package: Path, tmp_path: Path) -> None:
    theirs, ours = both(name)
    image = torch.arange(2 * 3 * SIZE[0] * SIZE[1], dtype=torch.float32).sin().view(2, 3, *SIZE)
    with torch.no_grad():
        program = torch.export.export(ours, (image,))
        # EfficientNet-PyTorch's own layers pad for one input size only.
        expected = (ours if name.startswith("efficientnet-") else theirs)(image)
    file = tmp_path / "model.pt2"
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    printed = subprocess.run(
        [run_package, file, *map(str, SIZE)], check=True, capture_output=True, text=True
    )
    shape, *values = printed.stdout.splitlines()
    assert shape == str(list(expected.shape))
    found = torch.tensor([float(value) for value in values]).view(expected.shape)
    assert_close(found, expected, 1e-4)
