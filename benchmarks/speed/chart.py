"""The table as a chart: how far each row is from what is wanted of it."""

from __future__ import annotations

from html import escape
from math import log10

from benchmarks.speed.row import Outcome

WIDTH, LINE, LABELS, MARGIN = 900, 26, 330, 20  # pixels
REACH = 1.0  # decades to either side of "as wanted"


def chart(outcomes: list[Outcome]) -> str:
    """An SVG: a bar for each row, seen over wanted on a logarithmic scale; to the right is better."""
    height = LINE * (len(outcomes) + 2)
    middle = LABELS + (WIDTH - LABELS - MARGIN) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12" role="img"><title>How far each row is from what is wanted</title>',
        f'<text x="{MARGIN}" y="16" font-weight="bold">Seen against wanted; right of the line: better</text>',
        *(_bar(outcome, LINE * (place + 1), middle) for place, outcome in enumerate(outcomes)),
        f'<line x1="{middle}" y1="{LINE}" x2="{middle}" y2="{height - LINE}" stroke="#222"/>',
        *(_tick(decade, middle, height) for decade in (-1, 0, 1)),
        "</svg>\n",
    ]
    return "\n".join(parts)


def margin_of(outcome: Outcome) -> float:
    """How many times better than wanted; below 1: worse."""
    seen, wanted = max(outcome.seen, 1e-9), outcome.row.wanted
    return wanted / seen if outcome.row.lower else seen / wanted


def _place(ratio: float, middle: float) -> float:
    decades = max(-REACH, min(REACH, log10(ratio)))
    return middle + decades / REACH * (WIDTH - MARGIN - middle)


def _bar(outcome: Outcome, top: float, middle: float) -> str:
    ratio = margin_of(outcome)
    end = _place(ratio, middle)
    colour = "#2b7a4b" if outcome.held else "#b3402e"
    return (
        f'<text x="{MARGIN}" y="{top + 16}">{escape(outcome.row.name)}: {outcome.seen:,.4g} '
        f"(wanted {outcome.row.wanted:,g})</text>"
        f'<rect x="{min(middle, end):.1f}" y="{top + 5}" width="{abs(end - middle):.1f}" height="{LINE - 10}" '
        f'fill="{colour}"/>'
    )


def _tick(decade: int, middle: float, height: float) -> str:
    at = _place(10.0**decade, middle)
    return f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle">{10.0**decade:g}x</text>'
