"""The question whether an image kills its decoder, asked of a real process."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from shared.errors import UnusableImage
from tests.factories import png
from tests.faults.test_poison import deadly_png
from worker import probing
from worker.probing import Prober

POISON = Path(__file__).parents[2] / "faults" / "poison"


@pytest.fixture(autouse=True)
def decoders_that_die(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(POISON), prepend=":")


def test_only_an_image_that_ends_the_process_is_deadly() -> None:
    with Prober(max_pixels=10**6) as prober:
        asked = [png(), b"no image", b"", deadly_png(), png(), deadly_png(), png(2)]
        assert [prober.is_deadly(data) for data in asked] == [False, False, False, True, False, True, False]


def test_page_and_box_are_those_that_a_worker_would_decode() -> None:
    with Prober(max_pixels=10**6) as prober:
        assert not prober.is_deadly(png(), page=2)
        assert not prober.is_deadly(png(), box=(1, 2, 10, 10))


def test_a_decoder_that_hangs_is_deadly_too() -> None:
    with Prober(max_pixels=10**6, patience=30) as prober:
        assert not prober.is_deadly(png())
        stopped = prober._process
        assert stopped is not None
        stopped.send_signal(signal.SIGSTOP)
        prober._patience = 0.3
        assert prober.is_deadly(png())
        assert stopped.returncode == -signal.SIGKILL


def test_no_image_is_blamed_for_a_process_that_never_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = tmp_path / "python"
    never.write_text("#!/bin/sh\nexec sleep 60\n")
    never.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(never))
    with Prober(max_pixels=10**6, patience=0.3) as prober, pytest.raises(OSError, match="cannot be started"):
        prober.is_deadly(png())


def test_what_it_checks_is_refused_by_name() -> None:
    with Prober(max_pixels=10**6) as prober:
        prober.check(png())
        with pytest.raises(UnusableImage, match="Export it again") as refused:
            prober.check(deadly_png())
    assert refused.value.code == "crashed"


def test_its_process_ends_with_it() -> None:
    with probing.Prober(max_pixels=10**6) as prober:
        prober.is_deadly(png())
        process = prober._process
        assert process is not None
    assert process.returncode is not None
