"""The table of speed as a page, ``benchmarks/SPEED.md``."""

from __future__ import annotations

from typing import Any

from benchmarks.speed.row import Outcome, Row


def page(document: dict[str, Any], outcomes: list[Outcome]) -> str:
    """Markdown; ``document`` is what ``speed.json`` holds of ``outcomes``."""
    machine = document["machine"]
    small = " Small inputs, one turn: not to be reported." if document["quick"] else ""
    return "\n".join(
        [
            "# Speed",
            f"`make bench` on {machine['cores']} cores of a processor {machine['processor']}, "
            f"{machine['gpu'] or 'no GPU'}, torch {machine['torch']}.{small} Ratios are medians over the turns, with "
            "the lowest and the highest; each turn measures both things, one after the other. What bounds each row: "
            "[NOTES.md](NOTES.md).",
            "",
            "![Seen against wanted](speed.svg)",
            "",
            "| row | what | ours | beside | ratio | wanted | held |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *map(_line, outcomes),
            "",
        ]
    )


def wish(row: Row) -> str:
    """What is wanted of a row, in words."""
    side = "at most" if row.lower else "at least"
    return f"{side} {row.wanted:g}x" if row.of == "ratio" else f"{side} {row.wanted:,g} {row.unit}"


def _line(outcome: Outcome) -> str:
    row, (ratio, lowest, highest) = outcome.row, outcome.ratios
    return (
        f"| {row.name} | {row.what} | {outcome.ours:,.4g} {row.unit} | {outcome.other:,.4g} ({row.beside}) | "
        f"{ratio:.3g} ({lowest:.3g} to {highest:.3g}) | {wish(row)} | {'yes' if outcome.held else '**no**'} |"
    )
