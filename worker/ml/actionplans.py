"""A writer's action plan: the name, how the hand shapes it, and the flourish, drawn once for each generated writer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from worker.ml.letterforms import CAPITALS, CONSONANTS, VOWELS, WORN, form
from worker.ml.strokes import Component, Floats, trajectory

SCRIBBLED = 0.4  # of all writers sign illegibly
MAX_HEIGHT = 25.5  # millimetres: 151 pixels at 150 dpi


@dataclass(frozen=True, slots=True)
class Hand:
    """How somebody moves: what stays the same whatever they write.

    ``overlap`` as in ``strokes.trajectory``; ``spread`` is the standard deviation of a target between two samples, in
    x-heights; ``tremor`` the amplitude of an unsteady line, in millimetres; ``lift`` how late the pen leaves the paper;
    ``looseness`` how differently the whole is laid out from one sample to the next, about 1.
    """

    overlap: float
    spread: float
    tremor: float
    lift: float
    looseness: float


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """What a writer means to write: components in writing order, in millimetres, and the hand that writes them.

    ``unit`` is the x-height in millimetres; ``slant`` the shear dx/dy already in the components.
    """

    components: tuple[Component, ...]
    hand: Hand
    unit: float
    slant: float


@dataclass(slots=True)
class _Run:
    """A pen-down run being composed, in x-heights: the origin and the points after it, and the bends to those."""

    points: list[Floats]
    bends: list[float]
    freedom: float


class _Composer:
    """Puts letters side by side in one writer's way; draws every habit from ``rng``."""

    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self.width = float(rng.uniform(0.65, 1.2))
        self.gap = float(rng.uniform(-0.05, 0.25))
        self.roundness = float(rng.uniform(0.65, 1.25))
        self.loops = float(rng.uniform(0.8, 1.35))  # of ascenders and descenders
        self.lifts = float(rng.choice([0.05, 0.2, 0.5]))
        self.wear = float(rng.choice([0.0, 0.15, 0.5, 0.9], p=[0.3, 0.3, 0.25, 0.15]))
        self.decay = float(rng.uniform(0.0, 0.55))
        self.oddity = float(rng.uniform(0.08, 0.17))
        self.runs: list[_Run] = []
        self.open: _Run | None = None
        self.x = 0.0

    def capital(self, scale: float) -> None:
        """Write a capital letter ``scale`` times the usual size."""
        self._close()
        shape = form(str(self.rng.choice(CAPITALS)))
        for points, bends in shape.runs:
            placed = self._place(points * scale, 0.07)
            self.runs.append(_Run(list(placed), [float(b) for b in self._bend(bends[1:])], 1.0))
        if shape.joins and self.rng.random() > self.lifts:
            self.open = self.runs.pop()
        self.x += (shape.advance * scale + self.gap) * self.width

    def small(self, name: str, height: float) -> None:
        """Write a small letter, joined to what is open, ``height`` times the usual height."""
        if self.open is not None and self.rng.random() < self.lifts:
            self._close()
        shape = form(name)
        squeeze = np.array([0.75 + 0.25 * height, height])
        (points, bends), *later = shape.runs
        placed, bent = list(self._place(points * squeeze, self.oddity)), list(self._bend(bends))
        if self.open is None:
            entry = self._place(np.array([[-0.05, 0.2]]), self.oddity)[0]
            self.open = _Run([entry], [], 1.0)
            if self.rng.random() < 0.5:  # no stroke leading in
                self.open.points, placed, bent = placed[:1], placed[1:], bent[1:]
        self.open.points.extend(placed)
        self.open.bends.extend(float(b) for b in bent)
        for points, bends in later:
            self.runs.append(_Run(list(self._place(points * squeeze, 0.1)), list(self._bend(bends[1:])), 1.8))
        self.x += (shape.advance * squeeze[0] + self.gap * self.rng.uniform(0.6, 1.2)) * self.width

    def word(self, letters: int, scale: float) -> None:
        """Write a capital and ``letters`` small letters that wear down towards the end."""
        self.capital(scale)
        vowel = self.rng.random() < 0.7
        for index in range(letters):
            worn = self.rng.random() < self.wear
            name = str(self.rng.choice(WORN if worn else VOWELS if vowel else CONSONANTS))
            self.small(name, (1.0 - self.decay * (index / letters)) * (0.75 if worn else 1.0))
            vowel = not vowel if self.rng.random() < 0.85 else vowel

    def scribble(self, strokes: int) -> None:
        """Write ``strokes`` fast strokes up and down that no longer are letters, with a loop now and then."""
        rng = self.rng
        low, high = float(rng.uniform(-0.9, 0.2)), float(rng.uniform(1.0, 3.0))
        step, wander = float(rng.uniform(0.15, 0.9)), float(rng.uniform(0.1, 0.7))
        shape, loops = float(rng.uniform(5.0, 50.0)), float(rng.choice([0.0, 0.2, 0.6]))
        heights = np.where(np.arange(strokes + 1) % 2, high, low) + rng.normal(0.0, 0.3, strokes + 1) * (high - low)
        across = self.x + np.concatenate(([0.0], np.cumsum(rng.normal(step, wander, strokes))))
        angles = rng.normal(0.0, shape, strokes)
        looped = rng.random(strokes) < loops
        angles = np.where(looped, rng.choice([-1.0, 1.0]) * rng.uniform(90.0, 190.0, strokes), angles)
        points = list(zip(across, heights, np.concatenate(([0.0], angles)), strict=True))
        if self.open is None:
            self._add(points)
        else:
            self._extend(points)
        if rng.random() < 0.5 and self.runs and self.open is None:
            self.open = self.runs.pop()
        self.x = max(self.x, float(across.max()))

    def flourish(self) -> None:
        """Finish with one of the usual paraphs, or with none."""
        rng = self.rng
        end, low = self.x, float(rng.uniform(-1.2, -0.5))
        left, right = float(rng.uniform(-0.3, 0.45)) * end, end * float(rng.uniform(0.85, 1.25))
        kinds = ["none", "tail", "under", "zigzag", "return", "ring", "strike"]
        kind = rng.choice(kinds, p=[0.24, 0.18, 0.17, 0.1, 0.12, 0.09, 0.1])
        drop = float(rng.uniform(-0.5, 0.6))
        if kind == "tail":
            self._extend([(right + 1.5, rng.uniform(0.2, 2.2), rng.uniform(-25, 70))])
        elif kind == "under":
            self._add([(left, low, 0), (right, low + drop, rng.uniform(-25, 35))])
        elif kind == "zigzag":
            middle = float(rng.uniform(0.1, 0.6)) * end
            self._add([(left, low, 0), (right, low + drop, 15), (middle, low - 0.5, 20), (right + 1, low + drop, 30)])
        elif kind == "return":
            self._extend([(end + 0.6, low - 0.2, -130), (left, low, -60), (right, low + drop, rng.choice([60, -50]))])
        elif kind == "ring":
            top = float(rng.uniform(2.0, 2.9))
            self._extend([(end + 0.9, top, 80), (end * 0.4, top + 0.5, 70), (-0.6, 0.3, 80), (right, low, 100)])
        elif kind == "strike":  # through the name, once or there and back
            level, slope = float(rng.uniform(0.1, 0.9)), float(rng.uniform(-0.4, 0.9))
            back = [(left, level, rng.uniform(-30, 30)), (right, level + slope, rng.uniform(-40, 40))]
            self._extend([(right, level + slope, rng.uniform(-20, 40)), *back[: int(rng.integers(0, 3))]])
        self._close()

    def _extend(self, points: list[tuple[float, float, float]]) -> None:
        if self.open is None:
            self._add([(self.x - 0.2, 0.2, 0), *points])
            return
        self.open.points.extend(np.array(point[:2]) for point in points)
        self.open.bends.extend(float(np.radians(point[2])) for point in points)

    def _add(self, points: list[tuple[float, float, float]]) -> None:
        self._close()
        rows = np.array(points, dtype=np.float64)
        self.runs.append(_Run(list(rows[:, :2]), [float(b) for b in np.radians(rows[1:, 2])], 2.5))

    def _close(self) -> None:
        if self.open is not None and self.open.bends:
            self.runs.append(self.open)
        self.open = None

    def _place(self, points: Floats, oddity: float) -> Floats:
        odd = points + self.rng.normal(0.0, oddity, points.shape)
        odd[:, 1] *= np.where(np.abs(odd[:, 1] - 0.5) > 0.9, self.loops, 1.0)
        return odd * [self.width, 1.0] + [self.x, 0.0]

    def _bend(self, bends: Floats) -> Floats:
        return np.clip(bends * self.roundness + self.rng.normal(0.0, 0.18, bends.shape), -3.8, 3.8)


