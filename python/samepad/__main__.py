"""The command `python -m samepad`."""

import argparse
import io
import os
import platform
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import samepad
import samepad.keras
from samepad import _C, _build
from samepad.keras.weights import array
from samepad.source import write_source

#: A larger difference, relative to the largest output, is no rounding.
TOLERANCE = 1e-4


def info() -> int:
    """Print what a report of a problem should say."""
    rows = {
        "samepad": samepad.__version__,
        "built for PyTorch": _build.TORCH_VERSION,
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "CUDA": torch.version.cuda if torch.cuda.is_available() else "not available",
        "plans": ", ".join(_C._plan_names),
        "plans by measurement": samepad.backends.benchmark,
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
    return 0


def load_keras(path: Path) -> Any:
    """A model from a file of Keras's.

    Raises:
        ValueError: It is none, or has code in it; Keras's safe mode runs none.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError as error:
        raise ValueError(f"{path} needs Keras: pip install keras tensorflow-cpu") from error
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of many kinds: Keras, h5py, zipfile and JSON all have their own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"Keras cannot load {path}: {reason[0]}") from error


def difference(keras_model: Any, module: torch.nn.Module) -> float:
    """The largest difference of outputs for random inputs, relative to the largest output."""
    torch.manual_seed(0)
    inputs = []
    for tensor in keras_model.inputs:
        shape = [2 if size is None else size for size in tensor.shape]
        integral = "int" in str(tensor.dtype)
        inputs.append(torch.randint(0, 2, shape) if integral else torch.rand(shape))
    arrays = [tensor.numpy() for tensor in inputs]
    expected = keras_model(arrays if len(arrays) > 1 else arrays[0], training=False)
    with torch.no_grad():
        found = module(*inputs)
    differences = []
    for theirs, ours in zip(_leaves(expected), _leaves(found), strict=True):
        value = torch.from_numpy(array(theirs))
        scale = value.abs().max().clamp(min=1e-12)
        differences.append((ours - value).abs().max() / scale)
    return float(torch.stack(differences).max())  # NaN if one is


def _leaves(outputs: Any) -> list[Any]:
    if isinstance(outputs, dict):
        return [leaf for value in outputs.values() for leaf in _leaves(value)]
    if isinstance(outputs, (list, tuple)):
        return [leaf for value in outputs for leaf in _leaves(value)]
    return [outputs]


def write_together(contents: dict[Path, bytes]) -> None:
    """Write the files, all of them or none."""
    ready = []
    try:
        for path, content in contents.items():
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                ready.append((Path(file.name), path))
                file.write(content)
        for temporary, path in ready:
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        for temporary, _ in ready:
            temporary.unlink(missing_ok=True)


def convert(model: Path, output: Path, layout: Any, class_name: str) -> int:
    """Convert a file to a .py file and the weights beside it."""
    print(f"loading {model}", file=sys.stderr)
    keras_model = load_keras(model)
    print("converting", file=sys.stderr)
    module = samepad.keras.to_torch(keras_model, layout)
    source = write_source(module, class_name)
    print("comparing outputs", file=sys.stderr)
    # In Keras's layout, so that both take the same inputs.
    twin = module if layout == "keras" else samepad.keras.to_torch(keras_model, "keras")
    worst = difference(keras_model, twin.eval())

    counts = Counter(
        type(child).__name__ for child in module.modules() if not list(child.children())
    )
    width = max((len(name) for name in counts), default=0)
    for name, count in counts.most_common():
        print(f"{name:{width}}  {count:4}")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    print(f"{parameters:,} parameters")
    print(f"largest difference of outputs, relative: {worst:.1e}")
    if not worst <= TOLERANCE:
        print(f"more than {TOLERANCE:.0e}: nothing is written", file=sys.stderr)
        return 1
    weights = io.BytesIO()
    torch.save(module.state_dict(), weights)
    files = {output: source.encode(), output.with_suffix(".pt"): weights.getvalue()}
    write_together(files)
    print("wrote " + " and ".join(map(str, files)))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m samepad", description="SAME padding for PyTorch"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, threads, instruction set, plans")
    command = commands.add_parser("convert", help="a Keras model to PyTorch")
    command.add_argument("model", type=Path, help="a .keras or .h5 file")
    command.add_argument(
        "-o", "--output", type=Path, required=True, help=".py file; the weights go beside it, .pt"
    )
    command.add_argument("--input-layout", choices=("torch", "keras"), default="torch")
    command.add_argument("--class-name", default="Model")
    options = parser.parse_args(arguments)
    if options.command == "info":
        return info()
    if not options.model.is_file():
        parser.error(f"there is no file {options.model}")
    if options.output.suffix != ".py":
        parser.error(f"the output must be a .py file, but got {options.output}")
    if not options.output.parent.is_dir():
        parser.error(f"there is no folder {options.output.parent}")
    try:
        return convert(options.model, options.output, options.input_layout, options.class_name)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
