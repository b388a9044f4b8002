"""The command `python -m samepad`."""

import argparse
import io
import platform
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import samepad
from samepad import _build
from samepad._files import OPENERS
from samepad.keras.errors import saved_model
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
        "plans": ", ".join(samepad.backends.plans()),
        "plans by measurement": samepad.backends.benchmark,
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
    return 0


def write_together(contents: dict[Path, bytes]) -> None:
    """Write files of one folder, all or none: where one fails, what was there before is back.

    Raises:
        ValueError: Nothing can be written to the folder.
        OSError: One fails.
    """
    (folder,) = {path.parent for path in contents}
    try:
        temporary = tempfile.TemporaryDirectory(dir=folder, prefix=".samepad-")
    except OSError as error:  # which names the temporary folder
        names = " and ".join(map(str, contents))
        raise ValueError(f"cannot write {names}: {error.strerror}") from error
    with temporary as aside:
        new, old = Path(aside) / "new", Path(aside) / "old"
        new.mkdir()
        old.mkdir()
        for path, content in contents.items():
            (new / path.name).write_bytes(content)
        try:
            for path in contents:
                if path.exists():
                    path.replace(old / path.name)
                (new / path.name).replace(path)
        except BaseException:  # Ctrl-C too
            for path in contents:
                if not (new / path.name).exists():
                    path.unlink(missing_ok=True)
                if (old / path.name).exists():
                    (old / path.name).replace(path)
            raise


def weights_of(output: Path) -> Path:
    """The file for the weights of what is written."""
    return output.with_suffix(".pt")


def convert(
    model: Path, output: Path, layout: Any, class_name: str, shapes: list[list[int]] | None
) -> int:
    """Convert a file to a .py file and the weights beside it; outputs are compared for inputs of
    these shapes."""

    def step(number: int, what: str) -> None:
        print(f"[{number}/4] {what}", file=sys.stderr)

    step(1, f"loading {model}")
    file = OPENERS[model.suffix.lower()](model)
    step(2, "converting")
    module, run = file.module(layout)
    source = write_source(module, class_name)
    step(3, "comparing outputs for random input")
    worst = file.difference(run, shapes)

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
    step(4, f"writing {output}")
    weights = io.BytesIO()
    torch.save(module.state_dict(), weights)
    files = {output: source.encode(), weights_of(output): weights.getvalue()}
    write_together(files)
    print("wrote " + " and ".join(map(str, files)))
    return 0


def sizes(text: str) -> list[int]:
    """Sizes with commas between them.

    Raises:
        ValueError: One is no number above zero.
    """
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise ValueError(text)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m samepad", description="SAME padding for PyTorch"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, threads, instruction set, plans")
    command = commands.add_parser("convert", help="a Keras or ONNX model to PyTorch")
    command.add_argument("model", type=Path, help="a .keras, .h5 or .onnx file")
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
    options = parser.parse_args(arguments)
    if options.command == "info":
        return info()
    if advice := saved_model(options.model):
        parser.error(f"{options.model}: {advice}")
    if not options.model.is_file():
        parser.error(f"there is no file {options.model}")
    if options.output.suffix != ".py":
        parser.error(f"the output must be a .py file, but got {options.output}")
    if not options.output.parent.is_dir():
        parser.error(f"there is no folder {options.output.parent}")
    for path in (options.output, weights_of(options.output)):
        if path.is_dir():
            parser.error(f"{path} is a folder, where a file is to be written")
    if options.model.suffix.lower() not in OPENERS:
        parser.error(f"the model must end in {' or '.join(OPENERS)}, but got {options.model}")
    try:
        return convert(
            options.model,
            options.output,
            options.input_layout,
            options.class_name,
            options.input_shape,
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is written", file=sys.stderr)
        return 130  # as shells have it


if __name__ == "__main__":
    sys.exit(main())
