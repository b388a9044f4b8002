"""Builds samepad with CMake into the package; what is built is said in CMakeLists.txt alone."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import SetupError

ROOT = Path(__file__).parent.resolve()


def find_torch() -> Path | None:
    """The folder of the PyTorch to build for.

    It is the one importable here or, under build isolation, the one of the environment that the
    package is being installed into: pip's isolated environments keep that one's sysconfig paths.
    """
    spec = importlib.util.find_spec("torch")
    found = [Path(spec.origin).parent] if spec and spec.origin else []
    found += [Path(sysconfig.get_path(key), "torch") for key in ("purelib", "platlib")]
    return next((path for path in found if (path / "version.py").is_file()), None)


def torch_version(torch: Path) -> str:
    """Version of a PyTorch, read rather than imported: its dependencies need not be there."""
    match = re.search(r"^__version__ = '([^']+)'", (torch / "version.py").read_text(), re.MULTILINE)
    if match is None:
        raise SetupError(f"samepad: no version in {torch / 'version.py'}")
    return match[1]


class BuildWithCMake(build_ext):
    """Runs the CMake build and installs it into the package folder."""

    def build_extension(self, ext: Extension) -> None:
        """Build everything; `ext` only says where the package is."""
        torch = find_torch()
        if torch is None:
            raise SetupError(
                "samepad is built for the PyTorch it will run with, and none was found in this "
                "environment. Install it first, for example `pip install torch==2.13.0`. If it is "
                "installed, the build runs in an environment of its own that hides it: add "
                "--no-build-isolation (with setuptools, cmake and ninja installed)."
            )
        package = Path(self.get_ext_fullpath(ext.name)).parent.resolve()
        build = Path(self.build_temp).resolve() / f"torch-{torch_version(torch)}"
        # The distribution's cmake serves too, where the package of that name is not installed.
        cmake = shutil.which("cmake")
        if cmake is None:
            raise SetupError("samepad: cmake not found; `pip install cmake ninja`")
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(min(os.cpu_count() or 1, 8)))
        for command in (
            [
                *(cmake, "-S", ROOT, "-B", build, "-G", "Ninja"),
                f"-DCMAKE_PREFIX_PATH={torch}",
                f"-DPython_EXECUTABLE={sys.executable}",
                "-DCMAKE_BUILD_TYPE=Release",
                "-DCMAKE_INSTALL_LIBDIR=lib",
                "-DSAMEPAD_PYTHON=ON",
                "-DSAMEPAD_TESTS=OFF",
            ],
            [cmake, "--build", build, "--parallel", jobs],
            [cmake, "--install", build, "--prefix", package],
        ):
            subprocess.run(command, check=True)


def dependencies() -> list[str]:
    """The extension works with the minor version of PyTorch that it is built for, and no other."""
    torch = find_torch()
    if torch is None:
        return ["torch"]
    major, minor = torch_version(torch).split(".")[:2]
    return [f"torch=={major}.{minor}.*"]


setup(
    ext_modules=[Extension("samepad._C", sources=[])],
    cmdclass={"build_ext": BuildWithCMake},
    install_requires=dependencies(),
)
