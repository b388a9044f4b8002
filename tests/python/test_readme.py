"""README's table of what samepad works with says what is tested, no more and no less."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def row_names() -> set[str]:
    """The names given to `pytest.mark.row` in the tests."""
    names = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
                (name,) = node.args
                assert isinstance(name, ast.Constant), ast.unparse(node)
                names.add(name.value)
    return names


def test_the_table_has_a_row_for_each_tested_tool() -> None:
    section = (ROOT / "README.md").read_text().split("## Works with\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]  # below the heads
    assert set(rows) == row_names()
    assert len(rows) == len(set(rows))
