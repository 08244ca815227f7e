"""A large upload: how the memory of the web processes grows."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.speed.processes import MIB, largest_growth, peaks
from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Images, Pairs, Samples, archive
from benchmarks.speed.service import Service, service
from web.client import Client

FULL, QUICK = 10 * 2**30, 256 * MIB
ENTRY = 128 * MIB  # of the files that make the archive large and that no comparison names
WHOLE = 2**50  # size of a part that no file reaches: the archive goes in one request


def large_archive(path: Path, images: Images, pairs: Pairs, size: int) -> None:
    """A batch with ``size`` bytes that nobody asks for beside its images."""
    path.write_bytes(archive(images, pairs).read())
    block = os.urandom(MIB)
    with zipfile.ZipFile(path, "a") as file:
        for number in range(size // ENTRY):
            with file.open(zipfile.ZipInfo(f"beside/{number}.bin"), "w") as entry:
                for _ in range(ENTRY // MIB):
                    entry.write(block)


def _sent(stack: Service, client: Client, path: Path, rows: int) -> None:
    """Send a batch and wait for its last result."""
    with path.open("rb") as file:
        job = client.submit("verify", {"model": "compact"}, [("archive", (path.name, file, "application/zip"))])
    stack.last_result(job, rows)


def _measure(plan: Plan) -> Iterator[Sample]:
    samples, path = Samples(writers=1), plan.folder / "large.zip"
    ways = (("upload-parts", None), ("upload-whole", WHOLE))
    with service(plan.folder) as stack:
        stack.warm(*samples.no_reuse(2), "compact")
        before = peaks(stack.pid, "gunicorn")
        for row, part in ways:
            large_archive(path, *samples.no_reuse(2), plan.size(FULL, QUICK))
            _sent(stack, stack.another_client(part), path, 2)
            yield Sample(row, *largest_growth(before, peaks(stack.pid, "gunicorn")))
            path.unlink()


SUBJECTS = (
    Subject(
        (
            Row("upload-parts", "10 GiB in parts: growth of the web process", "MB", "before", 50, "ours", lower=True),
            Row("upload-whole", "10 GiB in one request: the same", "MB", "before", 50, "ours", lower=True),
        ),
        _measure,
    ),
)
