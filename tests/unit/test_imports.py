"""What each kind of process must never load, seen in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

CASES = {
    "the io worker loads no torch": ("worker.app, worker.intake, worker.rendering", ("torch", "flask")),
    "the web server loads neither torch nor a decoder": ("web.app", ("torch", "cv2", "PIL", "pypdfium2", "worker")),
    "the command line loads no server": (
        "web.cli.main, web.cli.jobs, web.cli.submit, web.cli.files, web.cli.findings, web.cli.models, web.cli.webhooks",
        ("torch", "flask", "celery"),
    ),
    "the supervisor starts what takes longest before it loads anything large": (
        "web.cli.main, web.cli.up",
        ("sqlalchemy", "alembic", "flask", "httpx", "rich", "celery", "argon2"),
    ),
    "it prepares an installation without a web server": ("web.cli.installing", ("flask", "celery", "httpx", "rich")),
    "beat and the parents of workers load no database": ("worker.app", ("torch", "sqlalchemy", "alembic", "cv2")),
    "only who migrates loads Alembic": ("web.app, worker.verification", ("alembic",)),
    "only who meets a PDF loads its decoder": ("worker.verification", ("pypdfium2",)),
    "the generator loads no torch": ("worker.commands", ("torch",)),
}


@pytest.mark.parametrize(("modules", "unwanted"), CASES.values(), ids=CASES.keys())
def test_a_process_loads_only_what_it_needs(modules: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys, {modules}; print([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
