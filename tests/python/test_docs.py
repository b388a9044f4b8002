"""Runs the Python blocks of each guide in order, as a reader would."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import re
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
#: Scripts that show what PyTorch gets wrong: they raise errors, or crash the process, on purpose.
FAULTS = "pytorch-convolution-faults.md"
GUIDES = sorted(path.name for path in DOCS.glob("*.md") if path.name != FAULTS)


def test_there_are_guides() -> None:
    assert {"porting-from-keras.md", "porting-from-onnx.md", "why-other-numbers.md"} <= set(GUIDES)


# torch's ONNX exporter itself causes these warnings.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("guide", GUIDES)
def test_guide(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / guide).read_text(), re.M | re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # Another guide may have imported its own modules of these names.
    for module in ("model", "onnx_net"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    namespace: dict[str, Any] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{guide}, block {number}", "exec"), namespace)
