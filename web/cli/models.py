"""``countersign models``: the list of models, and the card of one."""

from __future__ import annotations

from pathlib import Path

import click

from web.cli import output
from web.cli.common import connect, json_option


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models; 'models card NAME' prints what one is made of."""
    if context.invoked_subcommand is None:
        with connect() as client:
            output.show_models(client.models(), as_json)


@models.command()
@click.argument("name")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead.")
def card(name: str, out: Path | None) -> None:
    """Print the card of model NAME in Markdown: data, recipe, figures, calibration, known limits."""
    with connect() as client, click.open_file(str(out or "-"), "w", encoding="utf-8") as target:
        target.write(client.card(name))
