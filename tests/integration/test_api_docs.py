"""Every call of docs/api.md, run against the real stack: it is answered as the page says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.factories import batch_of, png, training_files, write_files, zip_of
from tests.servers import Receiver, Stack

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
HELPERS = """
set -u
curl() { command curl -sS -w '%{stderr}status %{http_code}\\n' "$@"; }
id_of_it() { grep -oE '"id": ?"[a-z]+_[0-9a-f]{20}"' | head -1 | grep -oE '[a-z]+_[0-9a-f]{20}'; }
id_of_the_first() { id_of_it; }
etag_of() { grep -i '^etag:' "$1" | cut -d' ' -f2 | tr -d '\\r'; }
"""


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_every_call_is_answered_as_the_page_says(stack: Stack, tmp_path: Path) -> None:
    rows = [(str(n), f"{n}.png", "r.png") for n in range(4)]
    images = {f"{n}.png": png(n) for n in range(4)} | {"r.png": png(9)}
    signatures = training_files(writers=4, genuine=3, forged=2)
    people = {"categories/anna/1.png": png(1), "categories/bert/1.png": png(2), "test/1.png": png(3)}
    files = {"batch.zip": batch_of(*rows, images=images), "signatures.zip": zip_of(dict(signatures))}
    files |= {"people.zip": zip_of(dict(people)), "q.png": png(1), "r.png": png(2), "r2.png": png(3)}
    write_files(tmp_path, files)
    script = "\n".join(blocks())
    environment = stack.environment | {"COUNTERSIGN_URL": stack.url, "COUNTERSIGN_API_KEY": stack.api_key}
    with Receiver().running() as receiver:
        done = subprocess.run(
            ["/bin/bash", "-c", HELPERS + script],
            env=environment | {"RECEIVER": receiver.url},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    calls = [line for line in script.splitlines() if re.search(r"\bcurl ", line)]
    wanted = [re.search(r"  # (\d{3})", line) for line in calls]
    got = re.findall(r"^status (\d{3})$", done.stderr, re.MULTILINE)
    assert len(calls) > 40
    told = [(found and found[1], status, line) for found, status, line in zip(wanted, got, calls, strict=True)]
    assert [each for each in told if each[0] != each[1]] == [], done.stdout[-3000:]
    assert (tmp_path / "results.csv").read_text().startswith("id,verdict,distance")


def test_the_page_has_every_operation(stack: Stack) -> None:
    """What is described is shown; the file of a job needs an evaluation that has ended."""
    with stack.signed_in() as browser:
        paths = browser.get("/api/v1/openapi.json").json()["paths"]
    shown = "\n".join(blocks())
    for path in set(paths) - {"/api/v1/jobs/{job_id}/files/{name}"}:
        pattern = re.sub(r"\\{\w+\\}", r"[^\\s\"/]+", re.escape(path.removeprefix("/api/v1")))
        assert re.search(rf"\$U{pattern}(?=[\s\"?]|$)", shown), path
