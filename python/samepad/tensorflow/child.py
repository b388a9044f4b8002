"""The process that converts a file by tf2onnx; samepad.tensorflow.converting starts it.

It writes model.onnx and answer.json into its working directory. The answer has the
"signature" of a SavedModel that was converted, a "refusal" of the file, or a "failure" of tf2onnx.
It ends when its standard input is closed, as happens when the process that started it is killed.
"""

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from samepad.tensorflow.graphs import RefusedError, graph_ends, read_graph, read_saved_model

#: The newest set of ONNX's operators that tf2onnx has been tried with here.
_OPSET = "17"


class _Errors(logging.Handler):
    """Collects what tf2onnx logs as errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _options(order: dict[str, Any], answer: dict[str, str]) -> list[str]:
    """Check a file, and return the options of tf2onnx's command for it.

    Raises:
        RefusedError: The file is broken or is refused, or an argument does not fit it.
    """
    path = order["path"]
    if order["kind"] == "tflite":
        return ["--tflite", path]
    if order["kind"] == "saved_model":
        answer["signature"] = read_saved_model(Path(path), order["signature"])
        options = ["--saved-model", path, "--tag", "serve"]
        return [*options, "--signature_def", answer["signature"]]
    graph = read_graph(Path(path))
    ends = graph_ends(graph, order["inputs"], order["outputs"])
    options = ["--graphdef", path, "--inputs", ",".join(ends.inputs)]
    options += ["--outputs", ",".join(ends.outputs)]
    if ends.defaults:
        options += ["--use_default", ",".join(ends.defaults)]
    return options


def _convert(order: dict[str, Any]) -> dict[str, str]:
    """Convert the file; return the answer."""
    answer: dict[str, str] = {}
    try:
        options = _options(order, answer)
    except RefusedError as error:
        return {"refusal": " ".join(str(error).split())}
    errors = _Errors()
    try:
        from tf2onnx import convert

        logging.getLogger("tf2onnx").addHandler(errors)
        sys.argv = ["tf2onnx.convert", *options, "--opset", _OPSET, "--output", "model.onnx"]
        convert.main()
    except (Exception, SystemExit) as error:  # whatever tf2onnx raises
        reasons = dict.fromkeys([*errors.messages, str(error) or type(error).__name__])
        return {"failure": " ".join("; ".join(reasons).split())}
    if errors.messages:  # it has left out what it cannot convert
        return {"failure": " ".join("; ".join(dict.fromkeys(errors.messages)).split())}
    return answer


def _end_with_input() -> None:
    """Wait until the standard input is closed, and end the process."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    Path("answer.json").write_text(json.dumps(_convert(json.loads(sys.argv[1]))))
