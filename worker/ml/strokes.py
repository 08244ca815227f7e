"""The sigma-lognormal model of handwriting movement: action plans in, pen trajectories out.

Source: Plamondon's kinematic theory in the form of O'Reilly and Plamondon, "Development of a Sigma-Lognormal
representation for on-line signatures" (Pattern Recognition, 2009). A plan is a chain of virtual targets. The stroke
towards each target has a lognormal speed and turns from theta_s to theta_e in step with the way it has covered;
strokes overlap in time and add as vectors, so the pen rounds the targets instead of reaching them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLES_A_STROKE = 12
_REACH = 2.0  # standard deviations of log time that count as a stroke's duration, either side
_ERF_GRID = np.linspace(-3.5, 3.5, 1401)
_ERF = np.array([math.erf(value) for value in _ERF_GRID])


@dataclass(frozen=True, slots=True)
class Component:
    """One pen-down run of an action plan: N strokes from ``origin`` over N virtual targets.

    ``origin`` (2,) and ``targets`` (N, 2) are in millimetres, y upwards; ``bends`` (N,) is theta_e - theta_s in
    radians, counter-clockwise positive; ``durations`` (N,) in seconds; ``sigmas`` (N,) the lognormal's log-time
    spread; ``freedom`` scales how loosely the writer repeats this part (a flourish more than a letter).
    """

    origin: Floats
    targets: Floats
    bends: Floats
    durations: Floats
    sigmas: Floats
    freedom: float = 1.0

    def vertices(self) -> Floats:
        """The origin and the targets, (N + 1, 2), in millimetres."""
        return np.vstack((self.origin[None], self.targets))


@dataclass(frozen=True, slots=True)
class Strand:
    """A pen-down trajectory: ``points`` (T, 2) in millimetres, ``speed`` (T,) in millimetres a second."""

    points: Floats
    speed: Floats


def progress(time: Floats, onset: Floats, mu: Floats, sigma: Floats) -> Floats:
    """Share of its way that each stroke has covered: the lognormal's distribution function.

    ``time`` (T,), the others (N,); returns (T, N) in 0..1.
    """
    elapsed = np.maximum(time[:, None] - onset[None], 1e-9)  # (T, N)
    deviate = (np.log(elapsed) - mu) / (sigma * math.sqrt(2.0))
    return np.asarray(0.5 * (1.0 + np.interp(deviate, _ERF_GRID, _ERF)))


def trajectory(component: Component, overlap: float, lift: float = _REACH) -> Strand:
    """Move the pen through ``component`` and return where it went.

    ``overlap`` in [0, 1) is the share of each stroke's duration during which the next one already runs: 0 stops at
    every target, 0.5 is fluent. ``lift`` is how many standard deviations of log time after the median of its last
    stroke the pen leaves the paper: small values lift it while it still moves.
    """
    sigmas, bends = component.sigmas, component.bends
    mu = np.log(component.durations / (2.0 * np.sinh(_REACH * sigmas)))
    starts = np.concatenate(([0.0], np.cumsum(component.durations[:-1] * (1.0 - overlap))))
    # A lognormal waits before it visibly moves; without the shift long strokes would hang behind short ones.
    onsets = starts - np.exp(mu - _REACH * sigmas)
    end = float(onsets[-1] + np.exp(mu[-1] + lift * sigmas[-1]))
    time = np.linspace(0.0, end, SAMPLES_A_STROKE * len(bends) + 1)  # (T,)
    share = progress(time, onsets, mu, sigmas)  # (T, N)
    chords = np.diff(component.vertices(), axis=0)  # (N, 2)
    # An arc of length D turning by b has a chord of D sin(b/2) / (b/2): np.sinc carries the pi.
    lengths = np.hypot(chords[:, 0], chords[:, 1]) / np.sinc(bends / (2.0 * np.pi))
    turned = bends * share  # (T, N)
    reach = lengths * share * np.sinc(turned / (2.0 * np.pi))
    angle = np.arctan2(chords[:, 1], chords[:, 0]) - bends / 2.0 + turned / 2.0
    points = component.origin + np.stack(((reach * np.cos(angle)).sum(1), (reach * np.sin(angle)).sum(1)), axis=1)
    steps = np.diff(points, axis=0)
    speed = np.hypot(steps[:, 0], steps[:, 1]) / (time[1] - time[0])  # (T - 1,), between the samples
    return Strand(points, np.concatenate((speed[:1], (speed[1:] + speed[:-1]) / 2.0, speed[-1:])))


def retrace(points: Floats, turn: float, length: float) -> tuple[Floats, Floats]:
    """Cut a drawn line into the arcs by which somebody who only sees it could follow it.

    A new arc begins when ``turn`` radians of turning, ``length`` millimetres, or shares of both have passed. Returns
    the arcs' ends (N + 1, 2) and the signed turning within each (N,).
    """
    steps = np.diff(points, axis=0)
    sizes = np.hypot(steps[:, 0], steps[:, 1])
    kept = sizes > 1e-6
    if not kept.any():
        return points[[0, -1]], np.zeros(1)
    steps, sizes = steps[kept], sizes[kept]
    corners = np.vstack((points[:-1][kept], points[-1:]))
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))  # (S,)
    effort = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(heading))))) / turn + np.cumsum(sizes) / length
    pieces = max(1, round(float(effort[-1])))
    inner = np.searchsorted(effort, np.arange(1, pieces) / pieces * effort[-1])
    cuts = np.unique(np.concatenate(([0], inner, [len(steps)])))
    bends = heading[np.maximum(cuts[1:] - 1, cuts[:-1])] - heading[cuts[:-1]]
    return corners[cuts], bends
