"""Runs the Python blocks of each page in order, as a reader would, and follows its links."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pictures
import pytest
import samepad

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Scripts that show what PyTorch gets wrong: they raise errors, or crash the process, on purpose.
FAULTS = "docs/pytorch-convolution-faults.md"
#: README and all pages of the manual.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
}
BLOCKS = {
    page: re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    for page, text in PAGES.items()
    if page != FAULTS
}
GUIDES = [page for page, blocks in BLOCKS.items() if blocks]


def test_there_are_guides() -> None:
    guides = {
        "converting",
        "exporting-and-quantizing",
        "inference",
        "modules",
        "porting-from-jax",
        "porting-from-keras",
        "porting-from-onnx",
        "porting-from-tensorflow",
        "speed",
        "tutorial",
        "why-other-numbers",
    }
    assert {"README.md", *(f"docs/{guide}.md" for guide in guides)} == set(GUIDES)


@pytest.fixture(autouse=True)
def _jax_computes_in_single_precision() -> Iterator[None]:
    """Undo what tests that compare with JAX in float64 set for the whole process."""
    wide = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", wide)


@pytest.fixture(autouse=True)
def _plans_are_not_measured() -> Iterator[None]:
    """Undo what the page on speed shows."""
    yield
    samepad.backends.benchmark = False


# torch's ONNX exporter itself causes these warnings.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("guide", GUIDES)
def test_guide(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # Another guide may have imported its own modules of these names.
    for module in ("model", "onnx_net"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    namespace: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS[guide], 1):
        exec(compile(block, f"{guide}, block {number}", "exec"), namespace)


def anchors(text: str) -> set[str]:
    """Return the names by which the headings of a page can be linked to, as GitHub makes them."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", without_code, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


FILES = [
    *PAGES,
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "csrc/kernels/README.md",
]


@pytest.mark.parametrize("file", FILES)
def test_links_lead_to_files_and_headings(file: str) -> None:
    """Sphinx checks the manual's; this checks them as a page that shows the repository does."""
    text = re.sub(r"^```.*?^```", "", (ROOT / file).read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if ":" in target or target.startswith("generated/") or "/generated/" in target:
            continue
        path, _, heading = target.partition("#")
        found = (ROOT / file).parent / path if path else ROOT / file
        assert found.exists(), target
        if heading:
            assert heading in anchors(found.read_text()), target


def test_every_picture_that_is_drawn_is_shown() -> None:
    shown = re.findall(r"generated/([\w-]+)\.svg", (DOCS / "semantics.md").read_text())
    assert sorted(shown) == sorted(pictures.PICTURES)
