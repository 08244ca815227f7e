"""Signatures in the layout of CEDAR: generated ones, or people's where the environment says where they lie.

``COUNTERSIGN_CEDAR=DIR`` has the browser tests go through real signatures; no picture of them is kept.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.factories import training_files

CEDAR = os.environ.get("COUNTERSIGN_CEDAR")


def genuine(writer: int, number: int) -> str:
    """The name of a genuine signature; writers and numbers count from 1."""
    return f"full_org/original_{writer}_{number}.png"


def forged(writer: int, number: int) -> str:
    """The name of a forgery of that writer's signature."""
    return f"full_forg/forgeries_{writer}_{number}.png"


def cedar_files(writers: range, genuine_each: int, forged_each: int, cedar: str | None = CEDAR) -> dict[str, bytes]:
    """So many images of each writer, by their names; real ones where ``cedar`` is the folder of the set."""
    names = {
        name(writer, number): f"writer_{place}/{kind}/{number - 1}.png"
        for place, writer in enumerate(writers)
        for name, kind, each in ((genuine, "genuine", genuine_each), (forged, "forged", forged_each))
        for number in range(1, each + 1)
    }
    if cedar:
        return {name: (Path(cedar) / name).read_bytes() for name in names}
    made = training_files(writers=len(writers), genuine=genuine_each, forged=forged_each, seed=20 + writers.start)
    return {name: made[own] for name, own in names.items()}
