from __future__ import annotations

import ast
from typing import Any

import click
import pytest
from click.testing import CliRunner

from shared.specs import TrainSpec
from web.cli.common import filled, spec_options
from web.cli.main import main


@click.command()
@spec_options(TrainSpec, {"from_model": "--from", "make_default": "--default"})
def given(**options: Any) -> None:
    """Print the fields of the form that the options make."""
    click.echo(repr(filled(options)))


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", {}),
        ("--seed 0 --patience 0 --clip 0", {"seed": "0", "patience": "0", "clip": "0.0"}),
        ("--from base@2 --default", {"from_model": "base@2", "make_default": "True"}),
        ("--loss triplet --mining hard --channels 1", {"loss": "triplet", "mining": "hard", "channels": "1"}),
        ("--classical-momentum --batch-writers 8", {"classical_momentum": "True", "batch_writers": "8"}),
    ],
)
def test_what_is_given_becomes_the_fields_of_the_specification(line: str, fields: dict[str, str]) -> None:
    result = CliRunner().invoke(given, line.split())
    assert ast.literal_eval(result.output) == fields
    assert TrainSpec.model_validate(fields).model_fields_set == set(fields)


@pytest.mark.parametrize("line", ["--loss guess", "--epochs many", "--schedule", "--kind train"])
def test_what_cannot_be_is_refused_at_once(line: str) -> None:
    assert CliRunner().invoke(given, line.split()).exit_code == 2


def test_the_help_of_training_says_what_the_specification_says() -> None:
    text = " ".join(CliRunner().invoke(main, ["submit", "train", "--help"]).output.split())
    for name, field in TrainSpec.model_fields.items():
        if name not in ("kind", "from_model", "make_default"):
            assert f"--{name.replace('_', '-')}" in text
        assert name == "kind" or (field.description or "").split(";")[0] in text
    assert "0: never [0]" in text
    assert "--from TEXT" in text
