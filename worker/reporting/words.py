"""Figures of a report in words and small tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

UNKNOWN = "–"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def html(value: object) -> str:
    """``value`` as HTML: escaped, unless it is markup."""
    return value if isinstance(value, Markup) else escape(str(value))


def percent(share: Any, places: int = 1) -> str:
    """A share in 0..1 as a percentage; nothing known as a dash."""
    return f"{share * 100:.{places}f}%" if isinstance(share, int | float) else UNKNOWN


def number(value: Any) -> str:
    """A number, to four digits where it is no whole one; nothing known as a dash."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else UNKNOWN


def share(value: Any) -> str:
    """A number in 0..1 with three decimals; nothing known as a dash."""
    return f"{value:.3f}" if isinstance(value, int | float) else UNKNOWN


def ranged(figures: dict[str, Any], name: str, written: Callable[[Any], str] = percent) -> Markup:
    """A figure with its 95% interval below it."""
    low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
    told = written(figures.get(name))
    if low is None or high is None:
        return Markup(told)
    return Markup(f'{told}<span class="range">{written(low)} to {written(high)}</span>')


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table that scrolls on a narrow screen; the first cell of a row names it."""
    head = "".join(f'<th scope="col">{html(words)}</th>' for words in headings)
    body = []
    for row in rows:
        cells = "".join(f"<td>{html(cell)}</td>" for cell in row[1:])
        body.append(f'<tr><th scope="row">{html(row[0])}</th>{cells}</tr>')
    return Markup(
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption>{html(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names and values, one beside the other."""
    rows = "".join(f"<div><dt>{html(name)}</dt><dd>{html(value)}</dd></div>" for name, value in pairs)
    return Markup(f"<dl>{rows}</dl>")


def paragraph(words: str, kind: str = "") -> Markup:
    """A paragraph of plain text, or of markup."""
    chosen = f' class="{kind}"' if kind else ""
    return Markup(f"<p{chosen}>{html(words)}</p>")


def listing(items: Iterable[str]) -> Markup:
    """A list of sentences."""
    return Markup(f"<ul>{''.join(f'<li>{html(words)}</li>' for words in items)}</ul>")
