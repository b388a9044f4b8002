"""The measuring process: settings that are read when it starts, and what it runs on."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

# Keeps memory that has been freed, so that no call pays for fresh pages.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(2**26),
}
SETTINGS = ALLOCATOR | {"KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"}

#: Packages whose versions matter to the figures.
COMPETITORS = (
    "timm",
    "efficientnet-pytorch",
    "keras",
    "onnxruntime",
    "openvino",
    "tensorflow-cpu",
)


def restart_with_settings(module: str) -> None:
    """Start this program, a module, again with the settings, if it was started without."""
    if any(os.environ.get(key) != value for key, value in SETTINGS.items()):
        os.environ.update(SETTINGS)
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def environment() -> dict[str, Any]:
    """What the figures are measured on."""
    import samepad  # not before the settings are made
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), ""
    )
    described: dict[str, Any] = {
        "cpu": model or platform.machine(),
        "threads": torch.get_num_threads(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "samepad": samepad.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in COMPETITORS},
        "allocator": ALLOCATOR,
    }
    if torch.cuda.is_available():
        described["cuda"] = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return described
