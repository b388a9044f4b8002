"""Differential fuzzing: compares random calls with the definitions, computed in NumPy.

To run more and other cases: `pytest tests/python/test_fuzz.py --fuzz-cases 1000000 --fuzz-seed 7`.
"""

from collections import Counter

import fuzzing
import pytest

BATCHES = 20

#: How many of 20,000 cases there must be of each kind, so that the generator does not draw only
#: easy cases.
COVERAGE = {
    **{f"{f}{d}d": 300 for f in ("conv", "max_pool", "avg_pool") for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": 300 for d in (1, 2, 3)},
    **dict.fromkeys(["pad", "same", "same_lower", "valid", "amounts", "pairs"], 1000),
    **dict.fromkeys(["causal", "k < s", "k > n", "empty", "dilated", "n = 1", "unbatched"], 300),
    **dict.fromkeys(["plan crop", "plan pad", "strided", "channels_last", "float32", "int64"], 200),
    **dict.fromkeys(["output_size", "output_padding", "ceil_mode", "count_include_pad"], 200),
    **dict.fromkeys(["return_indices", "divisor_override", "fill reflect", "fill circular"], 150),
    **dict.fromkeys(["pad reflect", "pad circular", "pad constant"], 100),
}


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_calls_agree_with_the_definitions(
    batch: int, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--fuzz-cases") // BATCHES
    seed = request.config.getoption("--fuzz-seed") * BATCHES + batch
    problems = []
    for case in fuzzing.cases(seed, count):
        found = fuzzing.problem(case)
        if found is not None:
            problems.append(f"{found}: from fuzzing import *; check({case!r})")
    assert not problems, "\n".join([f"{len(problems)} of {count} calls", *problems])


def test_the_cases_are_of_every_kind() -> None:
    counts = Counter[str]()
    for batch in range(BATCHES):
        for case in fuzzing.cases(batch, 1000):
            counts.update(fuzzing.tags(case))
    lacking = {tag: counts[tag] for tag, least in COVERAGE.items() if counts[tag] < least}
    assert not lacking


def test_a_wrong_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer notices an element of padding on the wrong side."""
    monkeypatch.setattr("naive.pads", lambda *_: (1, 0))
    assert any(fuzzing.problem(case) for case in fuzzing.cases(0, 50))
