"""Builds samepad with CMake into the package; CMakeLists.txt defines what is built."""

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
    """Return the folder of the PyTorch to build for, or None if there is none.

    It is the PyTorch that can be imported here. Under build isolation, it is the one in the
    environment into which the package is installed, whose sysconfig paths pip's isolated
    environments keep.
    """
    spec = importlib.util.find_spec("torch")
    found = [Path(spec.origin).parent] if spec and spec.origin else []
    found += [Path(sysconfig.get_path(key), "torch") for key in ("purelib", "platlib")]
    return next((path for path in found if (path / "version.py").is_file()), None)


def torch_version(torch: Path) -> str:
    """Read the version of PyTorch from its file: importing it would need its dependencies."""
    match = re.search(r"^__version__ = '([^']+)'", (torch / "version.py").read_text(), re.MULTILINE)
    if match is None:
        raise SetupError(f"samepad: no version in {torch / 'version.py'}")
    return match[1]


def find_cmake() -> str:
    """Return the path of cmake, which may come from PyPI or from the distribution."""
    cmake = shutil.which("cmake")
    if cmake is None:
        raise SetupError("samepad: cmake not found; `pip install cmake ninja`")
    return cmake


class BuildWithCMake(build_ext):
    """Runs the CMake build and installs it into the package folder."""

    def build_extension(self, ext: Extension) -> None:
        """Build everything, and install it into the folder of `ext`."""
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
            # Paths that an earlier build found may be gone, such as pip's build environments.
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
        """Install the build into the checkout's package, for an editable install."""
        self.install_into(ROOT / "python" / "samepad")

    def install_into(self, package: Path) -> None:
        """Install the library, its headers, its CMake package and the Python module."""
        for folder in ("lib", "include"):  # an earlier build may have left other files
            shutil.rmtree(package / folder, ignore_errors=True)
        subprocess.run(
            [find_cmake(), "--install", self.build_folder, "--prefix", package], check=True
        )


def minor_version() -> str | None:
    """Return the minor version of PyTorch that the extension is built for: it fits no other."""
    torch = find_torch()
    return ".".join(torch_version(torch).split(".")[:2]) if torch else None


built_for = minor_version()
setup(
    ext_modules=[Extension("samepad._C", sources=[])],
    cmdclass={"build_ext": BuildWithCMake},
    install_requires=[f"torch=={built_for}.*" if built_for else "torch"],
    # The wheels for several versions of PyTorch need different names; a source distribution is for
    # all of them.
    options={
        "egg_info": {
            "tag_build": f"+torch{built_for}" if built_for and "sdist" not in sys.argv else ""
        }
    },
)
