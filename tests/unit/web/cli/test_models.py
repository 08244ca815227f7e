from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.factories import ModelFile, make_model_file
from tests.unit.web.cli.conftest import Terminal
from web.cli import models as commands
from web.cli.main import main


class Server:
    """Answers as the API's client does."""

    def models(self, archived: bool) -> list[dict[str, Any]]:
        calibration = {"writers": ["a", "b", "c"], "generated": True}
        rest = {
            "network": "compact",
            "threshold": 0.5,
            "aliases": ["default"],
            "archived_at": None,
            "created_at": "2026-01-01T00:00:00",
        }
        return [
            {"label": "one@1", "summary": {"validation": {"eer": 0.1}, "calibration": calibration}} | rest,
            {"label": "two@1", "summary": {}} | rest,
        ]

    def card(self, name: str) -> str:
        return f"# Model card: {name}\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def connect() -> Iterator[Server]:
        yield Server()

    monkeypatch.setattr(commands, "connect", connect)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("server")
def test_models_alone_lists_them_and_says_which_are_calibrated() -> None:
    text = CliRunner().invoke(main, ["models"]).output
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "@1" in line}
    assert "on 3 generated writers" in rows["one@1"]
    assert rows["two@1"].split("│")[5].strip() == "no"
    assert CliRunner().invoke(main, ["models", "--json"]).output.startswith("[")


@pytest.mark.usefixtures("server")
def test_the_card_is_printed_or_written(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["models", "card", "one"]).output == "# Model card: one\n"
    assert CliRunner().invoke(main, ["models", "card", "one", "--out", str(tmp_path / "card.md")]).output == ""
    assert (tmp_path / "card.md").read_text() == "# Model card: one\n"


def test_a_model_goes_from_file_to_file_and_through_its_roles(
    terminal: Terminal, tmp_path: Path, tiny_model: ModelFile
) -> None:
    (tmp_path / "in.safetensors").write_bytes(tiny_model.content)

    def run(*arguments: object) -> str:
        done = terminal.run("models", *map(str, arguments))
        return done.output.strip()

    assert run("upload", tmp_path / "in.safetensors", "--name", "first").startswith(
        "first@1 (default)  compact  sha256:"
    )
    assert run("upload", tmp_path / "in.safetensors").endswith("[model_known]")
    run("download", "first", tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == tiny_model.content
    (tmp_path / "bad").write_bytes(b"PK")
    assert run("upload", tmp_path / "bad").endswith("[model_file_invalid]")
    assert run("archive", "first").endswith("[model_is_default]")
    other = make_model_file("compact", threshold=0.5, seed=9)
    (tmp_path / "other").write_bytes(other.content)
    assert run("upload", tmp_path / "other").startswith("uploaded@1  compact")
    assert run("candidate", "uploaded").startswith("uploaded@1 (candidate)")
    assert run("candidate", "uploaded", "--clear").startswith("uploaded@1  ")
    assert run("archive", "uploaded").startswith("uploaded@1 (archived)")
    assert "uploaded@1" not in run()
    assert "archived" in run("--archived")
    assert run("promote", "uploaded").endswith("[model_archived]")
    assert run("unarchive", "uploaded").startswith("uploaded@1  ")
    assert json.loads(run("promote", "uploaded", "--note", "better", "--json"))["aliases"] == ["default"]
    assert json.loads(run("show", "first", "--json"))["default"] is False
