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


def find_cmake() -> str:
    """The cmake program: PyPI's or the distribution's."""
    cmake = shutil.which("cmake")
    if cmake is None:
        raise SetupError("samepad: cmake not found; `pip install cmake ninja`")
    return cmake


class BuildWithCMake(build_ext):
    """Runs the CMake build and installs it into the package folder."""

    def build_extension(self, ext: Extension) -> None:
        """Build everything, and install it where `ext` is to be."""
        torch = find_torch()
        if torch is None:
            raise SetupError(
                "samepad is built for the PyTorch it will run with, and none was found in this "
                "environment. Install it first, for example `pip install torch==2.13.0`. If it is "
                "installed, the build runs in an environment of its own that hides it: add "
                "--no-build-isolation (with setuptools>=77, cmake and ninja installed)."
            )
        self.build_folder = Path(self.build_temp).resolve() / f"torch-{torch_version(torch)}"
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(min(os.cpu_count() or 1, 8)))
        configure = [
            *("-S", ROOT, "-B", self.build_folder, "-G", "Ninja"),
            # What an earlier build found may be gone: pip's build environments are.
            "--fresh",
            f"-DCMAKE_PREFIX_PATH={torch}",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_INSTALL_LIBDIR=lib",
            "-DSAMEPAD_PYTHON=ON",
        ]
        subprocess.run([find_cmake(), *configure], check=True)
        subprocess.run([find_cmake(), "--build", self.build_folder, "--parallel", jobs], check=True)
        self.install_into(Path(self.get_ext_fullpath(ext.name)).parent.resolve())

    def copy_extensions_to_source(self) -> None:
        """For an editable install: what was built goes into the checkout's package."""
        self.install_into(ROOT / "python" / "samepad")

    def install_into(self, package: Path) -> None:
        """Install the library, its headers, its CMake package and the Python module."""
        for folder in ("lib", "include"):  # an earlier build's, of which files may have gone
            shutil.rmtree(package / folder, ignore_errors=True)
        subprocess.run(
            [find_cmake(), "--install", self.build_folder, "--prefix", package], check=True
        )


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
