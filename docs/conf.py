"""Builds the manual: `make docs` runs Doxygen over the C++ headers first, then Sphinx.

The pages of this folder are also read as they are, on a page that shows repositories, so that links
between them name files. Files outside of this folder that belong to the manual (CONTRIBUTING.md and
others) have a page each that includes them; `INCLUDED` says where links to them lead.
"""

import os
import re
import sys
import zlib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
BUILD = ROOT / "build" / "docs"
sys.path.insert(0, str(DOCS))  # for pictures.py

import pictures  # noqa: E402
import samepad  # noqa: E402

project = "samepad"
author = "the authors of samepad"
version = release = samepad.__version__

extensions = [
    "breathe",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = f"samepad {version}"
exclude_patterns = ["generated"]
nitpicky = True

# Headings of the levels 1 to 3 can be linked to, by the names that GitHub gives them too.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
# The types of arguments are in the signatures; repeated in the lists below them they would hide
# what the lists say.
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_use_rtype = False

# The entries of torch's inventory that are used, because the build has to give the same result
# without a network. A warning says when an entry is missing.
TORCH_INVENTORY = BUILD / "torch.inv"
intersphinx_mapping = {"torch": ("https://docs.pytorch.org/docs/stable/", str(TORCH_INVENTORY))}

breathe_projects = {"samepad": str(BUILD / "doxygen" / "xml")}
breathe_default_project = "samepad"

# What has no page to link to: the C++ of LibTorch and of the standard library, which has no Sphinx
# inventory, and classes of Python's standard library and of other packages.
nitpick_ignore_regex = [("cpp:.*", r".*"), ("py:.*", r"(?!samepad|torch).*")]

# Breathe links each class to a page of its header file, which there is none of. No page here refers
# to anything by such labels; MyST's own warnings are about all other links.
suppress_warnings = ["ref.ref"]

#: Files outside of this folder, each with the page that includes it.
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "csrc/kernels/README.md": "kernels.md",
    **{
        f"benchmarks/results/{machine}.md": f"results/{machine}.md"
        for machine in ("amd-1-thread", "amd-2-threads", "intel-1-thread", "intel-2-threads")
    },
}

_LINK = re.compile(r"(?P<start>\]\()(?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def redirect_links(text: str, file: Path, page: Path) -> str:
    """Make the links of `file` right in `page`, which includes it."""

    def redirected(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(file.parent / link["path"])).relative_to(ROOT).as_posix()
        found = DOCS / INCLUDED[target] if target in INCLUDED else ROOT / target
        path = os.path.relpath(found, page.parent)
        return f"{link['start']}{path}{link['anchor'] or ''})"

    return _LINK.sub(redirected, text)


def read_page(_app: Sphinx, name: str, content: list[str]) -> None:
    """Redirect the links of a page to files outside of this folder."""
    page = DOCS / f"{name}.md"
    content[0] = redirect_links(content[0], page, page)


def read_included(_app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    """Redirect the links of a file that a page includes."""
    if path.suffix == ".md":
        content[0] = redirect_links(content[0], (DOCS / path).resolve(), DOCS / f"{name}.md")


def mark_code(
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """Mark the indented lines of a docstring as code. (The parts of its lists follow no blank.)"""
    for number in range(len(lines) - 1, 1, -1):
        above, blank, line = lines[number - 2 : number + 1]
        if above and not above.startswith(" ") and not blank and line.startswith("    "):
            lines[number:number] = [".. code-block:: python", ""]


def write_torch_inventory() -> None:
    """Write torch-inventory.txt in the format that Sphinx reads, whose body is compressed."""
    entries = (DOCS / "torch-inventory.txt").read_bytes()
    header = b"# Sphinx inventory version 2\n# Project: PyTorch\n# Version:\n# compressed by zlib\n"
    BUILD.mkdir(parents=True, exist_ok=True)
    TORCH_INVENTORY.write_bytes(header + zlib.compress(entries))


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the files that the pages need, and follow the reading of pages."""
    write_torch_inventory()
    pictures.draw_all(DOCS / "generated")
    # Before napoleon, which has the default priority, 500.
    app.connect("autodoc-process-docstring", mark_code, priority=400)
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True}
