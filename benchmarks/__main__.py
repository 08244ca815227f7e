"""``make bench``: run all benchmarks, print one table, write JSON to ``benchmarks/out``."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end import Row, measure

OUT = Path("benchmarks/out")


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Alternations of each pair.")
@click.option(
    "--comparisons", default=600, show_default=True, type=click.IntRange(10), help="Of the service, each round."
)
@click.option(
    "--loop", default=100, show_default=True, type=click.IntRange(5), help="Of the article's loop, each round."
)
def main(rounds: int, comparisons: int, loop: int) -> None:
    """Time the service against the article's loop, on generated signatures."""
    rows = measure(rounds, comparisons, loop)
    table = Table(title="Comparisons per second, end to end: submit to last result readable", title_justify="left")
    for column in ("workload", "service", "article's loop, seed", "ratio, median", "spread"):
        table.add_column(column, justify="left" if column == "workload" else "right")
    for row in rows:
        table.add_row(
            row.workload,
            f"{row.service:,.0f}",
            f"{row.loop:,.1f}",
            f"{row.ratio:.1f}x",
            f"{row.lowest:.1f} to {row.highest:.1f}",
        )
    Console().print(table)
    _write(rows, rounds, comparisons, loop)


def _write(rows: list[Row], rounds: int, comparisons: int, loop: int) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": {"processor": platform.processor(), "torch_threads": torch.get_num_threads()},
        "input": {"rounds": rounds, "comparisons": comparisons, "loop_comparisons": loop},
        "rows": [asdict(row) for row in rows],
    }
    (OUT / "end_to_end.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
