"""Options and fixtures that all tests share."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    # Processes that compile at the same time must not write into one another's files.
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        cache = tempfile.mkdtemp(prefix=f"inductor_{worker}_")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", cache)
    config.addinivalue_line(
        "markers", "row(name): what this row of the table in docs/works-with.md says works"
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=20_000, help="random calls in test_fuzz.py")
    parser.addoption("--fuzz-seed", type=int, default=0, help="what they are drawn from")


@pytest.fixture(scope="session")
def run_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the C++ program that runs AOTInductor's packages, and return its path."""
    build = tmp_path_factory.mktemp("build")
    source = Path(__file__).parents[1] / "aoti"
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in (
        ["cmake", "-S", source, "-B", build, "-G", "Ninja", prefix],
        ["cmake", "--build", build],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return build / "run_package"
