"""Tests the package as users see it: with another or no PyTorch, a type checker, in C++."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import samepad
import tomllib
import torch

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cpp"
CONSUMER = ROOT / "tests" / "consumer"


def run(
    *command: str | Path, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command and capture its output, which a failed assertion then shows."""
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert samepad.__version__ == version
    header = Path(samepad.cmake_prefix_path, "include", "samepad", "version.h").read_text()
    assert f'"{version}"' in header
    assert version in (ROOT / "CHANGELOG.md").read_text()


def test_the_wheel_requires_the_minor_version_it_was_built_for() -> None:
    minor = ".".join(torch.__version__.split(".")[:2])
    assert importlib.metadata.requires("samepad") == [f"torch=={minor}.*"]


def test_another_torch_is_one_clear_import_error() -> None:
    code = "import torch; torch.__version__ = '2.99.1'; import samepad"
    result = run(sys.executable, "-W", "ignore", "-c", code, check=False)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: samepad")
    assert "but this is PyTorch 2.99.1" in last


def test_a_build_without_torch_says_what_to_install(tmp_path: Path) -> None:
    """-S leaves only the standard library, to which the path of setuptools is added."""
    code = (
        "import sys, sysconfig\n"
        f"sys.path.append({str(tmp_path)!r})\n"
        f"sysconfig.get_path = lambda *_: {str(tmp_path)!r}\n"
        "sys.argv = ['setup.py', 'build_ext']\n"
        f"__file__ = {str(ROOT / 'setup.py')!r}\n"
        "exec(compile(open(__file__).read(), __file__, 'exec'))\n"
    )
    site = Path(sysconfig.get_path("purelib"))
    for name in ("setuptools", "_distutils_hack", "pkg_resources"):
        if (site / name).exists():
            (tmp_path / name).symlink_to(site / name)
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode != 0
    assert "pip install torch" in result.stdout + result.stderr


USER = """
import torch
import samepad
from samepad import SamePadConv2d, functional as F, nn

layer = SamePadConv2d(3, 8, (3, 5), stride=2, padding=((0, 1), (1, 1)), padding_mode="reflect")
SamePadConv2d(3, 8, 3, padding="same_lower", device="cpu", dtype=torch.float64)
output: torch.Tensor = layer(torch.randn(1, 3, 8, 8))
convolved: torch.Tensor = F.conv2d(output, layer.weight, layer.bias, (2, 1), "same", groups=1)
pads: tuple[tuple[int, int], ...] = samepad.same_padding((28, 28), 3, stride=2, mode="same")
model: torch.nn.Module = samepad.convert(torch.nn.Sequential(layer))
model, report = samepad.convert(model, lambda name, layer: "stem" in name, return_report=True)
class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding="same")
        self.pool = nn.MaxPool2d(3, 2, padding="same")
        self.back = nn.ConvTranspose2d(8, 3, 3, 2, padding=((0, 1), (0, 1)))
        self.rest = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
print(report, [entry.name for entry in report.replaced], samepad.cmake_prefix_path)
"""


def test_a_users_program_type_checks_strictly(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(USER)
    cache = f"--cache-dir={tmp_path / 'cache'}"
    run(sys.executable, "-m", "mypy", "--strict", "--config-file=", cache, program)
    program.write_text(USER + "F.conv2d(1)\nSamePadConv2d(3, 8, 3, stride='2')\n")
    result = run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", cache, program, check=False
    )
    assert len(re.findall(r"error:.*\[(?:arg-type|call-arg)\]", result.stdout)) == 3, result.stdout


def cmake(source: Path, build: Path, *options: str, check: bool = True) -> str:
    """Configure a CMake project, and return what was printed."""
    result = run(
        "cmake",
        "-S",
        source,
        "-B",
        build,
        "-G",
        "Ninja",
        "-DCMAKE_BUILD_TYPE=Release",
        *options,
        check=check,
    )
    return re.sub(r"\s+", " ", result.stdout + result.stderr)


def build(source: Path, directory: Path, *options: str) -> Path:
    cmake(source, directory, *options)
    run("cmake", "--build", directory, "--parallel", "2")
    return directory


