"""A little SVG: axes, lines, bars and points, coloured by classes that the page's style sheet knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 400.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 22.0, 32.0, 46.0
_LETTER = 7.0  # how wide a letter is, about: SVG cannot say

Tick = tuple[float, str]  # a value, and how it is written
Scale = Callable[[float], float]

# Colours that are told apart by people who see red and green alike, on light and on dark; lines differ in dashes too.
STYLE = """
.plot{--ink:#1a2026;--dim:#56606b;--rule:#d3d8dd;--a:#1d4b8f;--b:#b3470f;--c:#6d3fa0;color-scheme:light dark}
@media (prefers-color-scheme:dark){
.plot{--ink:#e8ebee;--dim:#a5aeb8;--rule:#384049;--a:#94b9f2;--b:#ffb077;--c:#cfa8f5}
}
.plot text{fill:var(--dim);font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
.plot .rule{stroke:var(--rule);stroke-width:1;fill:none}
.plot .even{stroke:var(--dim);stroke-width:1;stroke-dasharray:2 3;fill:none}
.plot .mark{stroke:var(--ink);stroke-width:1.5;fill:none}
.plot .line{stroke-width:2;fill:none;stroke-linejoin:round}
.plot .a{stroke:var(--a)}.plot .b{stroke:var(--b)}.plot .c{stroke:var(--c)}
.plot .b.line{stroke-dasharray:7 4}.plot .c.line{stroke-dasharray:2 3}
.plot .bar{stroke-width:1.5;fill-opacity:.22}
.plot .bar.a,.plot .dot.a{fill:var(--a)}.plot .bar.b{fill:var(--b)}.plot .bar.c{fill:var(--c)}
""".strip()


@dataclass
class Plot:
    """One plot. ``x`` and ``y`` take values to 0..1 along the axes; ``title`` is read to those who cannot see it."""

    title: str
    x: Scale
    y: Scale
    parts: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)  # (class, words)

    def axes(self, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], x_label: str, y_label: str) -> None:
        """Rules, numbers and labels."""
        for value, words in x_ticks:
            x = self._x(value)
            self.parts.append(f'<path class="rule" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
            self.text(x, HEIGHT - BOTTOM + 16, words, "middle")
        for value, words in y_ticks:
            y = self._y(value)
            self.parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            self.text(LEFT - 6, y + 4, words, "end")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        turned = f' transform="rotate(-90 12 {middle:.1f})"'
        self.text(12, middle, y_label, "middle", turned)

    def text(self, x: float, y: float, words: str, anchor: str = "start", more: str = "") -> None:
        """Words at a place of the drawing."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>')

    def line(self, points: Iterable[tuple[float, float]], kind: str, words: str = "") -> None:
        """A line through points given as values; with ``words`` it is in the legend."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline class="{kind}" points="{path}"/>')
        if words:
            self.legend.append((kind, words))

    def outline(self, edges: Sequence[float], heights: Sequence[float], kind: str, words: str) -> None:
        """A histogram as one filled outline: ``edges`` are one more than ``heights``."""
        path = [f"M{self._x(edges[0]):.1f} {self._y(0):.1f}"]
        for right, height in zip(edges[1:], heights, strict=True):
            path.append(f"V{self._y(height):.1f}H{self._x(right):.1f}")
        self.parts.append(f'<path class="bar {kind}" d="{"".join(path)}V{self._y(0):.1f}Z"/>')
        self.legend.append((f"bar {kind}", words))

    def dot(self, x: float, y: float, radius: float, words: str) -> None:
        """A round mark; ``words`` show when it is pointed at."""
        place = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{radius:.1f}"'
        self.parts.append(f'<circle class="dot a" {place}><title>{escape(words)}</title></circle>')

    def render(self, style: str = "") -> str:
        """The whole as one ``svg`` element; with ``style`` as a file of its own."""
        sheet = f"<style>{style}</style>" if style else ""
        head = f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}"'
        named = f' role="img" aria-label="{escape(self.title)}">'
        return f"{head}{named}<title>{escape(self.title)}</title>{sheet}{''.join(self.parts)}{self._legend()}</svg>"

    def _legend(self) -> str:
        """In one line above the plot, where it hides nothing."""
        parts, x = [], LEFT
        for kind, words in self.legend:
            parts.append(f'<path class="{kind}" d="M{x:.1f} 13h24"/>')
            parts.append(f'<text x="{x + 30:.1f}" y="17" text-anchor="start">{escape(words)}</text>')
            x += 30 + _LETTER * len(words) + 16
        return "".join(parts)

    def _x(self, value: float) -> float:
        return LEFT + self.x(value) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - self.y(value) * (HEIGHT - TOP - BOTTOM)


def linear(low: float, high: float) -> Scale:
    """Values from ``low`` to ``high``, evenly; those beyond are put on the edge."""
    span = (high - low) or 1.0
    return lambda value: min(1.0, max(0.0, (value - low) / span))
