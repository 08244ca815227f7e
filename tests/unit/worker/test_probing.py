"""The question whether an image kills its decoder, asked of a real process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories import png
from tests.faults.test_poison import deadly_png
from worker.probing import Probe

POISON = Path(__file__).parents[2] / "faults" / "poison"


@pytest.mark.parametrize(
    ("data", "deadly"),
    [(png(), False), (b"no image", False), (deadly_png(), True)],
    ids=["sound", "unusable", "deadly"],
)
def test_only_an_image_that_ends_the_process_is_deadly(
    monkeypatch: pytest.MonkeyPatch, data: bytes, deadly: bool
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(POISON))
    assert Probe(page=1, box=None, max_pixels=10**6).is_deadly(data) is deadly
