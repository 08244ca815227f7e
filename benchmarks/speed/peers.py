"""End to end against Ray Data, with and without the time that either takes to start."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.speed.referee import NEAR
from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Images, Pairs, Samples
from benchmarks.speed.service import install, service

MODEL, COMPARISONS, FEW = "compact", 2000, 4
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class Ray:
    """Runs batches with Ray Data, each in a program of its own; keeps the setting that it found best."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._setting: list[int] | None = None

    def run(self, images: Images, pairs: Pairs, few: int) -> tuple[float, dict[str, Any]]:
        """Seconds from the start of the program to its end, and what it tells."""
        files = self._folder / "files"
        files.mkdir(exist_ok=True)
        for name, data in images.items():
            (files / name).write_bytes(data)
        told = {
            "model": MODEL,
            "pairs": [(str(files / one), str(files / two)) for one, two in pairs],
            "few": few,
            "temporary": str(self._folder / "ray"),
            "setting": self._setting,
        }
        code = "from benchmarks.speed import ray_batch; ray_batch.main()"
        here = {"PYTHONPATH": os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))}
        command, environment = [sys.executable, "-c", code], os.environ | SETTINGS | here
        started = time.perf_counter()
        done = subprocess.run(
            command, input=json.dumps(told), capture_output=True, text=True, check=False, env=environment
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"Ray failed: {done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        self._setting = answer["setting"]
        return seconds, answer


def _measure(plan: Plan) -> Iterator[Sample]:
    if importlib.util.find_spec("ray") is None:
        click.echo("ray: Ray is not installed (the extra bench); left out", err=True)
        return
    samples, ray, count = Samples(), Ray(plan.folder), plan.size(COMPARISONS, 100)
    ray.run(*samples.no_reuse(plan.size(256, 32)), 0)  # finds its best setting
    for turn in plan.turns(1):
        images, pairs = samples.no_reuse(count)
        _, warm = ray.run(images, pairs, FEW)
        cold, _ = ray.run(images, pairs, 0)
        install(plan.folder / str(turn))  # as Ray and its model are: neither is part of a start
        started = time.perf_counter()
        with service(plan.folder / str(turn)) as stack:
            stack.verify(MODEL, images, pairs)
            ours_cold = time.perf_counter() - started
            images, pairs = samples.no_reuse(count)
            ours, job_id = stack.verify(MODEL, images, pairs)
            _agree(ray.run(images, pairs[:16], 0)[1]["distances"], stack.answers(job_id, range(16)))
        yield Sample("ray", count / ours, count / (warm["all"] - warm["few"]))
        yield Sample("ray-cold", count / ours_cold, count / cold)


def _agree(theirs: list[float], ours: dict[int, float]) -> None:
    if not np.allclose(theirs, list(ours.values()), rtol=NEAR):
        raise RuntimeError(f"Ray has the distances {theirs}, we have {ours}")


SUBJECTS = (
    Subject(
        (
            Row("ray", "no image twice, compact", "comparisons/s", "Ray Data without its start-up", 1.0),
            Row("ray-cold", "the same with both start-ups", "comparisons/s", "Ray Data", 2.0),
        ),
        _measure,
    ),
)
