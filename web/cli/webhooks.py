"""``countersign webhooks``: addresses that are told when jobs end, and the log of what they were told."""

from __future__ import annotations

from itertools import islice

import click
from rich.console import Console
from rich.table import Table

from shared.tables.webhooks import DeliveryState
from web.cli import output
from web.cli.common import connect, json_option
from web.client import Document


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def webhooks(context: click.Context, as_json: bool) -> None:
    """List your webhooks: addresses that are told when jobs end."""
    if context.invoked_subcommand is not None:
        return
    with connect() as client:
        found = client.webhooks()
    if as_json:
        output.print_json(found)
    else:
        _list(found)


def _list(found: list[Document]) -> None:
    table = Table("webhook", "address", "for", "jobs", "made")
    for one in found:
        table.add_row(one["id"], one["url"], one["label"], one["scope"], one["created_at"][:16])
    Console().print(table)


@webhooks.command()
@click.argument("url")
@click.option("--label", default="", help="What it is for.")
@click.option("--all", "scope", flag_value="all", default="own", help="Tell of everybody's jobs, not of yours only.")
@json_option
def add(url: str, label: str, scope: str, as_json: bool) -> None:
    """Have URL told when jobs end. The secret that signs what is sent is printed this once."""
    with connect() as client:
        made = client.add_webhook(url, label, scope)
    if as_json:
        output.print_json(made)
        return
    click.echo(f"{made['id']} tells {made['url']}")
    click.echo(f"  secret   {made['secret']}")
    click.echo("  It is shown this once.")


@webhooks.command()
@click.argument("webhook")
@json_option
def show(webhook: str, as_json: bool) -> None:
    """Print WEBHOOK."""
    with connect() as client:
        found = client.webhook(webhook)
    if as_json:
        output.print_json(found)
    else:
        _list([found])


@webhooks.command()
@click.argument("webhook")
@json_option
def delete(webhook: str, as_json: bool) -> None:
    """Tell WEBHOOK nothing more."""
    with connect() as client:
        client.delete_webhook(webhook)
    if as_json:
        output.print_json({"id": webhook, "deleted": True})


@webhooks.command()
@click.argument("webhook")
@json_option
def test(webhook: str, as_json: bool) -> None:
    """Send WEBHOOK a test; 'webhooks log' tells how it went."""
    with connect() as client:
        _show([client.test_webhook(webhook)], as_json)


@webhooks.command("log")
@click.argument("webhook")
@click.option("--state", type=click.Choice([str(state) for state in DeliveryState]), help="Only in this state.")
@click.option("--job", help="Only of this job.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Most entries to list.")
@json_option
def show_log(webhook: str, limit: int, as_json: bool, **filters: str | None) -> None:
    """List what WEBHOOK was sent, newest first."""
    with connect() as client:
        wanted = {name: value for name, value in filters.items() if value}
        _show(list(islice(client.deliveries(webhook, **wanted), limit)), as_json)


@webhooks.command()
@click.argument("webhook")
@click.argument("event")
@json_option
def event(webhook: str, event: str, as_json: bool) -> None:
    """Print the EVENT of the log of WEBHOOK; with --json also each try."""
    with connect() as client:
        _show([client.delivery(webhook, event)], as_json)


@webhooks.command()
@click.argument("webhook")
@click.argument("event")
@json_option
def resend(webhook: str, event: str, as_json: bool) -> None:
    """Send WEBHOOK the EVENT again."""
    with connect() as client:
        _show([client.resend(webhook, event)], as_json)


def _show(deliveries: list[Document], as_json: bool) -> None:
    if as_json:
        output.print_json(deliveries)
        return
    table = Table("event", "type", "job", "state", "tries", "last answer", "made")
    for one in deliveries:
        last = one["attempts"][-1] if one["attempts"] else {"status": "", "error": ""}
        answer = str(last["status"] or last["error"])
        tries = str(len(one["attempts"]))
        table.add_row(one["id"], one["type"], one["job"] or "", one["state"], tries, answer, one["created_at"][:16])
    Console().print(table)