def _compose(rng: Generator) -> list[_Run]:
    composer = _Composer(rng)
    scale = float(rng.uniform(1.0, 1.75))
    if rng.random() < SCRIBBLED:
        _compose_scribble(composer, scale)
        return composer.runs
    words = int(rng.choice([1, 2, 3], p=[0.35, 0.45, 0.2]))
    total = int(rng.integers(3, 11)) if words == 1 else int(rng.integers(5, 16))
    for word in range(words):
        initial = words > 1 and word < words - 1 and rng.random() < 0.55
        letters = 0 if initial else max(2, round(total / words * float(rng.uniform(0.7, 1.2))))
        composer.word(letters, scale)
        if word < words - 1 and rng.random() < 0.9:
            composer.x += float(rng.uniform(0.1, 0.9))
    composer.flourish()
    return composer.runs


def _compose_scribble(composer: _Composer, scale: float) -> None:
    """A signature that is a sign more than a name: an initial or two, fast strokes, a paraph."""
    rng = composer.rng
    for _ in range(int(rng.choice([0, 1, 2], p=[0.3, 0.5, 0.2]))):
        composer.capital(scale)
        composer.x += float(rng.uniform(-0.6, 0.2))
    composer.scribble(int(rng.integers(3, 14)))
    if rng.random() < 0.3:
        composer.scribble(int(rng.integers(2, 7)))
    composer.flourish()


