from __future__ import annotations

import math

import numpy as np
import pytest

from worker.ml.strokes import Component, Floats, progress, retrace, trajectory


def component(targets: list[tuple[float, float]], bends: list[float]) -> Component:
    count = len(targets)
    return Component(np.zeros(2), np.array(targets), np.array(bends), np.full(count, 0.2), np.full(count, 0.25))


def arc(radius: float, turned: float, points: int = 400) -> Floats:
    angles = np.linspace(0.0, turned, points)
    return radius * np.stack((np.cos(angles), np.sin(angles)), axis=1)


def test_progress_is_the_lognormal_distribution() -> None:
    time, onset, mu, sigma = (np.array(values) for values in ([0.05, 0.2, 0.4], [0.0], [-1.5], [0.3]))
    shares = progress(time, onset, mu, sigma)
    expected = [0.5 * (1 + math.erf((math.log(t) + 1.5) / (0.3 * math.sqrt(2)))) for t in (0.05, 0.2, 0.4)]
    np.testing.assert_allclose(shares[:, 0], expected, atol=1e-5)


def test_nothing_moves_before_its_onset() -> None:
    assert progress(np.array([0.0, 0.9]), np.array([1.0]), np.array([-1.5]), np.array([0.3])).max() < 1e-6


@pytest.mark.parametrize("bend", [0.0, 0.8, -2.5])
def test_a_single_stroke_ends_at_its_target(bend: float) -> None:
    strand = trajectory(component([(3.0, 4.0)], [bend]), overlap=0.0, lift=4.0)
    np.testing.assert_allclose(strand.points[-1], [3.0, 4.0], atol=0.01)


def test_a_bend_is_the_turning_of_the_path_counter_clockwise() -> None:
    points = trajectory(component([(5.0, 0.0)], [1.0]), overlap=0.0).points
    steps = np.diff(points, axis=0)
    moving = steps[np.linalg.norm(steps, axis=1) > 1e-4]
    heading = np.unwrap(np.arctan2(moving[:, 1], moving[:, 0]))
    assert heading[0] == pytest.approx(-0.5, abs=0.08)
    assert heading[-1] == pytest.approx(0.5, abs=0.08)
    assert points[:, 1].min() < -0.5  # a turn to the left bulges to the right


def test_overlap_rounds_a_corner_and_no_overlap_stops_at_it() -> None:
    corner = component([(4.0, 0.0), (4.0, 4.0)], [0.0, 0.0])

    def missed(overlap: float) -> float:
        return float(np.linalg.norm(trajectory(corner, overlap).points - [4.0, 0.0], axis=1).min())

    assert missed(0.0) < 0.2
    assert missed(0.45) > 2 * missed(0.0)


def test_the_speed_peaks_as_the_lognormal_does() -> None:
    # The mode of a lognormal density is exp(sigma^2 / 2 - mu) / (sigma sqrt(2 pi)); here mu follows from 0.2 s.
    mu = math.log(0.2 / (2 * math.sinh(2 * 0.25)))
    peak = 5.0 * math.exp(0.25**2 / 2 - mu) / (0.25 * math.sqrt(2 * math.pi))
    strand = trajectory(component([(3.0, 4.0)], [0.0]), overlap=0.0)
    assert strand.speed.max() == pytest.approx(peak, rel=0.06)
    assert strand.speed[-1] < 0.15 * peak


def test_retrace_follows_an_arc_by_arcs() -> None:
    corners, bends = retrace(arc(5.0, math.pi), turn=1.0, length=100.0)
    assert 3 <= len(bends) <= 4
    np.testing.assert_allclose(np.linalg.norm(corners, axis=1), 5.0, atol=1e-6)
    assert bends.sum() == pytest.approx(math.pi, rel=0.05)
    np.testing.assert_allclose(corners[[0, -1]], [[5.0, 0.0], [-5.0, 0.0]], atol=1e-9)


def test_retrace_turns_clockwise_with_the_line() -> None:
    _, bends = retrace(arc(5.0, -2.0), turn=1.0, length=100.0)
    assert (bends < 0).all()


def test_retrace_of_a_dot_is_one_piece() -> None:
    corners, bends = retrace(np.zeros((5, 2)), turn=1.0, length=1.0)
    assert corners.shape == (2, 2)
    assert bends.tolist() == [0.0]
