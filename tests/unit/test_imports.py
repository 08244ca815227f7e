"""What each kind of process must never load, seen in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

CASES = {
    "the io worker loads no torch": ("worker.app, worker.intake, worker.rendering", ("torch", "flask")),
    "the web server loads neither torch nor a decoder": ("web.app", ("torch", "cv2", "PIL", "pypdfium2", "worker")),
    "the command line loads no server": ("web.cli.main", ("torch", "flask", "celery")),
    "the generator loads no torch": ("worker.commands", ("torch",)),
}


@pytest.mark.parametrize(("modules", "unwanted"), CASES.values(), ids=CASES.keys())
def test_a_process_loads_only_what_it_needs(modules: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys, {modules}; print([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