def _timed(runs: list[_Run], matrix: Floats, pace: float, rng: Generator) -> list[Component]:
    components = []
    for run in runs:
        points = np.array(run.points) @ matrix.T
        lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
        # Isochrony: a stroke ten times as long takes little over twice the time.
        durations = pace * np.maximum(lengths, 0.05) ** 0.35 * np.exp(rng.normal(0.0, 0.12, len(lengths)))
        sigmas = rng.uniform(0.16, 0.32, len(lengths))
        components.append(Component(points[0], points[1:], np.array(run.bends), durations, sigmas, run.freedom))
    return components


def _scaled(component: Component, factor: float) -> Component:
    return replace(component, origin=component.origin * factor, targets=component.targets * factor)


def compose_plan(rng: Generator) -> ActionPlan:
    """Draw a writer: the action plan of the signature and the hand that writes it, at most 70 millimetres wide."""
    slant, rise = float(rng.normal(0.3, 0.28)), float(np.radians(rng.normal(4.0, 5.0)))
    turn = np.array([[np.cos(rise), -np.sin(rise)], [np.sin(rise), np.cos(rise)]])
    shear = np.array([[1.0, slant], [0.0, 1.0]])
    hand = Hand(
        overlap=float(rng.uniform(0.22, 0.45)),
        spread=float(np.exp(rng.uniform(np.log(0.03), np.log(0.11)))),
        tremor=float(rng.choice([0.0, 0.02, 0.05], p=[0.6, 0.25, 0.15])),
        lift=float(rng.uniform(0.2, 2.0)),
        looseness=float(np.exp(rng.uniform(np.log(0.5), np.log(2.0)))),
    )
    components = _timed(_compose(rng), turn @ shear, float(rng.uniform(0.11, 0.2)), rng)
    drawn = np.vstack([trajectory(part, hand.overlap).points for part in components])
    width, height = np.ptp(drawn, axis=0)
    unit = float(min(rng.uniform(38.0, 70.0) / width, MAX_HEIGHT / height, 6.0))
    return ActionPlan(tuple(_scaled(part, unit) for part in components), hand, unit, slant)