TORCH = Path(torch.utils.cmake_prefix_path)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install only the library, by CMake, and return the folder."""
    folder = tmp_path_factory.mktemp("install")
    directory = build(ROOT, folder / "build", f"-DCMAKE_PREFIX_PATH={TORCH}")
    run("cmake", "--install", directory, "--prefix", folder / "prefix")
    return folder / "prefix"


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a TorchScript file, and what the C++ program must print for an input of ones."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        samepad.SamePadConv2d(3, 8, 3, stride=2),
        samepad.SamePadConv2d(8, 4, 3, stride=2, padding=((1, 0), (0, 2))),
        samepad.SamePadMaxPool2d(3, 2),
        samepad.SamePadAvgPool2d(2, 1, "same_lower"),
        samepad.SamePadConvTranspose2d(4, 2, 3, 2),
    )
    file = tmp_path_factory.mktemp("torchscript") / "model.pt"
    torch.jit.script(model).save(str(file))
    with torch.no_grad():
        output = model(torch.ones(1, 3, 9, 12))
    return file, f"{list(output.shape)} {output.sum().item():.3f}"


@pytest.mark.parametrize("where", ["package", "prefix"])
def test_cpp_example_builds_and_runs(
    where: str, prefix: Path, scripted: tuple[Path, str], tmp_path: Path
) -> None:
    """The example is a separate project that uses the Python package or a CMake install."""
    ours = samepad.cmake_prefix_path if where == "package" else prefix
    directory = build(EXAMPLE, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={ours};{TORCH}")
    trained = run(directory / "train", tmp_path / "net.pt").stdout
    assert (
        "samepad::SamePadConv2d(1, 8, kernel_size=[3, 3], stride=[2, 2], padding=same)" in trained
    )
    assert "saved and loaded network answers the same" in trained
    file, expected = scripted
    shape, total = run(directory / "run_torchscript", file, "9", "12").stdout.rsplit(" ", 1)
    assert f"{shape} {float(total):.3f}" == expected


def test_add_subdirectory_builds(tmp_path: Path) -> None:
    """A CMake project can also be used as a part of another one."""
    directory = build(
        CONSUMER, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={TORCH}", f"-DSAMEPAD_SOURCE={ROOT}"
    )
    assert run(directory / "pads").stdout == "0 1\n"


def test_find_package_refuses_another_torch(prefix: Path, tmp_path: Path) -> None:
    """The real LibTorch is used, but it claims to have another version."""
    other = tmp_path / "share" / "cmake" / "Torch"
    other.mkdir(parents=True)
    (other / "TorchConfig.cmake").write_text(f"include({TORCH}/Torch/TorchConfig.cmake)\n")
    (other / "TorchConfigVersion.cmake").write_text('set(PACKAGE_VERSION "2.99.0")\n')
    printed = cmake(
        EXAMPLE, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix};{tmp_path}", check=False
    )
    assert "found LibTorch 2.99.0" in printed
    assert "use LibTorch" in printed


def test_cuda_build_without_a_toolkit_needs_none(tmp_path: Path) -> None:
    """The folder looks like a CUDA build of LibTorch, whose own CMake package would fail."""
    fake = tmp_path / "torch"
    (fake / "share" / "cmake" / "Torch").mkdir(parents=True)
    (fake / "lib").mkdir()
    for library in (TORCH.parents[1] / "lib").iterdir():
        (fake / "lib" / library.name).symlink_to(library)
    (fake / "lib" / "libtorch_cuda.so").touch()
    (fake / "include").symlink_to(TORCH.parents[1] / "include")
    config = fake / "share" / "cmake" / "Torch"
    config.joinpath("TorchConfig.cmake").write_text('message(FATAL_ERROR "needs CUDA")\n')
    shutil.copy(TORCH / "Torch" / "TorchConfigVersion.cmake", config)
    directory = build(
        CONSUMER,
        tmp_path / "build",
        f"-DCMAKE_PREFIX_PATH={fake}",
        f"-DSAMEPAD_SOURCE={ROOT}",
    )
    assert run(directory / "pads").stdout == "0 1\n"


def test_benchmark_layers_are_asymmetric() -> None:
    """SAME pads every layer of the benchmark in a way that nn.Conv2d cannot."""
    rows = json.loads((ROOT / "benchmarks" / "layers.json").read_text())["conv2d"]
    for _, _, size, _, kernel, stride, dilation, _ in rows:
        pads = samepad.same_padding(size, kernel, stride, dilation)
        assert any(before != after for before, after in pads)
