"""The Python of the README and of docs/api.md, run against the real stack as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import batch_of, png, write_files
from tests.servers import Stack

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_the_lines_of_python_run_as_they_stand(stack: Stack, tmp_path: Path, page: str) -> None:
    found = re.search(r"## From Python\n```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) <= 10
    code = found[1].replace("http://127.0.0.1:5000", stack.url).replace("cs_...", stack.api_key)
    assert code != found[1]
    same = png(1)  # pixel for pixel a reference: for review
    write_files(tmp_path, {"batch.zip": batch_of(("row-1", "q.png", "r.png"), images={"q.png": same, "r.png": same})})
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=stack.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "row-1" in done.stdout
