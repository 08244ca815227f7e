"""``make bench``: measure the rows of the table of speed, print it, write it to ``SPEED.md`` with a chart."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed import SUBJECTS
from benchmarks.speed.chart import chart
from benchmarks.speed.page import page, wish
from benchmarks.speed.row import Outcome, Plan, Sample, Subject

OUT = Path("benchmarks/out")  # of quick runs
KEPT = Path("benchmarks")  # of those to report
NAMES = [row.name for subject in SUBJECTS for row in subject.rows]


@click.command()
@click.option("--only", multiple=True, metavar="ROW", help="Only this row; may be repeated. A beginning will do.")
@click.option("--quick", is_flag=True, help="Small inputs and one turn: to look for what is slow, not to report.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Turns of each row.")
@click.option("--list", "listed", is_flag=True, help="Name the rows and stop.")
def main(only: tuple[str, ...], quick: bool, rounds: int, listed: bool) -> None:
    """Measure speed: each row two things in turns, as a ratio with its spread."""
    if listed:
        click.echo("\n".join(NAMES))
        return
    chosen = [subject for subject in SUBJECTS if _wanted(subject, only)]
    if not chosen:
        raise click.BadParameter(f"no such row; there are {', '.join(NAMES)}", param_hint="--only")
    outcomes = [outcome for subject in chosen for outcome in _run(subject, quick, 1 if quick else rounds)]
    Console(width=160).print(_table(outcomes))
    _write(outcomes, quick)


def _wanted(subject: Subject, only: tuple[str, ...]) -> bool:
    return not only or any(row.name.startswith(name) for row in subject.rows for name in only)


def _run(subject: Subject, quick: bool, rounds: int) -> list[Outcome]:
    samples: list[Sample] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for sample in subject.measure(Plan(Path(folder), rounds, quick)):
            click.echo(f"{sample.row}: {sample.ours:,.4g} beside {sample.other:,.4g}", err=True)
            samples.append(sample)
    click.echo(f"({time.monotonic() - started:.0f} s)", err=True)
    seen = [Outcome(row, tuple(s for s in samples if s.row == row.name)) for row in subject.rows]
    return [outcome for outcome in seen if outcome.samples]


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(
        title="Speed; ratios are medians over the turns, with the lowest and the highest", title_justify="left"
    )
    for column in ("row", "what", "ours", "beside", "", "ratio", "spread", "wanted", "held"):
        right = column in ("ours", "beside", "ratio", "wanted")
        table.add_column(column, justify="right" if right else "left")
    for outcome in outcomes:
        row, (ratio, lowest, highest) = outcome.row, outcome.ratios
        table.add_row(
            row.name,
            row.what,
            f"{outcome.ours:,.4g} {row.unit}",
            f"{outcome.other:,.4g}",
            row.beside,
            f"{ratio:.3g}",
            f"{lowest:.3g} to {highest:.3g}",
            wish(row),
            "yes" if outcome.held else "no",
        )
    return table


def _write(outcomes: list[Outcome], quick: bool) -> None:
    """To ``benchmarks/speed.*`` and ``SPEED.md``, beside the rows that were measured before; a quick run apart."""
    folder = OUT if quick else KEPT
    folder.mkdir(parents=True, exist_ok=True)
    machine = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
    figures = folder / "speed.json"
    before = json.loads(figures.read_text()) if figures.exists() else {}
    known = [Outcome.of(row) for row in before["rows"]] if before.get("machine") == machine else []
    found = {outcome.row.name: outcome for outcome in [*known, *outcomes]}
    every = [found[name] for name in NAMES if name in found]
    document = {"machine": machine, "quick": quick, "rows": [outcome.document() for outcome in every]}
    figures.write_text(json.dumps(document, indent=2) + "\n")
    (folder / "speed.svg").write_text(chart(every))
    (folder / "SPEED.md").write_text(page(document, every))
    click.echo(f"Written to {folder}/: speed.json, speed.svg, SPEED.md")


def _processor() -> str:
    """The processor's name, as Linux tells it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
