"""The files that a job leaves behind, such as the report of an evaluation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shared.errors import NotFound
from shared.storage import Stored
from shared.tables import Job

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file: its name, size in bytes and ``sha256:`` digest."""

    name: str
    size: int
    digest: str

    @property
    def media_type(self) -> str:
        """What the ending of the name stands for."""
        return MEDIA_TYPES.get(self.name.rpartition(".")[2], "application/octet-stream")


def file_key(job: str, name: str) -> str:
    """Where the store has the file ``name`` of the job with this public id."""
    return f"reports/{job}.{name}"


def told(stored: dict[str, Stored]) -> list[dict[str, Any]]:
    """Files that were stored, by name, as a job's report keeps them under ``files``."""
    return [asdict(JobFile(name, one.size, one.digest)) for name, one in stored.items()]


def list_files(job: Job) -> list[JobFile]:
    """The files of a job; none before it has succeeded."""
    return [JobFile(**one) for one in (job.report or {}).get("files", [])]


def find_file(job: Job, name: str) -> JobFile:
    """One file of a job.

    Raises:
        NotFound: code ``file_unknown``; the message lists the files there are.
    """
    files = {file.name: file for file in list_files(job)}
    if name not in files:
        known = ", ".join(files) or "none; an evaluation has some when it has succeeded"
        raise NotFound("file_unknown", f"The job {job.public_id} has no file {name[:80]!r}. Its files are: {known}.")
    return files[name]
