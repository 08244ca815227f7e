from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.factories import png, write_files
from web.cli.main import main
from web.cli.packing import open_archive

MANIFEST = b"id,questioned,reference\n1,a.png,b.png\n"


def test_a_folder_becomes_an_archive_while_it_is_read(tmp_path: Path) -> None:
    files = {"manifest.csv": MANIFEST, "deep/er/ä.png": png(1), "big.bin": bytes(3 * 2**20)}
    junk = {".DS_Store": b"x", "__MACOSX/a.png": b"x", "deep/Thumbs.db": b"x"}
    name, stream = open_archive(write_files(tmp_path / "batch", files | junk), needs_manifest=True)
    with stream:
        pieces = list(iter(lambda: stream.read(1000), b""))
    assert name == "batch.zip"
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert {entry: archive.read(entry) for entry in archive.namelist()} == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch"]


def test_an_archive_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "my.zip"
    path.write_bytes(b"content")
    name, stream = open_archive(path, needs_manifest=True)
    with stream:
        assert (name, stream.read()) == ("my.zip", b"content")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "verify", "folder"], "no manifest.csv"),
        (["submit", "verify", "none.zip"], "does not exist"),
        (["submit", "verify", "folder", "folder"], "one questioned image and its references"),
        (["submit", "train", "folder", "--network", "resnet"], "resnet"),
        (["status", "job_1"], "countersign up"),
        (["models"], "[key_missing]"),
        (["results", "job_1", "--format", "xml"], "xml"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "folder", {"a.png": png()})
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code != 0
    assert said in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "name", ["up", "submit", "status", "results", "cancel", "models", "generate", "demo", "migrate"]
)
def test_every_command_explains_itself(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output
