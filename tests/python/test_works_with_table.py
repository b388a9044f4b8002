"""Tests that the manual's table "Works with" has exactly the rows that tests are marked with."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def row_names() -> set[str]:
    """Return the names that tests pass to `pytest.mark.row`."""
    names = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
                (name,) = node.args
                assert isinstance(name, ast.Constant), ast.unparse(node)
                names.add(name.value)
    return names


def test_the_table_has_a_row_for_each_tested_tool() -> None:
    section = (ROOT / "docs" / "works-with.md").read_text()
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]  # without the header
    assert set(rows) == row_names()
    assert len(rows) == len(set(rows))
