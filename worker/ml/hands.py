"""How a plan is performed: by its writer, a little differently each time, or by a forger who only sees the drawing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from worker.ml.actionplans import ActionPlan
from worker.ml.strokes import Component, Floats, Strand, retrace, trajectory


@dataclass(frozen=True, slots=True)
class Forger:
    """Another hand. ``skill`` in 0..1; the rest are the habits that show through, as factors or differences."""

    skill: float
    turn: float  # radians followed in one movement
    slant: float  # dx/dy added
    size: float
    aspect: float
    rise: float  # radians
    loops: float  # stretch of what stands above or below the small letters
    roundness: float
    overlap: float
    sigma: float  # spread of the lognormals: an unpractised movement is less regular


def write_genuine(plan: ActionPlan, rng: Generator) -> list[Strand]:
    """One sample by the plan's own writer: targets, times, spacing, shape of the strokes and the whole sheet vary.

    How much they vary is the writer's own habit (``Hand.looseness``): some sign like a stamp, others never twice alike.
    """
    hand, loose = plan.hand, plan.hand.looseness
    frame = _frame(
        rng.normal(0.0, 0.04 * loose), float(np.exp(rng.normal(0.0, 0.06))),
        float(np.exp(rng.normal(0.0, 0.045 * loose))), rng.normal(0.0, np.radians(2.0 * loose)),
    )  # fmt: skip
    overlap = float(np.clip(hand.overlap + rng.normal(0.0, 0.03), 0.1, 0.6))
    pace = float(np.exp(rng.normal(0.0, 0.06)))
    spread = hand.spread * plan.unit * float(np.exp(rng.normal(0.0, 0.2)))
    spacing = _Spacing(plan, rng)
    strands = []
    for part in plan.components:
        varied = spacing.apply(_vary(part, spread, pace, rng))
        moved = replace(varied, origin=frame @ varied.origin, targets=varied.targets @ frame.T)
        strand = trajectory(moved, overlap, hand.lift)
        strands.append(_tremble(strand, hand.tremor * rng.uniform(0.5, 1.5), rng))
    return strands


class _Spacing:
    """How the letters of one sample are pushed together and apart along the line, and the line up and down.

    A sum of three slow waves along the signature: neighbours move together, nothing changes places.
    """

    def __init__(self, plan: ActionPlan, rng: Generator) -> None:
        everything = np.vstack([part.vertices() for part in plan.components])
        self._left = float(everything[:, 0].min())
        self._width = float(np.ptp(everything[:, 0])) + 1e-9
        orders = np.arange(1, 4)
        strength = rng.normal(0.0, 1.0, (2, 3)) / orders
        self._size = strength * plan.hand.looseness * np.array([[0.02 * self._width], [0.09 * plan.unit]])
        self._phase = rng.uniform(0.0, 2.0 * np.pi, (2, 3))
        self._orders = np.pi * orders

    def apply(self, part: Component) -> Component:
        corners = part.vertices()
        place = (corners[:, 0] - self._left) / self._width  # 0..1 along the signature
        waves = np.sin(place[:, None, None] * self._orders + self._phase)  # (N + 1, 2, 3)
        moved = corners + (waves * self._size).sum(2)
        return replace(part, origin=moved[0], targets=moved[1:])


def draw_forger(rng: Generator) -> Forger:
    """Draw somebody who forges: from hardly practised to good."""
    skill = float(rng.beta(1.7, 2.0))
    doubt = 1.25 - skill
    return Forger(
        skill=skill,
        turn=float(rng.uniform(1.3, 2.2)),
        slant=float(rng.normal(0.0, 0.17 * doubt)),
        size=float(np.exp(rng.normal(0.0, 0.1 * doubt))),
        aspect=float(np.exp(rng.normal(0.0, 0.08 * doubt))),
        rise=float(rng.normal(0.0, 0.045 * doubt)),
        loops=float(np.exp(rng.normal(0.0, 0.18 * doubt))),
        roundness=float(np.exp(rng.normal(0.0, 0.24 * doubt))),
        overlap=float(rng.uniform(0.12, 0.34)),
        sigma=float(rng.uniform(0.2, 0.34)),
    )


def write_forged(plan: ActionPlan, forger: Forger, rng: Generator) -> list[Strand]:
    """One attempt at the plan's signature by ``forger``, who saw one genuine sample and nothing of the movement.

    The line is cut anew into arcs as it looks, written slower and less fluently, with the forger's proportions, an
    unsteady line where care is taken, and lifts of the pen where the writer has none.
    """
    seen = write_genuine(plan, rng)
    doubt = 1.25 - forger.skill
    frame = _frame(
        forger.slant + rng.normal(0.0, 0.03), forger.size * float(np.exp(rng.normal(0.0, 0.04))),
        forger.aspect * float(np.exp(rng.normal(0.0, 0.03))), forger.rise + rng.normal(0.0, np.radians(1.5)),
    )  # fmt: skip
    care = float(rng.uniform(0.2, 1.0))  # the careful draw, slow and shaky; the careless are fluent and off the shape
    drift = _Drift(rng, 0.12 * plan.unit * doubt * (1.3 - 0.5 * care))
    strands: list[Strand] = []
    for strand in seen:
        line = _reproportioned(strand.points, plan, forger.loops)
        for part in _follow(line, plan.unit, forger, drift, care):
            moved = replace(part, origin=frame @ part.origin, targets=part.targets @ frame.T)
            written = trajectory(moved, forger.overlap * (1.25 - 0.5 * care), 1.8)
            strands.append(_tremble(written, 0.095 * doubt * care, rng))
    return strands


class _Drift:
    """Errors of proportion: a slow wandering off the shape that the eye keeps pulling back."""

    def __init__(self, rng: Generator, size: float) -> None:
        self.rng = rng
        self.size = size
        self.state = np.zeros(2)

    def follow(self, count: int) -> Floats:
        """Displacements of the next ``count`` vertices, (count, 2), in millimetres."""
        steps = self.rng.normal(0.0, self.size, (count, 2))
        path = np.empty_like(steps)
        for index, step in enumerate(steps):
            self.state = 0.86 * self.state + step
            path[index] = self.state
        return path + self.rng.normal(0.0, 0.5 * self.size, (count, 2))


def _follow(line: Floats, unit: float, forger: Forger, drift: _Drift, care: float) -> list[Component]:
    rng = drift.rng
    corners, bends = retrace(line, forger.turn * (1.2 - 0.4 * care), 3.2 * unit)
    corners = corners + drift.follow(len(corners))
    bends = bends * forger.roundness + rng.normal(0.0, 0.12, len(bends))
    chords = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    durations = (0.16 + 0.22 * care) * np.maximum(chords, 0.05) ** 0.5 * np.exp(rng.normal(0.0, 0.2, len(chords)))
    hesitant = rng.random(len(chords)) < 0.1 * care
    durations = np.where(hesitant, durations * 1.9, durations)
    sigmas = np.clip(forger.sigma + rng.normal(0.0, 0.03, len(chords)), 0.12, 0.4)
    lifts = np.flatnonzero(rng.random(len(chords) - 1) < 0.1 * (1.25 - forger.skill)) + 1
    bounds = [0, *lifts.tolist(), len(chords)]
    parts = []
    for start, stop in pairwise(bounds):
        put_down = corners[start] + (rng.normal(0.0, 0.07 * unit, 2) if start else 0.0)
        cut = slice(start, stop)
        parts.append(Component(put_down, corners[start + 1 : stop + 1], bends[cut], durations[cut], sigmas[cut]))
    return parts


def _vary(part: Component, spread: float, pace: float, rng: Generator) -> Component:
    corners = part.vertices()
    loose = spread * part.freedom
    # Neighbouring targets err together: half of each error is carried on to the next.
    errors = rng.normal(0.0, loose, corners.shape)
    errors[1:] += 0.5 * errors[:-1]
    centre = corners.mean(axis=0)
    stretch = np.exp(rng.normal(0.0, 0.03, 2))
    corners = centre + (corners - centre) * stretch + errors + rng.normal(0.0, 1.2 * loose, 2)
    count = len(part.bends)
    return replace(
        part,
        origin=corners[0],
        targets=corners[1:],
        bends=part.bends * np.exp(rng.normal(0.0, 0.06)) + rng.normal(0.0, 0.07, count),
        durations=part.durations * pace * np.exp(rng.normal(0.0, 0.07, count)),
        sigmas=part.sigmas * np.exp(rng.normal(0.0, 0.06, count)),
    )


def _frame(slant: float, size: float, aspect: float, rise: float) -> Floats:
    """Shear, scale and rotation of a whole sample, as a matrix (2, 2)."""
    turn = np.array([[np.cos(rise), -np.sin(rise)], [np.sin(rise), np.cos(rise)]])
    scale = np.diag([size * np.sqrt(aspect), size / np.sqrt(aspect)])
    shear = np.array([[1.0, slant], [0.0, 1.0]])
    return np.asarray(turn @ shear @ scale)


def _reproportioned(points: Floats, plan: ActionPlan, loops: float) -> Floats:
    """``points`` with what stands out above and below the small letters stretched ``loops`` times along the slant."""
    height = points[:, 1] / plan.unit
    beyond = np.maximum(height - 1.0, 0.0) + np.minimum(height, 0.0)
    rise = (loops - 1.0) * beyond * plan.unit
    return points + np.stack((rise * plan.slant, rise), axis=1)


def _tremble(strand: Strand, amplitude: float, rng: Generator) -> Strand:
    """Add an unsteady line of ``amplitude`` millimetres (standard deviation), strongest where the pen is slow."""
    if amplitude <= 0.0:
        return strand
    way = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(strand.points, axis=0).T))))
    waves = rng.uniform(1.3, 3.6, 3)  # millimetres: 8 to 12 Hz at the 10 to 40 mm/s of a careful line
    phases = rng.uniform(0.0, 2.0 * np.pi, (2, 3))
    strength = rng.uniform(0.4, 1.0, (2, 3))
    swing = np.sin(2.0 * np.pi * way[:, None, None] / waves + phases) * strength
    fade = 1.0 / (0.6 + strand.speed / (strand.speed.mean() + 1e-9))
    return Strand(strand.points + swing.sum(axis=2) * (amplitude * fade)[:, None] * 0.8, strand.speed)
