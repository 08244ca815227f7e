from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from web.cli import models as commands
from web.cli.main import main


class Server:
    """Answers as the API's client does."""

    def models(self) -> list[dict[str, Any]]:
        calibration = {"writers": ["a", "b", "c"], "generated": True}
        rest = {"network": "compact", "threshold": 0.5, "default": True, "created_at": "2026-01-01T00:00:00"}
        return [
            {"label": "one@1", "summary": {"validation": {"eer": 0.1}, "calibration": calibration}} | rest,
            {"label": "two@1", "summary": {}} | rest,
        ]

    def card(self, name: str) -> str:
        return f"# Model card: {name}\n"


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def connect() -> Iterator[Server]:
        yield Server()

    monkeypatch.setattr(commands, "connect", connect)
    monkeypatch.setenv("COLUMNS", "120")


def test_models_alone_lists_them_and_says_which_are_calibrated() -> None:
    text = CliRunner().invoke(main, ["models"]).output
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "@1" in line}
    assert "on 3 generated writers" in rows["one@1"]
    assert rows["two@1"].split("│")[5].strip() == "no"
    assert CliRunner().invoke(main, ["models", "--json"]).output.startswith("[")


def test_the_card_is_printed_or_written(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["models", "card", "one"]).output == "# Model card: one\n"
    assert CliRunner().invoke(main, ["models", "card", "one", "--out", str(tmp_path / "card.md")]).output == ""
    assert (tmp_path / "card.md").read_text() == "# Model card: one\n"
