"""Answers of identifications as JSON documents and CSV rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shared.tables import Identification
from web.present import csv_pieces

COLUMNS = (
    "image",
    "answer",
    "category",
    "distance",
    "nearest",
    "runner_up",
    "runner_up_distance",
    "truth",
    "correct",
    "code",
    "message",
)


def identification_json(answer: Identification) -> dict[str, Any]:
    """One test image with its answer: ``named``, ``none`` (of these) or ``error``.

    ``category`` is null unless one is named; ``nearest`` is the best one, also where it is too far. ``truth`` is the
    folder of the image, and ``correct`` whether the answer agrees with it; null where there is no label.
    """
    return {
        "ordinal": answer.ordinal,
        "image": answer.entry,
        "answer": answer.answer,
        "category": answer.category,
        "distance": answer.distance,
        "nearest": answer.nearest,
        "runner_up": answer.runner_up,
        "runner_up_distance": answer.runner_up_distance,
        "truth": answer.truth,
        "correct": answer.correct,
        "code": answer.code,
        "message": answer.message,
    }


def identifications_csv(answers: Iterable[Identification]) -> Iterator[str]:
    """Answers as CSV text, in pieces; begins with ``image,answer,category``."""
    return csv_pieces(COLUMNS, map(_row, answers))


def _row(answer: Identification) -> list[Any]:
    correct = "" if answer.correct is None else "yes" if answer.correct else "no"
    document = identification_json(answer) | {"correct": correct}
    return [document[name] for name in COLUMNS]
