"""Converts TensorFlow's files to ONNX by tf2onnx, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Packages that a conversion needs, each with what to install.
_NEEDED = {"tf2onnx": "tf2onnx", "onnx": "onnx", "tensorflow": "tensorflow-cpu"}

#: What to do when tf2onnx fails.
_ADVICE = (
    "if the model was made in Keras, samepad.keras.load_model reads its .keras or .h5 file without "
    "tf2onnx; else simplify the model in TensorFlow, or try another version of tf2onnx"
)


@dataclass(frozen=True)
class Exported:
    """A file that was converted to ONNX."""

    path: Path
    #: "tflite", "saved_model" or "graph".
    kind: str
    #: The onnx.ModelProto.
    proto: Any
    #: The name of the signature that was converted, of a SavedModel.
    signature: str | None


_SAVED_MODEL = "saved_model.pb"


def is_saved_model(path: Path) -> bool:
    """Whether a path is the folder of a SavedModel."""
    return (path / _SAVED_MODEL).is_file()


def kind_of(path: Path) -> str:
    """Return "tflite", "saved_model" or "graph".

    Raises:
        ValueError: There is no such file, or it is of none of these kinds.
    """
    if is_saved_model(path):
        return "saved_model"
    if not path.is_file():
        raise ValueError(f"there is no file or SavedModel {path}")
    if path.name == _SAVED_MODEL:
        raise ValueError(f"{path} is part of a SavedModel: pass the folder {path.parent}")
    kinds = {".tflite": "tflite", ".pb": "graph"}
    if path.suffix.lower() not in kinds:
        raise ValueError(
            f"expected a .tflite file, the folder of a SavedModel, or a .pb file, but got {path}"
        )
    return kinds[path.suffix.lower()]


def export(
    path: Path,
    signature: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Exported:
    """Convert a file to ONNX; the arguments and errors are samepad.tensorflow.load's.

    TensorFlow and tf2onnx run in another process, because they change settings of the process that
    they are in, and because a broken file can end it.
    """
    kind = kind_of(path)
    if signature is not None and kind != "saved_model":
        raise ValueError(f"signature is {signature!r}, but {path} is no SavedModel")
    for name, given in (("inputs", inputs), ("outputs", outputs)):
        if given is not None and kind != "graph":
            raise ValueError(f"{name} is {given!r}, but {path} is no frozen graph")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        install = " ".join(_NEEDED[name] for name in missing)
        raise ImportError(f"{path} needs {' and '.join(missing)}: pip install {install}")
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        order = {
            "kind": kind,
            "path": str(path.resolve()),
            "signature": signature,
            "inputs": inputs and list(inputs),
            "outputs": outputs and list(outputs),
        }
        answer = _ask(Path(folder), order)
        if "refusal" in answer:
            raise ValueError(f"{path}: {answer['refusal']}")
        if "failure" in answer:
            raise ValueError(f"tf2onnx cannot convert {path}: {answer['failure']}; {_ADVICE}")
        proto = onnx.load(Path(folder) / "model.onnx")
    return Exported(path, kind, proto, answer.get("signature"))


def _ask(folder: Path, order: dict[str, Any]) -> dict[str, str]:
    """Run samepad.tensorflow.child in an empty folder, and return its answer."""
    paths = [str(Path(entry).resolve()) for entry in sys.path]
    # Nothing is written to this pipe. If this process is killed, its end is closed, and the child,
    # which reads the other end, ends too.
    reading, writing = os.pipe()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "samepad.tensorflow.child", json.dumps(order)],
            cwd=folder,  # Python looks for modules in this folder first
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(paths),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "-1",
            },
            stdin=reading,
            capture_output=True,
            text=True,
            errors="replace",
        )
    finally:
        os.close(reading)
        os.close(writing)
    answer = folder / "answer.json"
    if answer.is_file():
        found: dict[str, str] = json.loads(answer.read_text())
        return found
    lines = result.stderr.strip().splitlines() or ["no message"]
    return {"failure": f"its process ended with status {result.returncode}: {lines[-1]}"}
