"""From a pen trajectory to a scanned image: pen, ink, paper and scanner.

Everything here is drawn for each image by itself, from the same distributions whoever held the pen, and the width and
strength of the line are matched to the drawn pen: paper, pen and scanner must not tell genuine from forged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from worker.ml.strokes import Floats, Strand

_OVERSAMPLING = 3
_SHIFT = 3  # fractional bits of the coordinates that OpenCV draws with
_LEVELS = 9  # steps of ink strength along a line: 6 is a full line
_STRONGEST = 1.5  # ink of the darkest place against a full line


@dataclass(frozen=True, slots=True)
class Pen:
    """``width`` in millimetres; ``flex`` how much width and ``fade`` how much ink follow the speed, in 0..1."""

    width: float
    flex: float
    ink: float  # share of the paper's light that a full line takes away, 0..1
    fade: float
    texture: float  # share of the ink that the paper's grain takes away, 0..1


@dataclass(frozen=True, slots=True)
class Scanner:
    """Grey levels in 0..255, blur in pixels (standard deviation), ``margins`` left, top, right, bottom in pixels."""

    dpi: float
    background: float
    shade: float  # grey levels from one side of the sheet to the other
    noise: float
    blur: float
    margins: tuple[int, int, int, int]


def draw_pen(rng: Generator) -> Pen:
    """Draw a ball-point, gel or fibre pen."""
    low, high = ((0.30, 0.46), (0.38, 0.58), (0.5, 0.75))[int(rng.choice(3, p=[0.55, 0.33, 0.12]))]
    return Pen(
        width=float(rng.uniform(low, high)),
        flex=float(rng.uniform(0.1, 0.5)),
        ink=float(rng.uniform(0.62, 0.93)),
        fade=float(rng.uniform(0.05, 0.35)),
        texture=float(rng.uniform(0.0, 0.3)),
    )


def draw_scanner(rng: Generator) -> Scanner:
    """Draw a sheet and the scanner it lies on, about 150 dpi."""
    left, top, right, bottom = (int(margin) for margin in rng.integers(6, 26, 4))
    return Scanner(
        dpi=float(rng.uniform(144.0, 156.0)),
        background=float(rng.uniform(222.0, 253.0)),
        shade=float(rng.normal(0.0, 4.0)),
        noise=float(rng.uniform(0.4, 3.5)),
        blur=float(rng.uniform(0.35, 0.75)),
        margins=(left, top, right, bottom),
    )


def render(strands: Sequence[Strand], pen: Pen, scanner: Scanner, rng: Generator) -> NDArray[np.uint8]:
    """Draw ``strands`` with ``pen`` and scan them: 8-bit grey, dark ink on light paper, (height, width)."""
    scale = scanner.dpi / 25.4
    points = [strand.points * [scale, -scale] for strand in strands]
    everything = np.vstack(points)
    left, top, right, bottom = scanner.margins
    corner = everything.min(axis=0) - [left, top]
    width, height = (int(size) for size in np.ceil(everything.max(axis=0) - corner + [right, bottom]))
    slowness = _slowness(strands)
    canvas = np.zeros((height * _OVERSAMPLING, width * _OVERSAMPLING), dtype=np.uint8)
    thickness = [np.clip(1.0 + pen.flex * slow, 0.3, 2.0) * pen.width * scale for slow in slowness]
    strength = [np.clip(1.0 + pen.fade * slow, 0.2, _STRONGEST) for slow in slowness]
    _draw(canvas, [part - corner for part in points], thickness, strength)
    ink = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) * (_STRONGEST / 255.0)
    return _scan(ink, pen, scanner, rng)


def _slowness(strands: Sequence[Strand]) -> list[Floats]:
    """How slow the pen is at each sample against the sample's own mean: mean 0 along the line, about -1..1."""
    speed = np.concatenate([strand.speed for strand in strands])
    way = np.concatenate([_way(strand.points) for strand in strands])
    mean = float((speed * way).sum() / way.sum()) + 1e-9
    slow = -np.tanh(1.2 * np.log((speed + 0.05 * mean) / mean))
    slow -= (slow * way).sum() / way.sum()
    return np.split(slow, np.cumsum([len(strand.speed) for strand in strands])[:-1])


def _way(points: Floats) -> Floats:
    """Length of line that each sample stands for."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.asarray((np.append(steps, 0.0) + np.append(0.0, steps)) / 2.0)


def _draw(canvas: NDArray[np.uint8], points: list[Floats], thickness: list[Floats], strength: list[Floats]) -> None:
    """Draw the lines into ``canvas`` in steps of width and strength; 255 is _STRONGEST."""
    pieces = []
    for line, widths, inks in zip(points, thickness, strength, strict=True):
        fixed = np.round(line * (_OVERSAMPLING << _SHIFT)).astype(np.int32)
        # OpenCV's smooth edges add half a pixel on either side.
        wide = np.maximum(1, np.round(widths[:-1] * _OVERSAMPLING - 1.0)).astype(np.int64)
        level = np.round(inks[:-1] / _STRONGEST * _LEVELS).astype(np.int64)
        changes = np.flatnonzero((np.diff(wide) != 0) | (np.diff(level) != 0)) + 1
        bounds = [0, *changes.tolist(), len(wide)]
        pieces += [(int(level[start]), int(wide[start]), fixed[start : stop + 1]) for start, stop in pairwise(bounds)]
    # The strongest ink last: where lines cross the darker one shows.
    pieces.sort(key=lambda piece: piece[:2])
    for step, wide_step, piece in pieces:
        shade = step * 255.0 / _LEVELS
        cv2.polylines(canvas, [piece], False, shade, wide_step, cv2.LINE_AA, _SHIFT)


def _scan(ink: NDArray[np.float32], pen: Pen, scanner: Scanner, rng: Generator) -> NDArray[np.uint8]:
    height, width = ink.shape
    grain = rng.standard_normal((height, width), dtype=np.float32)
    rough = cv2.GaussianBlur(grain, (3, 3), 0.7)
    ink = np.minimum(ink, 1.15) * pen.ink * (1.0 - pen.texture * np.clip(rough, 0.0, 1.5))
    soft = cv2.GaussianBlur(ink, (0, 0), scanner.blur)
    slope = np.linspace(-0.5, 0.5, width, dtype=np.float32) * scanner.shade
    noise = np.roll(grain, (height // 2, width // 2), axis=(0, 1)) * scanner.noise
    grey = (scanner.background + slope) * (1.0 - np.minimum(soft, 0.97)) + noise
    return np.clip(np.round(grey), 0, 255).astype(np.uint8)
