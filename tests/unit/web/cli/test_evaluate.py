from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.unit.web.pages.test_evaluate import HEADLINE
from tests.unit.web.test_client import OK, failing, server
from web.cli.evaluated import check_folder, show_evaluation, write_files
from web.cli.main import main
from web.client import Client, Document


def shown(report: dict[str, Any]) -> str:
    out = io.StringIO()
    show_evaluation(report, Console(file=out, width=140, highlight=False))
    return out.getvalue()


def test_nothing_is_shown_before_it_is_measured() -> None:
    assert shown({"layout": "cedar"}) == ""


def test_figures_and_warnings_are_shown() -> None:
    lines = shown({"headline": HEADLINE}).splitlines()
    (row,) = (line for line in lines if "one reference" in line and "skilled" in line)
    assert "12.3%" in row
    assert "10.0–15.0%" in row
    assert sum("8 references" in line for line in lines) == 1, "what was not measured has no row"
    assert lines[-1].strip() == "The model does not beat the floor: <mean ink>."


class Left(Client):
    """A client of a server on which a job left two files, one with a name that leads elsewhere."""

    def __init__(self) -> None:
        self.contents = {"report.json": b"{}", "../pairs.csv": b"kind"}

    def files(self, job_id: str) -> list[Document]:
        return [{"name": name} for name in self.contents]

    def download(self, job_id: str, name: str, target: IO[bytes]) -> None:
        target.write(self.contents[name])


def test_files_are_written_into_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    written = write_files(Left(), "job_1", folder)
    assert {path.name: path.read_bytes() for path in written} == {"report.json": b"{}", "pairs.csv": b"kind"}
    assert {path.parent for path in written} == {folder}


def test_a_folder_that_holds_something_is_refused_unless_forced(tmp_path: Path) -> None:
    check_folder(tmp_path, force=False)
    check_folder(tmp_path / "new", force=False)
    (tmp_path / "old.txt").write_text("x")
    check_folder(tmp_path, force=True)
    with pytest.raises(click.UsageError, match="is not empty"):
        check_folder(tmp_path, force=False)


def test_it_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("x")
    result = CliRunner().invoke(main, ["submit", "evaluate", str(tmp_path), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "--force" in result.output


def test_the_help_says_what_the_specification_says() -> None:
    text = CliRunner().invoke(main, ["submit", "evaluate", "--help"]).output
    for words in ("--protocol [grey-ink|binary-ink]", "--references", "--writers", "--out", "--force", "--wait"):
        assert words in text


def test_the_client_lists_and_downloads() -> None:
    with server((OK,), body=b'{"files": [{"name": "a.csv"}]}') as url, Client(url, "k") as client:
        assert client.files("job_1") == [{"name": "a.csv"}]
    target = io.BytesIO()
    with server((OK,), body=b"kind") as url, Client(url, "k") as client:
        client.download("job_1", "a.csv", target)
    assert target.getvalue() == b"kind"
    problem = b'{"code": "file_unknown", "detail": "No such file."}'
    with server((OK,), body=problem, status="404 Not Found") as url, Client(url, "k") as client, failing() as told:
        client.download("job_1", "b.csv", target)
    assert told.value.code == "file_unknown"
