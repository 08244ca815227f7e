"""What a bank needs for so many comparisons a night, from the figures of ``make bench``; fills in ``docs/CAPACITY.md``.

``python -m benchmarks.capacity`` reads ``benchmarks/speed.json`` and rewrites what stands between the two marks.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from shared.networks import NETWORKS

FIGURES = Path("benchmarks/speed.json")
PAGE = Path("docs/CAPACITY.md")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NIGHT = 8 * 3600.0  # seconds
NIGHTS = (1_000_000, 10_000_000, 100_000_000)  # comparisons
FRESH = 1.0  # images of a comparison that nobody has encoded: the questioned one, the reference is known
IMAGE_BYTES, ROW_BYTES, KEY_BYTES = 12_000, 600, 190  # of an image, a comparison with its result, an embedding's key
NUMBER_BYTES = 4  # of an embedding
DEFAULT, OTHER = "ink", "compact"  # networks
SPARE = 0.7  # the share of a rate that is planned with


@dataclass(frozen=True, slots=True)
class Rates:
    """What one machine does with models of one network. Each is a rate per second."""

    network: str
    images: float  # that one worker encodes, with all cores
    rows: float  # comparisons of known images, from submission to results: intake, scoring and the database
    inserts: float  # rows that SQLite takes, if nothing else is done

    @classmethod
    def of(cls, document: dict[str, Any]) -> tuple[Rates, Rates]:
        """Those of the table of speed, of the default network and of another.

        Raises:
            click.ClickException: a row that is needed was not measured.
        """
        rows = {row["name"]: row for row in document["rows"]}
        missing = {"no-reuse-ink", "known-ink", "no-reuse-compact", "known", "workers"} - rows.keys()
        if missing:
            raise click.ClickException(f"{FIGURES} has no row {', '.join(sorted(missing))}; run make bench")
        inserts = rows["known"]["other"]
        return (
            cls(DEFAULT, 2 * rows["no-reuse-ink"]["ours"], rows["known-ink"]["ours"], inserts),
            cls(OTHER, 2 * rows["no-reuse-compact"]["ours"], rows["known"]["ours"], inserts),
        )


@dataclass(frozen=True, slots=True)
class Need:
    """What one night takes. ``workers`` are machines like the one measured; ``storage`` is GB a night."""

    comparisons: int
    network: str
    encoding: float  # hours of one worker
    rows: float  # hours of one database
    workers: int
    database: str
    storage: float


def need(rates: Rates, comparisons: int) -> Need:
    """Encoding and rows share a machine's time: a worker does both, the database takes what all workers bring."""
    encoding = comparisons * FRESH / rates.images
    rows = comparisons / rates.rows
    workers = math.ceil((encoding + rows) / (NIGHT * SPARE))
    embedding = NUMBER_BYTES * NETWORKS[rates.network].representation + KEY_BYTES
    stored = comparisons * (FRESH * (IMAGE_BYTES + embedding) + ROW_BYTES) / 1e9
    database = _database(rates, comparisons, workers)
    return Need(comparisons, rates.network, encoding / 3600, rows / 3600, workers, database, stored)


def processes(alone: float, count: int, share: float) -> float:
    """Images per second of several processes, of which each keeps ``share`` of its time to itself (Amdahl)."""
    return alone * count / (count * (1 - share) + share)


def _database(rates: Rates, comparisons: int, workers: int) -> str:
    if comparisons / rates.inserts > NIGHT * SPARE:
        return "PostgreSQL, results in partitions"
    return "SQLite" if workers == 1 else "PostgreSQL"


def figures(document: dict[str, Any]) -> str:
    """The part of the page that is computed, Markdown."""
    both = Rates.of(document)
    machine = document["machine"]
    lines = [
        f"Measured on {machine['cores']} cores, {machine['gpu'] or 'no GPU'}"
        + (", with small inputs: not for planning." if document["quick"] else "."),
        "",
        "| rate, a second | " + " | ".join(f"`{rates.network}`" for rates in both) + " |",
        "| --- | --- | --- |",
        "| images that a worker encodes | " + " | ".join(f"{rates.images:,.0f}" for rates in both) + " |",
        "| comparisons of known images, end to end | " + " | ".join(f"{rates.rows:,.0f}" for rates in both) + " |",
        f"| rows that SQLite takes, nothing else done | {both[0].inserts:,.0f} | the same |",
        "",
        "| comparisons a night | network | encoding, hours of a worker | rows, hours | workers | database | GB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_line(need(rates, comparisons)) for comparisons in NIGHTS for rates in both),
        "",
        *_checked(document),
    ]
    return "\n".join(lines)


def _line(wanted: Need) -> str:
    hours = f"{wanted.encoding:,.1f} | {wanted.rows:,.1f}"
    return (
        f"| {wanted.comparisons:,} | `{wanted.network}` | {hours} | {wanted.workers:,} | "
        f"{wanted.database} | {wanted.storage:,.1f} |"
    )


def _checked(document: dict[str, Any]) -> list[str]:
    """The model against a run: its one number is taken from two processes, four are predicted."""
    rows = {row["name"]: row for row in document["rows"]}
    if "processes-4" not in rows:
        return ["Four processes were not measured."]
    alone, two, four = rows["workers"]["other"], rows["workers"]["ours"], rows["processes-4"]["ours"]
    share = min(1.0, max(0.0, 2 - 2 / rows["workers"]["ratio"]["median"]))
    predicted = processes(alone, 4, share)
    off = round(predicted / four - 1, 2) + 0.0  # 0.0: no "-0%" for a rounding of the last bit
    return [
        "| processes (network of 5 ms) | images a second | predicted |",
        "| --- | --- | --- |",
        f"| 1 | {alone:,.0f} | |",
        f"| 2 | {two:,.0f} | (the model's number comes from here) |",
        f"| 4 | {four:,.0f} | {predicted:,.0f} ({off:+.0%}) |",
    ]


def fill_in(page: str, computed: str) -> str:
    """``page`` with what is computed between the marks."""
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    return f"{head}{BEGIN}\n{computed}\n{END}{tail}"


@click.command()
def main() -> None:
    """Fill in docs/CAPACITY.md from benchmarks/speed.json."""
    if not FIGURES.exists():
        raise click.ClickException(f"{FIGURES} is not there; run make bench")
    PAGE.write_text(fill_in(PAGE.read_text(), figures(json.loads(FIGURES.read_text()))))
    click.echo(f"Written to {PAGE}.")


if __name__ == "__main__":
    main()
