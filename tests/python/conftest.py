"""What all tests share."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", 'row(name): what this row of README\'s table under "Works with" says works'
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=20_000, help="random calls in test_fuzz.py")
    parser.addoption("--fuzz-seed", type=int, default=0, help="what they are drawn from")
