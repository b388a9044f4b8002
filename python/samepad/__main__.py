"""The command `python -m samepad`."""

import argparse
import io
import itertools
import math
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import samepad
from samepad import _build
from samepad._comparison import Settings, compare
from samepad._files import opener
from samepad._interrupting import INTERRUPTED, ending_at_interrupt
from samepad._optimization import describe
from samepad._writing import UnfinishedError, refusal, write_together
from samepad.source import write_source

#: What Ctrl-C makes the command say.
NOTHING_WRITTEN = "interrupted: nothing is written"

#: Larger differences, relative to the largest output, are not taken for rounding.
TOLERANCE = 1e-4


def info() -> int:
    """Print the versions and settings that a bug report should contain."""
    rows = {
        "samepad": samepad.__version__,
        "built for PyTorch": _build.TORCH_VERSION,
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "instruction set": torch.backends.cpu.get_cpu_capability(),
        "CUDA": torch.version.cuda if torch.cuda.is_available() else "not available",
        "plans": ", ".join(samepad.backends.plans()),
        "plans by measurement": samepad.backends.benchmark,
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
    return 0


def weights_of(output: Path) -> Path:
    """The file for the weights of the module that is written to `output`."""
    return output.with_suffix(".pt")


def convert(
    file: Path,
    output: Path,
    layout: Any,
    class_name: str,
    settings: Settings,
    force: bool,
    optimize: bool,
) -> int:
    """Write a .py file and the weights beside it, unless the outputs differ; exit status."""
    steps = itertools.count(1)

    def step(what: str) -> None:
        print(f"[{next(steps)}/{5 if optimize else 4}] {what}", file=sys.stderr)

    step(f"loading {file}")
    opened = opener(file)(file)
    step("converting")
    model = opened(layout)
    module = model.module
    source = write_source(module, class_name)
    step("comparing outputs for random input")
    with ending_at_interrupt(NOTHING_WRITTEN):
        result = compare(model, settings)

    counts = Counter(
        type(child).__name__ for child in module.modules() if not list(child.children())
    )
    width = max((len(name) for name in counts), default=0)
    for name, count in counts.most_common():
        print(f"{name:{width}}  {count:4}")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    print(f"{parameters:,} parameters")
    print("\n".join(result.report))
    if not result.right:
        print(
            "more than the tolerance: nothing is written; --rtol and --atol set another one",
            file=sys.stderr,
        )
        return 1
    if optimize:
        step("optimizing for inference")
        print("\n".join(describe(model, result.inputs)))
    step(f"writing {output}")
    weights = io.BytesIO()
    torch.save(module.state_dict(), weights)
    files = {output: source.encode(), weights_of(output): weights.getvalue()}
    write_together(files, force)
    print("wrote " + " and ".join(map(str, files)))
    return 0


def sizes(text: str) -> list[int]:
    """Parse sizes that are separated by commas; an empty text is the shape of a scalar.

    Raises:
        ValueError: A size is not an integer above zero.
    """
    found = [int(part) for part in text.split(",")] if text else []
    if any(size < 1 for size in found):
        raise ValueError(text)
    return found


def tolerance(text: str) -> float:
    """Parse a number that is not negative.

    Raises:
        ValueError: The text is not a number, or the number is negative or NaN.
    """
    found = float(text)
    if not found >= 0:
        raise ValueError(text)
    return found


def value_range(text: str) -> tuple[float, float]:
    """Parse the lowest and the highest value, separated by a comma.

    Raises:
        ValueError: The text is not two finite numbers in ascending order.
    """
    low, high = map(float, text.split(","))
    if not -math.inf < low <= high < math.inf:
        raise ValueError(text)
    return low, high


def _printable(text: str) -> str:
    """Escape what a terminal would take for commands; names in a file may contain it."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m samepad", description="SAME padding for PyTorch"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, threads, instruction set, plans")
    command = commands.add_parser("convert", help="a Keras, ONNX or TensorFlow model to PyTorch")
    command.add_argument(
        "model",
        type=Path,
        help="a .keras, .h5, .onnx, .tflite or .pb file, or the folder of a SavedModel",
    )
    command.add_argument(
        "-o", "--output", type=Path, required=True, help=".py file; the weights go beside it, .pt"
    )
    command.add_argument(
        "--input-layout",
        choices=("torch", "keras"),
        default="torch",
        help="of a Keras model: channels first, or as Keras has them",
    )
    command.add_argument("--class-name", default="Model")
    command.add_argument(
        "--input-shape",
        type=sizes,
        action="append",
        metavar="SIZES",
        help="such as 224,224,3: of the input for which outputs are compared, as the model has it, "
        "where the model leaves sizes open; once for each input, with or without the batch",
    )
    command.add_argument(
        "--input-range",
        type=value_range,
        action="append",
        metavar="LOW,HIGH",
        help="such as --input-range=-1,1: of the inputs for which outputs are compared; once for "
        "all, or once for each",
    )
    command.add_argument(
        "--rtol",
        type=tolerance,
        default=TOLERANCE,
        help="a larger difference, relative to the largest output, is looked into (%(default)s)",
    )
    command.add_argument(
        "--atol", type=tolerance, default=0.0, help="added to that, absolute (%(default)s)"
    )
    command.add_argument(
        "--force", action="store_true", help="replace output files that are there already"
    )
    command.add_argument(
        "--optimize",
        action="store_true",
        help="also show what samepad.optimize_for_inference makes of the module, and how fast both "
        "are on the inputs that were compared; what is written stays the same",
    )
    options = parser.parse_args(arguments)
    if options.command == "info":
        return info()
    if options.output.suffix != ".py":
        parser.error(f"the output must be a .py file, but got {options.output}")
    if not options.output.parent.is_dir():
        parser.error(f"there is no folder {options.output.parent}")
    for path in (options.output, weights_of(options.output)):
        if reason := refusal(path, options.force):
            parser.error(reason)
    try:
        opener(options.model)
    except ValueError as error:
        parser.error(str(error))
    settings = Settings(options.rtol, options.atol, options.input_shape, options.input_range)
    try:
        return convert(
            options.model,
            options.output,
            options.input_layout,
            options.class_name,
            settings,
            options.force,
            options.optimize,
        )
    except (ValueError, OSError, UnfinishedError) as error:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
        return 1
    except Exception as error:  # a broken or hostile file may cause any error
        print(f"error: {type(error).__name__}: {_printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(NOTHING_WRITTEN, file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
