"""The rows of the table of speed, one module a subject; each measures two things in turns in the same run."""

from __future__ import annotations

from benchmarks.speed import known, latency, learning, pairs, peers, polling, scoring, upload, workers
from benchmarks.speed.row import Subject

SUBJECTS: tuple[Subject, ...] = (
    *scoring.SUBJECTS,
    *known.SUBJECTS,
    *latency.SUBJECTS,
    *pairs.SUBJECTS,
    *polling.SUBJECTS,
    *peers.SUBJECTS,
    *workers.SUBJECTS,
    *learning.SUBJECTS,
    *upload.SUBJECTS,
)
