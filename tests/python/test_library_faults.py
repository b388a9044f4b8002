"""What PyTorch's own convolutions have computed wrongly is right, and crashes nothing.

All of it runs in child processes. `pytest tests/python/test_library_faults.py --fuzz-seed 7` draws
other calls, `--fuzz-cases 1000000` more of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import samepad
import torch

#: Random calls for each of `--fuzz-cases`.
SHARE = 1 / 320


def run(*arguments: object, isa: str = "DEFAULT") -> subprocess.CompletedProcess[str]:
    """library_faults.py in a child, whose fresh memory holds huge numbers and not zeros.

    Threads that wait for one another sleep, as there are more of them than cores.
    """
    environment = {
        "MALLOC_PERTURB_": "1",
        "ONEDNN_MAX_CPU_ISA": isa,
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return subprocess.run(
        [sys.executable, Path(__file__).with_name("library_faults.py"), *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


# What oneDNN runs where there is AMX, where there is not, and where there is no bfloat16.
ISAS = ["DEFAULT", "AVX512_CORE_BF16"]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("what", ["listed", "random"])
def test_convolutions_are_right(what: str, isa: str, request: pytest.FixtureRequest) -> None:
    arguments: list[object] = [what]
    if what == "random":
        count = request.config.getoption("--fuzz-cases") * SHARE
        seed = request.config.getoption("--fuzz-seed")
        arguments = [len(ISAS) * seed + ISAS.index(isa), int(count)]
    result = run(*arguments, isa=isa)
    lines = result.stdout.splitlines()
    wrong = [f"{lines[i - 1]}: {line}" for i, line in enumerate(lines) if line.startswith("WRONG")]
    died = [] if result.returncode == len(wrong) else [*lines[-1:], result.stderr[-1000:]]
    assert not wrong + died, "\n".join(wrong + died)


@pytest.mark.parametrize("way", ["module", "autocast", "compiled", "compiled with open sizes"])
def test_modules_are_right(way: str) -> None:
    result = run(way)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_reason_is_named() -> None:
    layer = samepad.SamePadConv2d(16, 16, 3, 2).half()
    explained = samepad.explain(layer, torch.zeros(2, 16, 8, 1, dtype=torch.half))
    assert explained.plan == "pad"
    assert "PyTorch is wrong" in explained.reason
    explained = samepad.explain(layer, torch.zeros(2, 16, 8, 8, dtype=torch.half))
    assert "wrong" not in explained.reason
