"""The generator's alphabet: letter-like action plans, as virtual targets and turns.

Each form is a string of pen-down runs separated by ``|``; each run is a list of ``x y bend`` separated by ``;``.
x and y are in hundredths of the x-height, y upwards from the baseline; the bend of the stroke that leads to the point
is in degrees, counter-clockwise positive. In small letters the first run joins on to the letter before, so its first
point is already a target; in capitals and in later runs (dots, bars) the first point is where the pen comes down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

_SMALL = {
    "a": "80 92 -30; 32 2 150; 84 98 60; 88 2 10; 118 18 90",
    "b": "62 205 50; 36 5 45; 78 60 110; 45 95 60; 100 82 60",
    "c": "72 86 -40; 40 0 165; 92 18 70",
    "d": "78 88 -30; 34 0 150; 90 200 40; 88 4 5; 118 18 90",
    "e": "58 50 20; 34 98 140; 42 0 110; 92 20 75",
    "f": "64 200 50; 32 -85 30; 52 5 150; 92 18 30",
    "g": "80 92 -30; 32 2 150; 84 98 60; 70 -95 -10; 40 -60 -130; 112 15 -40",
    "h": "58 205 50; 26 0 40; 66 98 -95; 78 2 -45; 110 18 90",
    "i": "42 100 0; 42 4 5; 78 18 90 | 52 150 0; 57 158 0",
    "k": "58 205 50; 26 0 40; 78 92 -60; 36 52 -150; 86 2 30; 112 18 70",
    "l": "62 205 50; 40 4 45; 78 18 90",
    "m": "22 98 0; 22 2 5; 58 98 -90; 64 2 -40; 102 98 -90; 112 2 -40; 142 18 90",
    "n": "24 98 0; 22 2 5; 64 98 -90; 76 2 -45; 106 18 90",
    "o": "64 95 -25; 32 2 150; 66 94 155; 102 84 80",
    "p": "36 105 0; 26 -95 5; 40 90 -30; 84 50 -110; 40 2 -110; 100 15 60",
    "q": "80 92 -30; 32 2 150; 84 98 60; 78 -95 0; 112 10 130",
    "r": "34 108 0; 60 88 80; 56 4 -30; 90 18 85",
    "s": "54 104 0; 58 12 -110; 22 12 -90; 92 16 60",
    "t": "52 165 0; 46 4 5; 84 18 90 | 18 118 0; 88 124 -5",
    "u": "32 98 0; 36 6 10; 80 98 95; 82 4 5; 112 18 90",
    "v": "24 96 -20; 46 0 10; 84 96 60; 112 84 50",
    "w": "26 96 0; 34 4 10; 68 92 80; 72 4 10; 112 96 80; 136 84 50",
    "y": "32 98 0; 40 6 10; 82 98 90; 66 -95 -10; 36 -60 -130; 112 15 -40",
    "z": "26 90 -40; 74 86 -40; 30 4 -10; 60 -90 -90; 36 -60 -130; 108 12 -40",
}

_CAPITAL = {
    "A": "0 0 0; 78 225 10; 108 2 0; 132 16 70 | 18 82 0; 118 92 -10",
    "A2": "112 180 0; 30 60 130; 104 70 120; 118 190 50; 124 4 0; 154 18 80",
    "B": "12 215 0; 4 0 0 | -18 178 0; 82 172 -110; 28 114 -130; 92 52 -130; -4 4 -120",
    "C": "116 178 0; 66 222 110; 12 95 75; 60 0 80; 132 36 70",
    "D": "24 214 0; 16 4 8; 122 120 120; 22 222 110; -14 186 80",
    "E": "104 188 0; 38 118 170; 66 112 -200; 50 0 165; 128 34 75",
    "F": "34 222 0; 20 2 0; -14 18 -90 | -22 198 0; 42 220 -50; 136 214 40 | 14 112 0; 88 120 0",
    "G": "116 186 0; 66 222 110; 12 105 75; 62 6 80; 116 98 90; 104 -90 -20; 50 -56 -140; 150 18 -40",
    "H": "18 220 0; 4 0 0 | 112 225 0; 96 4 0; 126 18 85 | -6 104 0; 116 116 -10",
    "J": "14 192 0; 102 214 -60; 68 -88 -10; 18 -56 -140; 132 26 -40",
    "K": "18 220 0; 4 0 0 | 108 214 0; 20 108 -30; 48 100 -120; 122 2 40; 150 18 70",
    "L": "26 120 0; 84 214 80; 26 10 60; 4 14 -200; 128 4 60",
    "M": "0 0 0; 34 220 5; 62 16 0; 106 216 0; 126 2 0; 156 18 80",
    "N": "0 0 0; 26 216 0; 88 8 0; 116 232 10",
    "O": "74 220 0; 6 100 100; 62 0 90; 118 120 90; 62 220 100; 130 200 60",
    "P": "18 214 0; 0 -12 0 | -18 180 0; 86 176 -110; 20 102 -140",
    "R": "18 214 0; 0 0 0 | -18 180 0; 86 176 -110; 24 108 -140; 44 104 -60; 124 2 40; 152 18 70",
    "S": "108 186 0; 34 166 170; 92 56 -80; 16 10 -130; -12 48 -80",
    "T": "62 214 0; 46 2 0; 12 18 -100 | -14 198 0; 46 224 -50; 140 216 40",
    "U": "4 216 0; 40 4 20; 104 214 110; 108 4 0; 138 18 85",
    "V": "-6 200 0; 10 218 -120; 50 0 5; 116 228 -10",
    "W": "-6 200 0; 8 216 -120; 36 0 5; 70 172 0; 96 0 0; 150 228 -10",
    "Y": "0 214 0; 46 110 40; 106 218 60; 52 -88 -5; 8 -56 -140; 124 18 -40",
    "Z": "2 200 0; 104 212 -40; 2 6 -10; 40 20 -150; 128 4 60",
}

SMALL = tuple(_SMALL)
CAPITALS = tuple(_CAPITAL)
VOWELS = ("a", "e", "i", "o", "u")
CONSONANTS = tuple(letter for letter in SMALL if letter not in VOWELS)
WORN = ("n", "u", "e", "r", "i")  # what hurried letters wear down to


@dataclass(frozen=True, slots=True)
class Form:
    """A letter: runs of points (N, 2) in x-heights with the bends (N,) in radians that lead to them."""

    runs: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    @property
    def advance(self) -> float:
        """Where the next letter begins, in x-heights: where this one reaches furthest to the right."""
        return float(max(points[:, 0].max() for points, _ in self.runs))

    @property
    def joins(self) -> bool:
        """Whether the pen can run on into the next letter: one run that ends at the right."""
        return len(self.runs) == 1 and bool(self.runs[0][0][-1, 0] > 0.75 * self.advance)


@cache
def form(name: str) -> Form:
    """The form called ``name``, of SMALL or CAPITALS. Raises KeyError for any other."""
    text = _SMALL[name] if name in _SMALL else _CAPITAL[name]
    runs = []
    for run in text.split("|"):
        rows = np.array([[float(number) for number in point.split()] for point in run.split(";")])
        runs.append((rows[:, :2] / 100.0, np.radians(rows[:, 2])))
    return Form(tuple(runs))
