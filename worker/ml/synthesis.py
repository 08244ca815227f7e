"""Signatures that nobody wrote: writers, their genuine signatures and skilled forgeries of them, from a seed.

The movement follows the sigma-lognormal model (``strokes``); the idea of a writer as a set of action plans whose
variation gives genuine samples is that of Ferrer, Diaz-Cabrera and Morales, "Static signature synthesis: a
neuromotor inspired approach for biometrics" (IEEE TPAMI, 2015). Forgeries are another hand following the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from worker.ml.actionplans import compose_plan
from worker.ml.hands import draw_forger, write_forged, write_genuine
from worker.ml.scanning import draw_pen, draw_scanner, render

ATTEMPTS = 3  # forgeries by one forger before the next one tries

_PLAN, _GENUINE, _FORGED, _FORGER, _SCAN = range(5)


@dataclass(frozen=True)
class GeneratedSignature:
    """One generated image: 8-bit grey (height, width), dark ink on light paper, about 150 dpi.

    ``writer`` and ``index`` count from 0; ``index`` counts genuine and forged signatures apart.
    """

    writer: int
    index: int
    forged: bool
    image: NDArray[np.uint8]


def generate_writer(seed: int, writer: int, genuine: int, forged: int) -> Iterator[GeneratedSignature]:
    """Yield ``genuine`` signatures of a writer, then ``forged`` skilled forgeries of them.

    Each image depends on (seed, writer, forged, index) alone, not on how many others are made. Raises ValueError for
    a negative number.
    """
    if min(seed, writer, genuine, forged) < 0:
        raise ValueError("seed, writer, genuine and forged must not be negative")
    plan = compose_plan(_stream(seed, writer, _PLAN))
    for kind, count in ((_GENUINE, genuine), (_FORGED, forged)):
        for index in range(count):
            rng = _stream(seed, writer, kind, index)
            if kind == _FORGED:
                forger = draw_forger(_stream(seed, writer, _FORGER, index // ATTEMPTS))
                strands = write_forged(plan, forger, rng)
            else:
                strands = write_genuine(plan, rng)
            scan = _stream(seed, writer, _SCAN, kind, index)
            image = render(strands, draw_pen(scan), draw_scanner(scan), scan)
            yield GeneratedSignature(writer, index, kind == _FORGED, image)


def entry_name(writer: int, index: int, forged: bool) -> str:
    """Where ``write_dataset`` puts a signature: ``writer_0001/genuine/01.png`` for writer 0, index 0."""
    return f"writer_{writer + 1:04d}/{'forged' if forged else 'genuine'}/{index + 1:02d}.png"


def write_dataset(
    directory: Path,
    writers: int,
    genuine: int,
    forged: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write one PNG file a signature, named by ``entry_name``, and nothing else.

    ``progress`` is called after each image with the number written and the number to write. Makes ``directory`` where
    it is missing; overwrites files of the same names. Raises ValueError for a negative number, OSError where the disk
    refuses.
    """
    total, done = writers * (genuine + forged), 0
    for writer in range(writers):
        for signature in generate_writer(seed, writer, genuine, forged):
            path = directory / entry_name(writer, signature.index, signature.forged)
            path.parent.mkdir(parents=True, exist_ok=True)
            _, encoded = cv2.imencode(".png", signature.image)
            path.write_bytes(encoded.tobytes())
            done += 1
            if progress is not None:
                progress(done, total)


def _stream(seed: int, writer: int, *purpose: int) -> Generator:
    """A random stream of its own for each purpose."""
    return np.random.default_rng(SeedSequence(seed, spawn_key=(writer, *purpose)))
