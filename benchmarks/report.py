"""The figures as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.tables import UNITS, Table, geometric_mean
from benchmarks.targets import SHARE_ABOVE, TARGETS, Outcome, evaluate


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _target_row(outcome: Outcome) -> list[str]:
    target = outcome.target
    return [
        target.name,
        f"/ {target.against}",
        f"<= {target.mean:.2f}",
        _figure(outcome.mean),
        "" if target.worst is None else f"<= {target.worst:.2f}",
        _figure(outcome.worst),
        "" if target.share is None else f"<= {target.share:.1%}",
        "" if target.share is None or outcome.share is None else f"{outcome.share:.1%}",
        {None: "not measured", True: "met", False: "**not met**"}[outcome.met],
    ]


def targets_markdown(tables: Iterable[Table]) -> str:
    """Every target, with what was measured and whether it is met."""
    tables = list(tables)
    above = f"share above {SHARE_ABOVE:.2f}"
    head = [
        *("samepad's", "ratio", "mean, target", "mean", "worst, target", "worst"),
        *(f"{above}, target", above, ""),
    ]
    return _markdown(head, [_target_row(evaluate(target, tables)) for target in TARGETS])


def _plain_markdown(table: Table) -> str:
    """Figures that are ratios already."""
    rows = [
        [label, *(_figure(value, 2) for value in row.values())] for label, row in table.rows.items()
    ]
    return f"### {table.title}\n\n{_markdown(['', *table.competitors], rows)}\n"


def table_markdown(table: Table) -> str:
    """The first competitor's figures, and the others' ratios to them."""
    if table.unit == "ratio":
        return _plain_markdown(table)
    base, *others = table.competitors
    ratios = {name: table.ratios(name, base) for name in others}
    head = [
        "",
        f"{base}, {table.unit}",
        *(f"{name} / {base}" for name in others),
        *table.extra,
    ]
    rows = [
        [
            label,
            _figure(row[base] * UNITS[table.unit]),
            *(_figure(ratios[name].get(label), 2) for name in others),
            *(f"{column[label]:.3g}" for column in table.extra.values()),
        ]
        for label, row in table.rows.items()
    ]
    means = [_figure(geometric_mean(ratios[name].values()), 2) for name in others]
    rows.append(["geometric mean", "", *means, *[""] * len(table.extra)])
    text = f"### {table.title}\n\n{_markdown(head, rows)}\n"
    return f"{text}\n{table.note}\n" if table.note else text


def markdown(environment: dict[str, Any], tables: list[Table]) -> str:
    """All of it."""
    described = " · ".join(f"{key} {value}" for key, value in environment.items())
    return "\n".join(
        [
            f"{described}\n",
            "### Targets\n",
            f"{targets_markdown(tables)}\n",
            *(table_markdown(table) for table in tables if table.reported),
            *([] if "cuda" in environment else ["CUDA: not measured.\n"]),
        ]
    )
